r"""Halving and doubling of grids without aliasing, along every axis.

Averages of pairs let through waves that the coarse grid cannot show. They return as long waves, which depend
on where the pairs begin: after a shift by one cell a network is another one. Here six cells are averaged,

.. math:: c_j = \sum_{k=0}^{2} w_k \, (f_{2j - k} + f_{2j + 1 + k}) \qquad w = (35, 22, 7) / 128

in place of two. Of the shortest wave of the coarse grid 7 % are left, of those shorter by an eighth or more
less than 2 %, and of one four times as long 88 %. Doubling is the transpose, times two for each axis. Both
keep constants. After https://arxiv.org/abs/1904.11486, with weights by least squares: of the shortest wave
the binomial ones of six cells (five taps and a pair) leave 18 %. What trained networks make of it is in
docs/theory.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from neuralop_irno.domain.padding import ACROSS_POLES, pad, with_signature
from neuralop_irno.eager import only_evaluated
from neuralop_irno.precision import without_autocast

WEIGHTS = tuple(weight / 128 for weight in (35, 22, 7))
"""Of the cells at increasing distance from the middle of a pair."""

REACH = len(WEIGHTS) - 1
"""Cells beyond a pair that its average depends on."""

COARSE_REACH = (REACH + 1) // 2
"""Cells of the coarse grid beyond its own that a cell of the fine one depends on."""


def halved(field: Tensor, modes: Sequence[str]) -> Tensor:
    """The field on every pair of cells; an odd periodic axis ends with a pair of its last and first cell.

    Beyond walls the last cell is repeated; beyond poles the field goes on.

    Shapes:
        - field: ``(B, C, n_1, .., n_d)``
        - returns: ``(B, C, (n_1 + 1) // 2, .., (n_d + 1) // 2)``

    Example:
        >>> halved(torch.tensor([[[3.0, 3.0, 3.0, 3.0, 3.0]]]), ["circular"])
        tensor([[[3., 3., 3.]]])
    """
    widths = [(REACH, REACH + size % 2) for size in field.shape[2:]]
    padded = pad(field, _around(modes), widths)
    return _resized(padded, False)


def doubled(field: Tensor, shape: Sequence[int], modes: Sequence[str]) -> Tensor:
    """The field of the pairs on the grid of that shape, whose halves it has.

    Example:
        >>> doubled(torch.tensor([[[3.0, 3.0, 3.0]]]), [5], ["circular"])
        tensor([[[3., 3., 3., 3., 3.]]])
    """
    padded = pad(field, _around(modes), [(COARSE_REACH, COARSE_REACH)] * len(modes))
    field = _resized(padded, True)
    for axis, size in enumerate(shape, start=2):
        field = field.narrow(axis, 0, size)
    return field


def _around(modes: Sequence[str]) -> list[str]:
    """The padding that keeps constants: zeros or reflections would not, or not at every size."""
    return [mode if mode in ("circular", *ACROSS_POLES) else "replicate" for mode in modes]


def _resized(padded: Tensor, finer: bool) -> Tensor:
    if torch.compiler.is_compiling():
        return _doubled(padded) if finer else _halved(padded)
    resize = _Resized.forward if only_evaluated(padded) else _Resized.apply
    resized: Tensor = resize(padded, finer)
    return resized


class _Resized(torch.autograd.Function):
    """`_doubled` or `_halved`: each is the backward pass of the other, but for a factor and zeros around."""

    @staticmethod
    @with_signature
    def forward(field: Tensor, finer: bool) -> Tensor:
        if field.dim() == 4 and field.dtype != torch.float64:
            with without_autocast(field.device):  # which would lower the precision again
                return _doubled_plane(field) if finer else _halved_plane(field)
        return _doubled(field) if finer else _halved(field)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.finer = inputs[1]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        axes = grads[0].dim() - 2
        zeros = 2 * COARSE_REACH + REACH if ctx.finer else COARSE_REACH + (REACH + 1) // 2
        transposed = _Resized.apply(F.pad(grads[0], [zeros] * (2 * axes)), not ctx.finer)
        if ctx.finer:
            return transposed * 2.0**axes, None
        for axis in range(2, axes + 2):  # of an odd reach, `_doubled` gives one cell more at both ends
            transposed = transposed.narrow(axis, REACH % 2, transposed.shape[axis] - 2 * (REACH % 2))
        return transposed * 0.5**axes, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        return _Resized.apply(tangents[0], ctx.finer)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], field: Tensor, finer: bool) -> tuple[Tensor, int]:
        """The mapped axis is folded into the batch, whose rows are resized independently."""
        mapped = field.movedim(in_dims[0], 0)
        result = _Resized.apply(mapped.flatten(0, 1), finer)
        return result.unflatten(0, mapped.shape[:2]), 0


def _halved(padded: Tensor) -> Tensor:
    """From 2 (m + REACH) to m cells along each axis."""
    last = padded.movedim(1, -1)  # channels of planes and boxes lie innermost: slices are rows of them
    for axis in range(1, last.dim() - 1):
        count = last.shape[axis] // 2 - REACH
        cells = [_every_second(last, axis, first, count) for first in range(2 * REACH + 2)]
        last = _weighted(
            (cells[REACH - place] + cells[REACH + 1 + place] for place in range(REACH + 1)), WEIGHTS
        )
    return last.movedim(-1, 1)


def _doubled(padded: Tensor) -> Tensor:
    """From m + 2 COARSE_REACH to 2 m cells along each axis."""
    last = padded.movedim(1, -1)
    for axis in range(1, last.dim() - 1):
        count = last.shape[axis] - 2 * COARSE_REACH
        pair = []
        for cell in range(2):
            # How far right of the first cell of each pair this cell is.
            away = {place: cell + 2 * (COARSE_REACH - place) for place in range(2 * COARSE_REACH + 1)}
            seen = [place for place, cells in away.items() if -REACH <= cells <= REACH + 1]
            weights = [2 * WEIGHTS[max(-away[place], away[place] - 1)] for place in seen]
            pair.append(_weighted((last.narrow(axis, place, count) for place in seen), weights))
        last = torch.stack(pair, axis + 1).flatten(axis, axis + 1)
    return last.movedim(-1, 1)


def _halved_plane(padded: Tensor) -> Tensor:
    """`_halved` as one convolution of each channel: faster, but not in double precision."""
    return F.conv2d(padded, _kernel(padded), stride=2, groups=padded.shape[1])


def _doubled_plane(padded: Tensor) -> Tensor:
    """`_doubled`, likewise, in single precision: CPUs have no fast transposed convolution in bfloat16."""
    single = padded.float()
    fine = F.conv_transpose2d(single, 4 * _kernel(single), stride=2, groups=padded.shape[1])
    around = 2 * COARSE_REACH + REACH
    return fine[..., around:-around, around:-around].to(padded.dtype)


def _kernel(field: Tensor) -> Tensor:
    """The weights of a square of six cells a side, for each channel."""
    line = field.new_tensor([*reversed(WEIGHTS), *WEIGHTS])
    return (line[:, None] * line).expand(field.shape[1], 1, -1, -1)


def _weighted(parts: Iterable[Tensor], weights: Iterable[float]) -> Tensor:
    first, *rest = zip(parts, weights, strict=True)
    total = first[0] * first[1]
    for part, weight in rest:
        total = torch.add(total, part, alpha=weight)
    return total


def _every_second(field: Tensor, axis: int, first: int, count: int) -> Tensor:
    return field[(slice(None),) * axis + (slice(first, first + 2 * count - 1, 2),)]
