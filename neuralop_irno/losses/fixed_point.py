"""The truth should be a fixed point of the iteration."""

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
    It needs a training trajectory, since Phi is not known of a plain prediction; in evaluation
    `RefinementLoss` leaves it out.

    Args:
        reduction: over the samples, ``sum`` or ``mean``.

    Raises:
        TypeError: the prediction is a plain field.
    """

    def per_sample(self, trajectory: Trajectory, y: Tensor) -> Tensor:
        if trajectory.phi is None:
            raise TypeError(
                expected(
                    "a training trajectory",
                    "a plain field, at which Phi(x, y) is unknown",
                    "SpatialLoss for evaluation",
                )
            )
        return mean_square(trajectory.phi(y), trajectory.domain)
