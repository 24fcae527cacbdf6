"""Losses that compare values point by point: mean squares, and the cross-entropy of classes."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import expected
from neuralop_irno.losses.loss import Loss, by_field
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
        >>> SpatialLoss()(torch.zeros(2, 1, 4), torch.ones(2, 1, 4))
        tensor(2.)
    """

    def per_sample(self, trajectory: Trajectory, y: Tensor) -> Tensor:
        squares = [mean_square(h - y, trajectory.domain) for h in trajectory.iterates]
        return sum(squares[1:], squares[0]) / len(squares)


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

    Example:
        >>> import neuralop_irno as irno
        >>> correction = irno.FunctionCorrection(lambda x, h: 0.5 * (x - h))
        >>> model = irno.IterativeRefiner(torch.zeros_like, correction)
        >>> x = torch.ones(1, 1, 4)
        >>> trajectory = model.train()(x, y=x)
        >>> FixedPointLoss()(trajectory, x), FixedPointLoss()(trajectory, x + 2)
        (tensor(0.), tensor(1.))
    """

    def per_sample(self, trajectory: Trajectory, y: Tensor) -> Tensor:
        if trajectory.phi is None:
            got = "a plain field, at which Phi(x, y) is unknown"
            raise TypeError(expected("a training trajectory", got, "SpatialLoss for evaluation"))
        return mean_square(trajectory.phi(y), trajectory.domain)


class DenoisingLoss(Loss):
    r"""The error of one step from the truth y plus noise, in units of that noise:

    .. math:: L = \| h - y \|^2 / \sigma^2 = \| \epsilon - \Phi_k(x, y + \sigma_k \epsilon) \|^2

    For the solver `denoising` and the gradient rule `from_truth`. In these units every noise level has the
    same weight; in a plain mean square the largest level would dominate. With the solver `flow` and the rule
    `from_path`, where sigma is the rest of the time, it is flow matching's loss, the mean square error of
    the velocity. On a plain prediction it is the mean square error. Papers: PDE-Refiner,
    https://arxiv.org/abs/2308.05732; flow matching, https://arxiv.org/abs/2210.02747.

    Args:
        reduction: over the samples, ``sum`` or ``mean``.
    """

    def per_sample(self, trajectory: Trajectory, y: Tensor) -> Tensor:
        error = mean_square(trajectory.last - y, trajectory.domain)
        sigma = torch.ones_like(error) if trajectory.alpha is None else trajectory.alpha.to(error)
        return error / sigma.square()


class CrossEntropyLoss(Loss):
    r"""Cross-entropy of every iterate, read as logits, with classes that are known at some of the points:

    .. math:: L = -\frac{1}{K} \sum_{k=1}^{K} \mathrm{mean}_{known} \sum_c y_c \log \mathrm{softmax}(h_k)_c

    y is one-hot over the channels, and nan at points without a known class, which do not count.

    Args:
        reduction: over the samples, ``sum`` (neuraloperator's convention) or ``mean``.

    Example:
        >>> truth = torch.tensor([[1.0, 0.0], [torch.nan, torch.nan]])
        >>> CrossEntropyLoss()(torch.zeros(2, 2), truth, batch=torch.tensor([0, 0]))
        tensor(0.6931)
    """

    @by_field
    def per_sample(self, trajectory: Trajectory, y: Tensor) -> Tensor:
        domain = trajectory.domain
        known = (~y.isnan().any(1, keepdim=True)).to(trajectory.last.dtype)
        truth = y.nan_to_num()
        costs = [-(truth * h.log_softmax(1)).sum(1, keepdim=True) for h in trajectory.iterates]
        total = domain.mean(known * sum(costs[1:], costs[0])) / len(costs)
        return total / domain.mean(known).clamp(min=1e-12)
