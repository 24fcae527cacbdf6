"""The mean square error over the domain."""

from __future__ import annotations

from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.losses.loss import Loss
from neuralop_irno.solution import Trajectory


def mean_square(error: Tensor, domain: Domain) -> Tensor:
    r""":math:`\|e\|^2`, the mean over domain and channels, ``(samples,)``."""
    return domain.inner(error, error)


class SpatialLoss(Loss):
    r"""The mean square error of every iterate:

    .. math:: L = \frac{1}{K} \sum_{k=1}^{K} \| h_k - y \|^2

    Args:
        reduction: over the samples, ``sum`` (neuraloperator's convention) or ``mean``.

    Example:
        >>> import torch
        >>> SpatialLoss()(torch.zeros(2, 1, 4), torch.ones(2, 1, 4))
        tensor(2.)
    """

    def per_sample(self, trajectory: Trajectory, y: Tensor) -> Tensor:
        squares = [mean_square(h - y, trajectory.domain) for h in trajectory.iterates]
        return sum(squares[1:], squares[0]) / len(squares)
