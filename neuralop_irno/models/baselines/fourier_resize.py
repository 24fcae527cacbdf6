"""A periodic field on a grid of another size, with every wave that both grids can hold."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def fourier_resize(field: Tensor, shape: Sequence[int]) -> Tensor:
    """Trigonometric interpolation to a finer grid, and a sharp low-pass to a coarser one.

    Going up and down again returns the field. Going up keeps its values where the grids coincide. The wave
    that alternates from cell to cell stands for both of its signs, and is shared out between them.

    Args:
        field: ``(B, C, *S)``.
        shape: the new shape, as long as S.

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
        # Going up, this one is split in two; going down, two are folded into it.
        last = waves.narrow(axis, smaller // 2, 1) * (0.5 if new > old else 2.0)
        waves = torch.cat([waves.narrow(axis, 0, smaller // 2), last], axis)
    return torch.fft.irfft(waves, n=new, dim=axis, norm="forward")
