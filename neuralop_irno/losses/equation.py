"""A loss by the residual of the equation, which needs no truth."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.errors import expected
from neuralop_irno.losses.loss import Loss
from neuralop_irno.losses.pointwise import mean_square
from neuralop_irno.solution import Trajectory


class EquationLoss(Loss):
    r"""The mean square residual of the model's equation, in units of that at h = 0:

    .. math:: L = \frac{1}{K} \sum_{k=1}^{K} \frac{\| r(x, h_k) \|^2}{\| r(x, 0) \|^2}

    y is not read. With units of the model, h = 0 is the mean field.

    Args:
        reduction: over the samples, ``sum`` or ``mean``.

    Raises:
        ValueError: the model has no equation.
    """

    def per_sample(self, trajectory: Trajectory, y: Tensor) -> Tensor:
        physics, domain = trajectory.physics, trajectory.domain
        if physics is None:
            wanted, got = "a model with an equation for the loss residual", "one without"
            raise ValueError(expected(wanted, got, "IterativeRefiner(.., equation=..), or residual=0"))
        size = mean_square(physics(torch.zeros_like(trajectory.last)), domain).detach()
        squares = [mean_square(physics(h), domain) for h in trajectory.iterates]
        return sum(squares[1:], squares[0]) / len(squares) / torch.where(size > 0, size, 1.0)
