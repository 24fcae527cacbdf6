"""The error at large, middle and small scales, in the three bins of The Well."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neuralop_irno.metrics.pointwise import spatial_axes

BINS = 3
ENERGY_FLOOR = 1e-7
"""Added to the energy of the target in relative errors, as in The Well."""


def spectral_errors(
    prediction: Tensor, target: Tensor, space: int | None = None, relative: bool = False
) -> Tensor:
    r"""The mean square error in three bins of wavenumbers (The Well, https://arxiv.org/abs/2412.00568):

    .. math:: e_i = \frac{1}{N^2} \sum_{k_i \le |k| < k_{i+1}} |\hat p(k) - \hat t(k)|^2

    The bin edges are equidistant in log k, from the longest wave to the corner of the spectrum; the first bin
    starts at zero, so that the bins sum to the mean square error. Fields are treated as periodic.

    Args:
        prediction: p.
        target: t.
        space: number of trailing spatial axes; by default all but the first two.
        relative: whether to divide by the energy of the target in the same bin.

    Shapes:
        - prediction, target: ``(B, C, *S)``, or any leading axes with ``space`` given
        - returns: the leading axes and the bins, ``(B, C, 3)``

    Example:
        >>> x = torch.arange(32) * (2 * math.pi / 32)
        >>> wave = torch.cos(x)[None, None]
        >>> spectral_errors(2 * wave, wave).round(decimals=4)  # the mean square of a wave
        tensor([[[0.5000, 0.0000, 0.0000]]])
    """
    axes = spatial_axes(prediction, target, space)
    grid = target.shape[-axes:]
    member = torch.nn.functional.one_hot(_bins(grid), BINS).to(target)

    def energy(field: Tensor) -> Tensor:
        modes = torch.fft.fftn(field, dim=list(range(-axes, 0))).flatten(-axes)
        return modes.abs().square() @ member / math.prod(grid) ** 2

    error = energy(prediction - target)
    return error / (energy(target) + ENERGY_FLOOR) if relative else error


def _bins(grid: torch.Size) -> Tensor:
    """The bin of every wavenumber, ``(prod(grid),)``.

    Computed in single precision and in The Well's order of operations: on some grids, such as 256 x 256,
    waves lie exactly on a bin edge, and rounding decides their bin.
    """
    squares = torch.zeros(grid, dtype=torch.float32)
    for axis, n in enumerate(grid):
        wavenumber = 2 * math.pi * torch.fft.fftfreq(n, dtype=torch.float32)
        squares += wavenumber.square().reshape(-1, *[1] * (len(grid) - axis - 1))
    low, high = math.log10(2 * math.pi / max(grid)), math.log10(math.pi * math.sqrt(len(grid)) + 1e-6)
    ends = torch.logspace(low, high, BINS + 1, dtype=torch.float32)[1:-1]
    return torch.bucketize(squares.sqrt().flatten(), ends, right=True)
