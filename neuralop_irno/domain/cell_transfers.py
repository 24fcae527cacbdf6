"""Fields of cells carried between a grid and the one with half as many cells along each axis.

Prolongation is linear between the centres of the cells, and restriction its transpose up to a factor, as a
symmetric multigrid cycle needs them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

POOLINGS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def averaged(field: Tensor) -> Tensor:
    """The mean over each block of two cells along each axis.

    Example:
        >>> averaged(torch.tensor([[[1.0, 3.0, 5.0, 5.0]]]))
        tensor([[[2., 5.]]])
    """
    return POOLINGS[field.dim() - 2](field, 2)


def prolonged(coarse: Tensor, boundaries: Sequence[str]) -> Tensor:
    r"""A field on twice as many cells along each axis, linear between the centres of the coarse cells.

    .. math:: f_{2j} = \tfrac{3}{4} c_j + \tfrac{1}{4} c_{j-1} \qquad
              f_{2j+1} = \tfrac{3}{4} c_j + \tfrac{1}{4} c_{j+1}

    Beyond a wall c is reflected: with the other sign where the field is zero on the wall.

    Args:
        coarse: ``(B, C, *S)``.
        boundaries: ``periodic``, ``dirichlet`` or ``neumann`` for each axis.

    Example:
        >>> prolonged(torch.tensor([[[4.0, 8.0]]]), ["dirichlet"])
        tensor([[[2., 5., 7., 4.]]])
    """
    for axis, end in enumerate(boundaries, start=2):
        before, after = _beyond(coarse, axis, end)
        size = coarse.shape[axis]
        left = torch.cat([before, coarse.narrow(axis, 0, size - 1)], axis)
        right = torch.cat([coarse.narrow(axis, 1, size - 1), after], axis)
        pairs = torch.stack([0.75 * coarse + 0.25 * left, 0.75 * coarse + 0.25 * right], axis + 1)
        coarse = pairs.flatten(axis, axis + 1)
    return coarse


def restricted(fine: Tensor, boundaries: Sequence[str]) -> Tensor:
    r"""The transpose of `prolonged`, divided by 2 for each axis: weighted means that keep constants inside.

    Args:
        fine: ``(B, C, *S)``, of even sizes.
        boundaries: ``periodic``, ``dirichlet`` or ``neumann`` for each axis.

    Example:
        >>> restricted(torch.tensor([[[1.0, 1.0, 1.0, 1.0]]]), ["neumann"])
        tensor([[[1., 1.]]])
    """
    for axis, end in enumerate(boundaries, start=2):
        size = fine.shape[axis] // 2
        pairs = fine.unflatten(axis, (size, 2))
        even, odd = pairs.select(axis + 1, 0), pairs.select(axis + 1, 1)
        first, last = even.narrow(axis, 0, 1), odd.narrow(axis, size - 1, 1)
        if end == "periodic":
            before, after = last, first
        elif end == "neumann":
            before, after = first, last
        else:
            before, after = -first, -last
        from_left = torch.cat([before, odd.narrow(axis, 0, size - 1)], axis)
        from_right = torch.cat([even.narrow(axis, 1, size - 1), after], axis)
        fine = 0.375 * (even + odd) + 0.125 * (from_left + from_right)
    return fine


def _beyond(field: Tensor, axis: int, end: str) -> tuple[Tensor, Tensor]:
    """The values beyond the first and beyond the last cell."""
    first, last = field.narrow(axis, 0, 1), field.narrow(axis, field.shape[axis] - 1, 1)
    if end == "periodic":
        return last, first
    return (first, last) if end == "neumann" else (-first, -last)
