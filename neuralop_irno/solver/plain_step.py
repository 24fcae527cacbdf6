"""The plain step h + alpha Phi(x, h) of a solver, for losses, bounds and diagnostics outside the loop."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.solver.solver import Phi, Solver


def plain_step(phi: Phi, solver: Solver, taken: Tensor, h: Tensor) -> tuple[Phi, Tensor]:
    """Phi and alpha after ``taken`` steps, such that their product is the solver's residual.

    For a solver without a step size (`Solver.step_size` is None), the returned Phi is the residual itself,
    taken from the state after one step from h, and alpha is 1.

    Args:
        phi: the correction, bound to x.
        solver: the solver.
        taken: steps already taken by each sample, ``(samples,)``.
        h: a field of the precision in which alpha is used.

    Shapes:
        - alpha: ``(samples,)``
    """
    alpha = solver.step_size_for(h, taken)
    if alpha is None:
        return _AfterSteps(phi, taken, solver), torch.ones(taken.shape, device=taken.device)
    return _AfterSteps(phi, taken), alpha


class _AfterSteps:
    """Phi after a fixed number of steps; with a solver, the residual of its first step from h."""

    physics = None

    def __init__(self, phi: Phi, taken: Tensor, solver: Solver | None = None) -> None:
        self.phi, self.taken, self.solver, self.domain = phi, taken, solver, phi.domain

    def __call__(self, h: Tensor, taken: Tensor | None = None) -> Tensor:
        if self.solver is None:
            return self.phi(h, self.taken)
        _, state = self.solver.step(self.phi, h, self.solver.init(h, self.taken))
        return state.residual

    def select(self, keep: Tensor) -> _AfterSteps:
        return _AfterSteps(self.phi.select(keep), self.taken[keep], self.solver)
