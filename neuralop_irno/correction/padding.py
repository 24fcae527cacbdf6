"""Padding of a grid by its boundary conditions, one mode per axis, with a fast backward pass.

The backward pass of `torch.nn.functional.pad` in circular mode (a chain of slice copies) takes longer than
that of the convolution after it. Padding is linear: the backward pass here is its transpose, which adds the
gradient of each border cell to the cell that it copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.errors import did_you_mean, expected

LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}
MODES = ("circular", "zero", "replicate", "reflect")
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
        if mode not in MODES:
            meant = SYNONYMS.get(str(mode), str(mode))
            raise ValueError(expected("a padding mode", repr(mode), did_you_mean(meant, MODES)))
    if len(modes) != dim:
        wanted = f"one padding mode for each of {dim} axes"
        raise ValueError(expected(wanted, list(modes), f"{['circular'] * dim}"))
    return modes


def pad(field: Tensor, modes: Sequence[str]) -> Tensor:
    """Add one cell at both ends of every axis, filled by the mode of that axis.

    Shapes:
        - field: ``(B, C, n_1, .., n_d)``
        - returns: ``(B, C, n_1 + 2, .., n_d + 2)``

    Example:
        >>> pad(torch.tensor([[[1.0, 2.0, 3.0]]]), ["circular"])
        tensor([[[3., 1., 2., 3., 1.]]])
    """
    if torch.compiler.is_compiling():
        return _pad_by_joining(field, modes)  # torch.compile fuses this, and cannot trace _Pad
    padded: Tensor = _Pad.apply(field, tuple(modes), _memory_format(field), False)
    return padded


def _pad_by_joining(field: Tensor, modes: Sequence[str]) -> Tensor:
    for axis, mode in enumerate(modes, start=2):
        source = _sources(mode, field.shape[axis])
        if source is None:
            zeros = torch.zeros_like(field.narrow(axis, 0, 1))
            field = torch.cat([zeros, field, zeros], axis)
        else:
            before, after = (field.narrow(axis, cell - 1, 1) for cell in source)
            field = torch.cat([before, field, after], axis)
    return field


def _sources(mode: str, n: int) -> tuple[int, int] | None:
    """The cells (counted in the padded array) that the two border cells of an axis of n copy."""
    if mode == "circular":
        return n, 1
    if mode == "reflect":
        return min(2, n), max(n - 1, 1)
    return None if mode == "zero" else (1, n)


class _Pad(torch.autograd.Function):
    """Padding, or its transpose. Both are linear: each is the backward pass of the other."""

    @staticmethod
    def forward(
        field: Tensor, modes: tuple[str, ...], layout: torch.memory_format, transposed: bool
    ) -> Tensor:
        return _folded(field, modes, layout) if transposed else _padded(field, modes, layout)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.modes, ctx.layout, ctx.transposed = inputs[1:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        return _Pad.apply(grads[0], ctx.modes, ctx.layout, not ctx.transposed), None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        return _Pad.apply(tangents[0], ctx.modes, ctx.layout, ctx.transposed)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], field: Tensor, *how: Any) -> tuple[Tensor, int]:
        """The mapped axis is folded into the batch, whose rows are padded independently."""
        mapped = field.movedim(in_dims[0], 0)
        result = _Pad.apply(mapped.flatten(0, 1), *how)
        return result.unflatten(0, mapped.shape[:2]), 0


def _padded(field: Tensor, modes: tuple[str, ...], layout: torch.memory_format) -> Tensor:
    shape = [*field.shape[:2], *(n + 2 for n in field.shape[2:])]
    padded = torch.empty(shape, dtype=field.dtype, device=field.device, memory_format=layout)
    inside = padded
    for axis in range(2, field.dim()):
        inside = inside.narrow(axis, 1, field.shape[axis])
    inside.copy_(field)
    for axis, mode in enumerate(modes, start=2):
        # Later axes are filled from an array that is already padded along the earlier ones.
        band = padded
        for later in range(axis + 1, field.dim()):
            band = band.narrow(later, 1, field.shape[later])
        n = field.shape[axis]
        source = _sources(mode, n)
        for border, cell in zip((0, n + 1), source or (0, 0), strict=True):
            if source is None:
                band.select(axis, border).zero_()
            else:
                band.select(axis, border).copy_(band.select(axis, cell))
    return padded


def _folded(grad: Tensor, modes: tuple[str, ...], layout: torch.memory_format) -> Tensor:
    folded = grad
    for axis in reversed(range(2, grad.dim())):
        n = grad.shape[axis] - 2
        # The first fold copies, since autograd owns ``grad``; later ones add in place to the copy.
        inside = folded.narrow(axis, 1, n)
        if folded is grad:
            inside = inside.clone(memory_format=layout)
        source = _sources(modes[axis - 2], n)
        if source is not None:
            for border, cell in zip((0, n + 1), source, strict=True):
                inside.select(axis, cell - 1).add_(folded.select(axis, border))
        folded = inside
    return folded


def _memory_format(field: Tensor) -> torch.memory_format:
    channels_last = field.stride(1) == 1 and field.shape[1] > 1
    return LAYOUTS.get(field.dim(), torch.contiguous_format) if channels_last else torch.contiguous_format
