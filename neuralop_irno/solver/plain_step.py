"""The plain step of a solver, h + alpha Phi(x, h), for losses, bounds and diagnostics outside of the loop."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.solver.solver import Phi, Solver


def plain_step(phi: Phi, solver: Solver, taken: Tensor) -> tuple[Phi, Tensor]:
    """Phi and alpha at one place of the iteration, such that their product is the solver's residual.

    Where the solver has no step size (`Solver.step_size` is None), the first is the residual itself, read off
    the state after a step from h, and alpha is 1.

    Args:
        phi: the correction, bound to x.
        solver: whose step it is.
        taken: the steps that each sample has behind it, ``(samples,)``.

    Shapes:
        - alpha: ``(samples,)``
    """
    alpha = solver.step_size(taken)
    if alpha is None:
        return _Residual(phi, solver, taken), torch.ones(taken.shape, device=taken.device)
    return _At(phi, taken), alpha


class _At:
    """Phi at a fixed place of the iteration, for corrections that change from step to step."""

    physics = None

    def __init__(self, phi: Phi, taken: Tensor) -> None:
        self.phi, self.taken, self.domain = phi, taken, phi.domain

    def __call__(self, h: Tensor, taken: Tensor | None = None) -> Tensor:
        return self.phi(h, self.taken)

    def select(self, keep: Tensor) -> _At:
        return _At(self.phi.select(keep), self.taken[keep])


class _Residual:
    """The residual that a solver finds at h in a first step from there."""

    physics = None

    def __init__(self, phi: Phi, solver: Solver, taken: Tensor) -> None:
        self.phi, self.solver, self.taken, self.domain = phi, solver, taken, phi.domain

    def __call__(self, h: Tensor, taken: Tensor | None = None) -> Tensor:
        _, state = self.solver.step(self.phi, h, self.solver.init(h, self.taken))
        residual: Tensor = state.residual
        return residual

    def select(self, keep: Tensor) -> _Residual:
        return _Residual(self.phi.select(keep), self.solver, self.taken[keep])
