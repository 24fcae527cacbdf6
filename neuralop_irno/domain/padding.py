"""Padding of a grid by its boundary conditions, one mode per axis, with a fast backward pass.

The backward pass of `torch.nn.functional.pad` in circular mode (a chain of slice copies) takes longer than
that of the convolution after it. Padding is linear: the backward pass here is its transpose, which adds the
gradient of each border cell to the cell that it copied.

On a sphere the rows beyond a pole are those on its other side: mirrored, and turned by half of the
longitudes, which are the next axis. ``poles`` is for grids whose first and last row are the poles
(equiangular, Lobatto), ``between_poles`` for those whose rows all lie between them (Gauss). Of an odd number
of longitudes, the mean of the two nearest to the opposite meridian is taken. Components of vectors along the
meridians and circles of latitude change sign across a pole. Here they are treated as scalars: give vorticity
and divergence instead.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from neuralop_irno.eager import only_evaluated
from neuralop_irno.errors import did_you_mean, expected

LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}
MODES = ("circular", "zero", "replicate", "reflect")
ACROSS_POLES = ("poles", "between_poles")
"""Further modes, of latitudes; the next axis are the longitudes."""

SYNONYMS = {"periodic": "circular", "wrap": "circular", "constant": "zero", "edge": "replicate"}
"""Names of the modes in other packages, for the hint of the error."""


def padding_modes(padding: str | Sequence[str], dim: int) -> tuple[str, ...]:
    """One mode per axis, from one mode for all axes or a list of ``dim`` modes.

    Example:
        >>> padding_modes(["circular", "replicate"], dim=2)
        ('circular', 'replicate')
    """
    modes = (padding,) * dim if isinstance(padding, str) else tuple(padding or ("none",))
    for mode in modes:
        if mode not in (*MODES, *ACROSS_POLES):
            meant = SYNONYMS.get(str(mode), str(mode))
            hint = did_you_mean(meant, (*MODES, *ACROSS_POLES))
            raise ValueError(expected("a padding mode", repr(mode), hint))
    if len(modes) != dim:
        wanted = f"one padding mode for each of {dim} axes"
        raise ValueError(expected(wanted, list(modes), f"{['circular'] * dim}"))
    for mode, after in zip(modes, (*modes[1:], None), strict=True):
        if mode in ACROSS_POLES and after != "circular":
            wanted = f"longitudes with padding 'circular' after latitudes with {mode!r}"
            raise ValueError(expected(wanted, list(modes), f"padding=[{mode!r}, 'circular']"))
    return modes


def beside_poles(modes: Sequence[str]) -> tuple[str, ...]:
    """The modes of the grid of every pair of cells, whose rows lie between the poles.

    Example:
        >>> beside_poles(["poles", "circular"])
        ('between_poles', 'circular')
    """
    return tuple("between_poles" if mode == "poles" else mode for mode in modes)


Widths = Sequence[tuple[int, int]]
"""For each axis, how many cells are added before and after it."""


def pad(field: Tensor, modes: Sequence[str], widths: Widths | None = None) -> Tensor:
    """Add cells at both ends of every axis, filled by the mode of that axis.

    Args:
        field: on a grid.
        modes: the mode of each axis.
        widths: cells added before and after each axis; by default one each.

    Shapes:
        - field: ``(B, C, n_1, .., n_d)``
        - returns: ``(B, C, n_1 + 2, .., n_d + 2)``

    Example:
        >>> pad(torch.tensor([[[1.0, 2.0, 3.0]]]), ["circular"])
        tensor([[[3., 1., 2., 3., 1.]]])
        >>> pad(torch.tensor([[[1.0, 2.0, 3.0]]]), ["replicate"], [(2, 0)])
        tensor([[[1., 1., 1., 2., 3.]]])
        >>> rows = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
        >>> pad(rows, ["between_poles", "circular"], [(1, 1), (0, 0)]).squeeze()
        tensor([[2., 1.],
                [1., 2.],
                [3., 4.],
                [4., 3.]])
    """
    each = tuple(widths) if widths is not None else ((1, 1),) * len(modes)
    if torch.compiler.is_compiling():
        return _pad_by_joining(field, modes, each)  # torch.compile fuses this, and cannot trace _Pad
    layout = _memory_format(field)
    if only_evaluated(field):
        return _padded(field, tuple(modes), each, layout)
    padded: Tensor = _Pad.apply(field, tuple(modes), each, layout, False)
    return padded


def fold(padded: Tensor, modes: Sequence[str], widths: Widths | None = None) -> Tensor:
    """The transpose of `pad`: each added cell is summed into the cell that it copies.

    Shapes:
        - padded: ``(B, C, n_1 + 2, .., n_d + 2)``
        - returns: ``(B, C, n_1, .., n_d)``

    Example:
        >>> fold(torch.tensor([[[1.0, 0.0, 0.0, 0.0, 5.0]]]), ["circular"])
        tensor([[[5., 0., 1.]]])
    """
    each = tuple(widths) if widths is not None else ((1, 1),) * len(modes)
    if torch.compiler.is_compiling():
        return _folded(padded, tuple(modes), each, torch.contiguous_format)
    folded: Tensor = _Pad.apply(padded, tuple(modes), each, _memory_format(padded), True)
    return folded


def _pad_by_joining(field: Tensor, modes: Sequence[str], widths: Widths) -> Tensor:
    for axis, (mode, width) in enumerate(zip(modes, widths, strict=True), start=2):
        n = field.shape[axis]
        cells = []
        for border in _borders(n, width):
            source = _source(mode, border, n)
            cell = field.narrow(axis, source or 0, 1)
            if _over_pole(mode, border, n):
                cell = _opposite(cell, axis + 1)
            cells.append(torch.zeros_like(cell) if source is None else cell)
        field = torch.cat([*cells[: width[0]], field, *cells[width[0] :]], axis)
    return field


def _borders(n: int, width: tuple[int, int]) -> list[int]:
    """The places of the added cells, counted from the first cell of the axis."""
    return [*range(-width[0], 0), *(n + cell for cell in range(width[1]))]  # n may be a symbol


def _source(mode: str, border: int, n: int) -> int | None:
    """The cell of an axis of n that the cell at ``border``, beyond its ends, copies; None for zero."""
    if mode == "circular":
        return border % n
    if mode == "reflect":
        around = border % max(2 * n - 2, 1)
        return min(around, 2 * n - 2 - around)
    if mode == "poles":
        return _source("reflect", border, n)
    if mode == "between_poles":
        around = border % (2 * n)
        return min(around, 2 * n - 1 - around)
    return None if mode == "zero" else min(max(border, 0), n - 1)


def _over_pole(mode: str, border: int, n: int) -> bool:
    """Whether the cell at ``border`` lies on the opposite meridian."""
    if mode not in ACROSS_POLES:
        return False
    return border % max(2 * n - 2 * (mode == "poles"), 1) >= n


def _opposite(row: Tensor, longitudes: int) -> Tensor:
    """A row turned by half of its longitudes; this is its own transpose."""
    n = row.shape[longitudes]
    turned = row.roll(n // 2, longitudes)
    return turned if n % 2 == 0 else (turned + row.roll(n // 2 + 1, longitudes)) / 2


Forward = TypeVar("Forward", bound=Callable[..., Tensor])


def with_signature(forward: Forward) -> Forward:
    """The same function, which carries its signature; each call of an autograd function reads it anew."""
    forward.__signature__ = inspect.signature(forward)  # type: ignore[attr-defined]
    return forward


class _Pad(torch.autograd.Function):
    """Padding, or its transpose. Both are linear: each is the backward pass of the other."""

    @staticmethod
    @with_signature
    def forward(
        field: Tensor, modes: tuple[str, ...], widths: Widths, layout: torch.memory_format, transposed: bool
    ) -> Tensor:
        return (_folded if transposed else _padded)(field, modes, widths, layout)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *ctx.how, ctx.transposed = inputs[1:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        return _Pad.apply(grads[0], *ctx.how, not ctx.transposed), None, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        return _Pad.apply(tangents[0], *ctx.how, ctx.transposed)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], field: Tensor, *how: Any) -> tuple[Tensor, int]:
        """The mapped axis is folded into the batch, whose rows are padded independently."""
        mapped = field.movedim(in_dims[0], 0)
        result = _Pad.apply(mapped.flatten(0, 1), *how)
        return result.unflatten(0, mapped.shape[:2]), 0


def _padded(field: Tensor, modes: tuple[str, ...], widths: Widths, layout: torch.memory_format) -> Tensor:
    sizes = field.shape[2:]
    shape = [*field.shape[:2], *(n + sum(width) for n, width in zip(sizes, widths, strict=True))]
    padded = torch.empty(shape, dtype=field.dtype, device=field.device, memory_format=layout)
    band = padded
    for axis, (n, width) in enumerate(zip(sizes, widths, strict=True), start=2):
        band = band.narrow(axis, width[0], n)
    band.copy_(field)
    for axis, (mode, n, width) in enumerate(zip(modes, sizes, widths, strict=True), start=2):
        # Later axes are filled from an array that is already padded along the earlier ones.
        band = padded
        for later in range(axis + 1, field.dim()):
            band = band.narrow(later, widths[later - 2][0], sizes[later - 2])
        for border in _borders(n, width):
            source = _source(mode, border, n)
            cell = band.select(axis, border + width[0])
            if source is None:
                cell.zero_()
            else:
                row = band.select(axis, source + width[0])
                cell.copy_(_opposite(row, axis) if _over_pole(mode, border, n) else row)
    return padded


def _folded(grad: Tensor, modes: tuple[str, ...], widths: Widths, layout: torch.memory_format) -> Tensor:
    folded = grad
    for axis in reversed(range(2, grad.dim())):
        width = widths[axis - 2]
        n = grad.shape[axis] - sum(width)
        # The first fold copies, since autograd owns ``grad``; later ones add in place to the copy.
        inside = folded.narrow(axis, width[0], n)
        if folded is grad:
            inside = inside.clone(memory_format=layout)
        for border in _borders(n, width):
            source = _source(modes[axis - 2], border, n)
            if source is not None:
                row = folded.select(axis, border + width[0])
                across = _over_pole(modes[axis - 2], border, n)
                inside.select(axis, source).add_(_opposite(row, axis) if across else row)
        folded = inside
    return folded


def _memory_format(field: Tensor) -> torch.memory_format:
    channels_last = field.stride(1) == 1 and field.shape[1] > 1
    return LAYOUTS.get(field.dim(), torch.contiguous_format) if channels_last else torch.contiguous_format
