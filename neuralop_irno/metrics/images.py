"""Image metrics of super-resolution, field by field.

They depend on units: SuperBench (https://arxiv.org/abs/2306.14070) computes them on normalised fields. Both
are skills (larger is better), and therefore not in the registry of errors.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from neuralop_irno.errors import expected
from neuralop_irno.metrics.pointwise import over_space

WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03


def psnr(prediction: Tensor, target: Tensor, space: int | None = None) -> Tensor:
    r"""Peak signal to noise ratio, in decibels:

    .. math:: 20 \log_{10} \frac{\max t}{\sqrt{\langle (p - t)^2 \rangle}}

    Infinite if prediction and target are equal, and nan if the target is negative everywhere.
    Arguments and shapes as in `vrmse`.

    Example:
        >>> target = torch.tensor([[[0.0, 10.0]]])
        >>> psnr(target + 1, target)
        tensor([[20.]])
    """
    error, truth = over_space(prediction, target, space)
    return 20 * (truth.amax(-1) / error.square().mean(-1).sqrt()).log10()


def ssim(prediction: Tensor, target: Tensor) -> Tensor:
    r"""Structural similarity (https://doi.org/10.1109/TIP.2003.819861): 1 for equal fields.

    .. math:: \left\langle \frac{(2 \mu_p \mu_t + c_1)(2 \sigma_{pt} + c_2)}
              {(\mu_p^2 + \mu_t^2 + c_1)(\sigma_p^2 + \sigma_t^2 + c_2)} \right\rangle
              \qquad c_i = (K_i L)^2

    Means, variances and the covariance are weighted by a Gaussian of standard deviation 1.5 on 11 x 11 points
    around each point, with reflection at the edges. L is the larger of the ranges of prediction and target,
    for each field separately.

    Shapes:
        - prediction, target: ``(B, C, H, W)``; returns: ``(B, C)``

    Example:
        >>> field = torch.rand(2, 3, 16, 20)
        >>> torch.allclose(ssim(field, field), torch.ones(2, 3)), bool((ssim(1 - field, field) < 0).all())
        (True, True)
    """
    over_space(prediction, target, 2)  # one shape
    if target.dim() != 4 or min(target.shape[-2:]) <= WINDOW // 2:
        wanted = f"fields (B, C, H, W) of more than {WINDOW // 2} points a side"
        raise ValueError(expected(wanted, tuple(target.shape), "larger fields"))
    p, t = (field.flatten(0, 1)[:, None] for field in (prediction, target))
    width = torch.maximum(*(f.amax((1, 2, 3)) - f.amin((1, 2, 3)) for f in (p, t)))[:, None, None, None]
    light, contrast = (K1 * width).square(), (K2 * width).square()
    mean_p, mean_t = _blurred(p), _blurred(t)
    variances = [(_blurred(f * f) - m * m).clamp(min=0) for f, m in ((p, mean_p), (t, mean_t))]
    covariance = _blurred(p * t) - mean_p * mean_t
    alike = (2 * mean_p * mean_t + light) * (2 * covariance + contrast)
    most = (mean_p * mean_p + mean_t * mean_t + light) * (variances[0] + variances[1] + contrast)
    return (alike / most).mean((1, 2, 3)).reshape(target.shape[:2])


def _blurred(fields: Tensor) -> Tensor:
    """Fields ``(n, 1, H, W)`` blurred by a separable Gaussian."""
    reach = WINDOW // 2
    place = torch.arange(-reach, reach + 1, dtype=fields.dtype, device=fields.device)
    bell = (-0.5 * (place / SIGMA).square()).exp()
    bell = bell / bell.sum()
    fields = F.pad(fields, [reach] * 4, mode="reflect")
    return F.conv2d(F.conv2d(fields, bell.reshape(1, 1, -1, 1)), bell.reshape(1, 1, 1, -1))
