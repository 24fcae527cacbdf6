"""The loss of answers that tell classes apart."""

from __future__ import annotations

from torch import Tensor

from neuralop_irno.losses.loss import Loss
from neuralop_irno.solution import Trajectory


class CrossEntropyLoss(Loss):
    r"""Every iterate as the logarithms of odds, against classes that are told at some of the points:

    .. math:: L = -\frac{1}{K} \sum_{k=1}^{K} \mathrm{mean}_{told} \sum_c y_c \log \mathrm{softmax}(h_k)_c

    The truth is 1 at the class of a point and 0 elsewhere, and nan where nothing is told: what is answered
    there costs nothing.

    Args:
        reduction: over the samples, ``sum`` (neuraloperator's convention) or ``mean``.

    Example:
        >>> import torch
        >>> truth = torch.tensor([[1.0, 0.0], [torch.nan, torch.nan]])
        >>> CrossEntropyLoss()(torch.zeros(2, 2), truth, batch=torch.tensor([0, 0]))
        tensor(0.6931)
    """

    def per_sample(self, trajectory: Trajectory, y: Tensor) -> Tensor:
        domain = trajectory.domain
        told = (~y.isnan().any(1, keepdim=True)).to(trajectory.last.dtype)
        truth = y.nan_to_num()
        costs = [-(truth * h.log_softmax(1)).sum(1, keepdim=True) for h in trajectory.iterates]
        total = domain.mean(told * sum(costs[1:], costs[0])) / len(costs)
        return total / domain.mean(told).clamp(min=1e-12)
