"""The fixed-point loss: penalises Phi at the truth, which should be a fixed point."""

from __future__ import annotations

from torch import Tensor

from neuralop_irno.errors import expected
from neuralop_irno.losses.loss import Loss
from neuralop_irno.losses.spatial import mean_square
from neuralop_irno.solution import Trajectory


class FixedPointLoss(Loss):
    r"""The mean square of the correction at the truth:

    .. math:: L = \| \Phi(x, y) \|^2

    The error of the converged iteration is about :math:`\alpha |\Phi(x, y)| / (1 - q)`: this loss makes it
    small. It needs a training trajectory, since a plain prediction carries no Phi; in evaluation
    `RefinementLoss` leaves it out.

    Args:
        reduction: over the samples, ``sum`` or ``mean``.

    Raises:
        TypeError: the prediction is a plain field.
    """

    def per_sample(self, trajectory: Trajectory, y: Tensor) -> Tensor:
        if trajectory.phi is None:
            got = "a plain field, at which Phi(x, y) is unknown"
            raise TypeError(expected("a training trajectory", got, "SpatialLoss for evaluation"))
        return mean_square(trajectory.phi(y), trajectory.domain)
