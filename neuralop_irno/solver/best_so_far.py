"""A wrapper around any solver that returns the iterate with the smallest residual."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from neuralop_irno.registry import SOLVERS
from neuralop_irno.solver.solver import Phi, Solver, SolverLike, SolverState, solver_from


@dataclass(frozen=True)
class BestSoFarState(SolverState):
    """The state of `BestSoFar`.

    Attributes:
        size: the smallest residual norm so far, ``(samples,)``.
        best: the iterate with that residual.
        inner: the state of the wrapped solver.
    """

    PER_SAMPLE: ClassVar[frozenset[str]] = frozenset({"taken", "size"})

    size: Tensor
    best: Tensor
    inner: SolverState


@SOLVERS.register("best_so_far")
class BestSoFar(Solver):
    """Returns the iterate with the smallest residual among those at which Phi was evaluated.

    Phi is not evaluated at the last iterate, so that one is never returned.

    Args:
        solver: the wrapped solver; an object, a name or a config.
    """

    def __init__(self, solver: SolverLike = "picard") -> None:
        super().__init__()
        self.solver = solver_from(solver)
        self.adds_noise = self.solver.adds_noise

    def init(self, h: Tensor, taken: Tensor) -> BestSoFarState:
        size = h.new_full(taken.shape, torch.inf)
        return BestSoFarState(taken, h, torch.zeros_like(h), size, h, self.solver.init(h, taken))

    def step(self, phi: Phi, h: Tensor, state: BestSoFarState) -> tuple[Tensor, BestSoFarState]:
        following, inner = self.solver.step(phi, h, state.inner)
        size = phi.domain.norm(inner.residual)
        better = size < state.size
        best = torch.where(phi.domain.spread(better, h), inner.at, state.best)
        size = torch.where(better, size, state.size)
        return following, BestSoFarState(state.taken + 1, inner.at, inner.residual, size, best, inner)

    def answer(self, h: Tensor, state: BestSoFarState) -> Tensor:
        return state.best

    def step_size(self, taken: Tensor) -> Tensor | None:
        return self.solver.step_size(taken)

    def step_size_for(self, h: Tensor, taken: Tensor) -> Tensor | None:
        return self.solver.step_size_for(h, taken)
