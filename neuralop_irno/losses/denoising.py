"""The loss of the predicted noise, for the solver `denoising`."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.losses.loss import Loss
from neuralop_irno.losses.spatial import mean_square
from neuralop_irno.solution import Trajectory


class DenoisingLoss(Loss):
    r"""The error of one step from the truth y plus noise, in units of that noise:

    .. math:: L = \| h - y \|^2 / \sigma^2 = \| \epsilon - \Phi_k(x, y + \sigma_k \epsilon) \|^2

    For the solver `denoising` and the gradient rule `from_truth`. In these units every noise level has the
    same weight; in a plain mean square the largest level would dominate. On a plain prediction it is the mean
    square error. Paper: PDE-Refiner, https://arxiv.org/abs/2308.05732.

    Args:
        reduction: over the samples, ``sum`` or ``mean``.
    """

    def per_sample(self, trajectory: Trajectory, y: Tensor) -> Tensor:
        error = mean_square(trajectory.last - y, trajectory.domain)
        sigma = torch.ones_like(error) if trajectory.alpha is None else trajectory.alpha.to(error)
        return error / sigma.square()
