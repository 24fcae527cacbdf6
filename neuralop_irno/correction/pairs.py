"""Halving and doubling of grids by pairs of cells; `neuralop_irno.correction.antialias` avoids aliasing."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

POOLINGS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def averaged(field: Tensor) -> Tensor:
    """The means of pairs of cells along each axis; the last cell of an odd axis is copied.

    Shapes:
        - field: ``(B, C, n_1, .., n_d)``
        - returns: ``(B, C, (n_1 + 1) // 2, .., (n_d + 1) // 2)``

    Example:
        >>> import torch
        >>> averaged(torch.tensor([[[1.0, 3.0, 5.0]]]))
        tensor([[[2., 5.]]])
    """
    sizes = [min(2, n) for n in field.shape[2:]]
    pooling = POOLINGS[len(sizes)]
    return pooling(field, sizes, stride=2, ceil_mode=True, count_include_pad=False)


def copied(field: Tensor, shape: Sequence[int]) -> Tensor:
    """Each cell copied to those of its pair, on the grid of that shape.

    Example:
        >>> import torch
        >>> copied(torch.tensor([[[2.0, 5.0]]]), [3])
        tensor([[[2., 2., 5.]]])
    """
    field = F.interpolate(field, scale_factor=2, mode="nearest")
    for axis, size in enumerate(shape, start=2):
        field = field.narrow(axis, 0, size)
    return field
