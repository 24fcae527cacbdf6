"""The truth should be at rest."""

from __future__ import annotations

from torch import Tensor

from neuralop_irno.errors import expected
from neuralop_irno.losses.loss import Loss
from neuralop_irno.losses.spatial import mean_square
from neuralop_irno.solution import Trajectory


class FixedPointLoss(Loss):
    r"""The correction at the truth:

    .. math:: L = \| \Phi(x, y) \|^2

    Where it is small the floor of the iteration, about :math:`\alpha |\Phi(x, y)| / (1 - q)`, is low.
    A plain prediction has no correction to ask, and costs nothing.

    Args:
        reduction: over the samples, ``sum`` or ``mean``.
    """

    def per_sample(self, trajectory: Trajectory, y: Tensor) -> Tensor:
        if trajectory.phi is None:
            return trajectory.domain.mean(trajectory.last.detach() * 0)
        return mean_square(trajectory.phi(y), trajectory.domain)

    def forward(self, prediction: Trajectory | Tensor, y: Tensor, **sample: object) -> Tensor:
        if not isinstance(prediction, Trajectory):
            raise TypeError(
                expected(
                    "a training trajectory",
                    "a plain field, at which Phi(x, y) is unknown",
                    "SpatialLoss for evaluation",
                )
            )
        return super().forward(prediction, y, **sample)
