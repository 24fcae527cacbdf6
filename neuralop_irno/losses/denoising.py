"""The noise that was seen against the noise that was there."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.losses.loss import Loss
from neuralop_irno.losses.spatial import mean_square
from neuralop_irno.solution import Trajectory


class DenoisingLoss(Loss):
    r"""One step from the truth y with noise on it, in units of that noise:

    .. math:: L = \| h - y \|^2 / \sigma^2 = \| \epsilon - \Phi_k(x, y + \sigma_k \epsilon) \|^2

    It belongs to the solver `denoising` and the gradient rule `from_truth`. Weighed like this every level
    counts the same, where a plain mean square would hear the loudest alone. On a plain prediction it is the
    mean square error.

    Args:
        reduction: over the samples, ``sum`` or ``mean``.
    """

    def per_sample(self, trajectory: Trajectory, y: Tensor) -> Tensor:
        error = mean_square(trajectory.last - y, trajectory.domain)
        sigma = torch.ones_like(error) if trajectory.alpha is None else trajectory.alpha.to(error)
        return error / sigma.square()
