"""Damped Picard iteration, the paper's solver."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.registry import SOLVERS
from neuralop_irno.solver.solver import Phi, Solver, SolverState
from neuralop_irno.solver.step_size import StepSizeLike, step_size


class Damped(Solver):
    """Base class of solvers with a step size: computes the residual alpha * Phi(x, h).

    Args:
        alpha: a number, a list (one per step), a mapping that names a step size, or a `StepSize`.
    """

    def __init__(self, alpha: StepSizeLike = 1.0) -> None:
        super().__init__()
        self.alpha = step_size(alpha)

    def residual(self, phi: Phi, h: Tensor, state: SolverState) -> Tensor:
        """alpha * Phi(x, h)."""
        alpha = self.alpha.for_field(h, state.taken)
        if alpha.dim() and alpha.numel() > 1:
            alpha = phi.domain.spread(alpha, h)
        return alpha * phi(h, state.taken)

    def step_size(self, taken: Tensor) -> Tensor | None:
        alpha: Tensor = self.alpha(taken.clamp(min=0))
        return alpha.expand(taken.shape)

    def step_size_for(self, h: Tensor, taken: Tensor) -> Tensor | None:
        return self.alpha.for_field(h, taken.clamp(min=0)).expand(taken.shape)


@SOLVERS.register("picard")
class Picard(Damped):
    r"""Damped Picard iteration.

    .. math:: h_{k+1} = h_k + \alpha_k \, \Phi(x, h_k)

    Near a fixed point with :math:`A = -\partial\Phi/\partial h` each step multiplies the error by at most
    :math:`|I - \alpha A|`.

    Args:
        alpha: a number, a list (one per step), a mapping that names a step size, or a `StepSize`.

    Example:
        >>> from neuralop_irno.correction.correction import FunctionCorrection
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> x = torch.ones(1, 1, 4)
        >>> phi = FunctionCorrection(lambda x, h: x - h).bind(x, GridDomain.of(x))
        >>> h = torch.zeros(1, 1, 4)
        >>> solver = Picard(alpha=0.5)
        >>> h, state = solver.step(phi, h, solver.init(h, torch.zeros(1, dtype=torch.long)))
        >>> h
        tensor([[[0.5000, 0.5000, 0.5000, 0.5000]]])
    """

    def init(self, h: Tensor, taken: Tensor) -> SolverState:
        return SolverState(taken, h, torch.zeros_like(h))

    def step(self, phi: Phi, h: Tensor, state: SolverState) -> tuple[Tensor, SolverState]:
        update = self.residual(phi, h, state)
        return h + update, SolverState(state.taken + 1, h, update)
