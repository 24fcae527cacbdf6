"""Any solver, held to the residual: a proposal that makes it larger is taken back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from neuralop_irno.errors import expected
from neuralop_irno.registry import SOLVERS
from neuralop_irno.solver.solver import Phi, Solver, SolverState


@dataclass(frozen=True)
class SafeguardedState(SolverState):
    """What the guard knows beside the state of the solver that it guards.

    Attributes:
        size: the norm of the residual where the sample stands, ``(samples,)``.
        plain: whether the iterate under way came from a plain step, ``(samples,)``.
        inner: the solver's own state.
    """

    PER_SAMPLE: ClassVar[frozenset[str]] = frozenset({"taken", "size", "plain"})

    size: Tensor
    plain: Tensor
    inner: SolverState


@SOLVERS.register("safeguarded")
class Safeguarded(Solver):
    """A solver whose step is taken back, sample by sample, where the residual grew.

    A sample that is sent back takes a plain damped step from where it stood, and its solver starts to
    learn anew from there. Plain steps are never taken back: at worst this is Picard's iteration with some
    evaluations lost. Where the residual of the equation itself is known, that is the one that counts.

    Args:
        solver: takes the steps; an object, a name or a config.
        growth: how much larger the residual may become in one step.
    """

    def __init__(self, solver: Any = "picard", growth: float = 1.0) -> None:
        super().__init__()
        if not growth > 0:
            raise ValueError(expected("growth > 0", growth, "growth=1.0"))
        self.solver: Solver = SOLVERS.build(solver)
        self.adds_noise = self.solver.adds_noise
        self.growth = growth

    def extra_repr(self) -> str:
        return f"growth={self.growth}"

    def init(self, h: Tensor, taken: Tensor) -> SafeguardedState:
        size = torch.full(taken.shape, torch.inf, dtype=h.dtype, device=h.device)
        return SafeguardedState(
            taken, h, torch.zeros_like(h), size, torch.ones_like(taken).bool(), self.solver.init(h, taken)
        )

    def step(self, phi: Phi, h: Tensor, state: SafeguardedState) -> tuple[Tensor, SafeguardedState]:
        domain = phi.domain
        proposal, inner = self.solver.step(phi, h, state.inner)
        size = domain.norm(inner.residual if phi.physics is None else phi.physics(h))
        back = ~(size <= self.growth * state.size) & ~state.plain
        mask = domain.spread(back, h)
        at = torch.where(mask, state.at, h)
        residual = torch.where(mask, state.residual, inner.residual)
        inner = inner.forget(domain, back, state.at, state.residual)
        following = torch.where(mask, state.at + state.residual, proposal)
        size = torch.where(back, state.size, size)
        return following, SafeguardedState(state.taken + 1, at, residual, size, back, inner)

    def answer(self, h: Tensor, state: SafeguardedState) -> Tensor:
        return self.solver.answer(h, state.inner)

    def step_size(self, taken: Tensor) -> Tensor | None:
        return self.solver.step_size(taken)
