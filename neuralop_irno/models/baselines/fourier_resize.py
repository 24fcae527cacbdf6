"""Resample a periodic field to another grid size, keeping every wave that both grids resolve."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def fourier_resize(field: Tensor, shape: Sequence[int]) -> Tensor:
    """Trigonometric interpolation to a finer grid, and a sharp low-pass to a coarser one.

    Refining and then coarsening returns the field. Refining keeps the values where the grids coincide. The
    Nyquist wave stands for a positive and a negative frequency; its amplitude is split between both.

    Args:
        field: ``(B, C, *S)``.
        shape: the new shape, one size per axis of S.

    Shapes:
        - returns: ``(B, C, *shape)``

    Example:
        >>> fourier_resize(torch.tensor([[[1.0, -1.0]]]), [4]).abs().round(decimals=4)
        tensor([[[1., 0., 1., 0.]]])
    """
    for axis, new in enumerate(shape, start=2):
        field = _along(field, axis, new)
    return field


def _along(field: Tensor, axis: int, new: int) -> Tensor:
    old = field.shape[axis]
    if new == old:
        return field
    waves = torch.fft.rfft(field, dim=axis, norm="forward")
    smaller = min(old, new)
    waves = waves.narrow(axis, 0, smaller // 2 + 1)
    if smaller % 2 == 0:
        # Refining splits the Nyquist wave in two; coarsening folds two waves into it.
        last = waves.narrow(axis, smaller // 2, 1) * (0.5 if new > old else 2.0)
        waves = torch.cat([waves.narrow(axis, 0, smaller // 2), last], axis)
    return torch.fft.irfft(waves, n=new, dim=axis, norm="forward")
