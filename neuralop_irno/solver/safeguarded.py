"""A wrapper around any solver that rejects steps that make the residual larger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from neuralop_irno.eager import eager_on_cpu
from neuralop_irno.errors import expected
from neuralop_irno.registry import SOLVERS
from neuralop_irno.solver.solver import Phi, Solver, SolverLike, SolverState, solver_from


@dataclass(frozen=True)
class SafeguardedState(SolverState):
    """The state of `Safeguarded`.

    Attributes:
        size: the norm of the residual at the last accepted point, ``(samples,)``.
        plain: whether the current iterate came from a plain step, ``(samples,)``.
        inner: the state of the wrapped solver.
    """

    PER_SAMPLE: ClassVar[frozenset[str]] = frozenset({"taken", "size", "plain"})

    size: Tensor
    plain: Tensor
    inner: SolverState


@SOLVERS.register("safeguarded")
class Safeguarded(Solver):
    """Rejects a step, sample by sample, if it makes the residual larger.

    A sample whose step is rejected takes a plain damped step from its last accepted point, and the memory of
    its solver is cleared. Plain steps are never rejected: the worst case is Picard's iteration plus the
    evaluations of the rejected steps. If Phi has a ``physics`` residual, that one is compared.

    Args:
        solver: the wrapped solver; an object, a name or a config.
        growth: largest factor by which the residual may grow in one step.
    """

    def __init__(self, solver: SolverLike = "picard", growth: float = 1.0) -> None:
        super().__init__()
        if not growth > 0:
            raise ValueError(expected("growth > 0", growth, "growth=1.0"))
        self.solver = solver_from(solver)
        self.adds_noise = self.solver.adds_noise
        self.growth = growth

    def init(self, h: Tensor, taken: Tensor) -> SafeguardedState:
        size = h.new_full(taken.shape, torch.inf)
        return SafeguardedState(
            taken, h, torch.zeros_like(h), size, torch.ones_like(taken).bool(), self.solver.init(h, taken)
        )

    def step(self, phi: Phi, h: Tensor, state: SafeguardedState) -> tuple[Tensor, SafeguardedState]:
        domain = phi.domain
        proposal, inner = self.solver.step(phi, h, state.inner)
        size = domain.norm(inner.residual if phi.physics is None else phi.physics(h))
        back = ~(size <= self.growth * state.size) & ~state.plain
        if not eager_on_cpu(back) or back.any():
            inner = inner.forget(domain, back, state.at, state.residual)
            proposal = torch.where(domain.spread(back, h), state.at + state.residual, proposal)
            size = torch.where(back, state.size, size)
        return proposal, SafeguardedState(state.taken + 1, inner.at, inner.residual, size, back, inner)

    def answer(self, h: Tensor, state: SafeguardedState) -> Tensor:
        return self.solver.answer(h, state.inner)

    def step_size(self, taken: Tensor) -> Tensor | None:
        return self.solver.step_size(taken)

    def step_size_for(self, h: Tensor, taken: Tensor) -> Tensor | None:
        return self.solver.step_size_for(h, taken)
