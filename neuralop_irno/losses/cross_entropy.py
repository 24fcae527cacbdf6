"""The cross-entropy loss of fields of class scores."""

from __future__ import annotations

from torch import Tensor

from neuralop_irno.losses.loss import Loss
from neuralop_irno.solution import Trajectory


class CrossEntropyLoss(Loss):
    r"""Cross-entropy of every iterate, read as logits, with classes that are known at some of the points:

    .. math:: L = -\frac{1}{K} \sum_{k=1}^{K} \mathrm{mean}_{known} \sum_c y_c \log \mathrm{softmax}(h_k)_c

    y is one-hot over the channels, and nan at points without a known class, which do not count.

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
