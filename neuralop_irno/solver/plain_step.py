"""The plain step h + alpha Phi(x, h) of a solver, for losses, bounds and diagnostics outside the loop."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.solver.solver import Phi, Solver


def plain_step(phi: Phi, solver: Solver, taken: Tensor) -> tuple[Phi, Tensor]:
    """Phi and alpha after ``taken`` steps, such that their product is the solver's residual.

    For a solver without a step size (`Solver.step_size` is None), the returned Phi is the residual itself,
    taken from the state after one step from h, and alpha is 1.

    Args:
        phi: the correction, bound to x.
        solver: the solver.
        taken: steps already taken by each sample, ``(samples,)``.

    Shapes:
        - alpha: ``(samples,)``
    """
    alpha = solver.step_size(taken)
    if alpha is None:
        return _Residual(phi, solver, taken), torch.ones(taken.shape, device=taken.device)
    return _At(phi, taken), alpha


class _At:
    """Phi at a fixed number of steps, for corrections that change from step to step."""

    physics = None

    def __init__(self, phi: Phi, taken: Tensor) -> None:
        self.phi, self.taken, self.domain = phi, taken, phi.domain

    def __call__(self, h: Tensor, taken: Tensor | None = None) -> Tensor:
        return self.phi(h, self.taken)

    def select(self, keep: Tensor) -> _At:
        return _At(self.phi.select(keep), self.taken[keep])


class _Residual:
    """The residual of a solver at h, computed by a first step from h."""

    physics = None

    def __init__(self, phi: Phi, solver: Solver, taken: Tensor) -> None:
        self.phi, self.solver, self.taken, self.domain = phi, solver, taken, phi.domain

    def __call__(self, h: Tensor, taken: Tensor | None = None) -> Tensor:
        _, state = self.solver.step(self.phi, h, self.solver.init(h, self.taken))
        return state.residual

    def select(self, keep: Tensor) -> _Residual:
        return _Residual(self.phi.select(keep), self.solver, self.taken[keep])
