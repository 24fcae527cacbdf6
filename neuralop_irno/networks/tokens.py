"""Fields as tokens: patches of a grid, each with its position and quadrature weight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from neuralop_irno.domain.grid import axis_points, points_of_axes
from neuralop_irno.errors import expected


@dataclass(frozen=True)
class Nodes:
    """Positions of tokens: the nodes of a quadrature rule over the unit box.

    Attributes:
        positions: those of the nodes, from 0 to 1 along each axis, ``(N, d)``.
        measure: quadrature weights, ``(N,)``; None if all are equal.
        closed: for each axis, whether it is periodic.
    """

    positions: Tensor
    measure: Tensor | None
    closed: tuple[bool, ...]

    def angles(self, waves: int) -> Tensor:
        """The phases of a number of waves at the nodes, ``(N, waves)``.

        The waves cycle through the axes, with 1, 2, .. periods along each; along an open axis with half as
        many, so that its two ends differ.
        """
        dim = len(self.closed)
        numbers = torch.zeros(dim, waves, device=self.positions.device, dtype=self.positions.dtype)
        for wave in range(waves):
            axis = wave % dim
            numbers[axis, wave] = (wave // dim + 1) * (2 * math.pi if self.closed[axis] else math.pi)
        return self.positions @ numbers


def patch_nodes(sizes: Sequence[int], patch: Sequence[int], closed: Sequence[bool], like: Tensor) -> Nodes:
    """The centres of the patches of a grid, in the order of `to_patches`.

    The points of a periodic axis are i/n, with equal weights; those of an open axis are i/(n-1), with the
    weights of the trapezoidal rule. The weight of a patch is the sum over its points.

    Args:
        sizes: points along each axis.
        patch: points of a patch along each axis.
        closed: for each axis, whether it is periodic.
        like: a tensor that gives the device, and the dtype if it is float32 or better.

    Example:
        >>> nodes = patch_nodes([5], [1], [False], like=torch.zeros(1))
        >>> nodes.positions[:, 0].tolist(), nodes.measure.tolist()
        ([0.0, 0.25, 0.5, 0.75, 1.0], [0.125, 0.25, 0.25, 0.25, 0.125])
    """
    like = like.new_empty(0, dtype=torch.promote_types(like.dtype, torch.float32))
    places, weights = [], []
    for points, width, periodic in zip(sizes, patch, closed, strict=True):
        place = axis_points(points, periodic, like)
        weight = torch.full_like(place, 1 / (points if periodic else max(points - 1, 1)))
        if not periodic and points > 1:
            weight[[0, -1]] /= 2
        places.append(place.unflatten(0, (-1, width)).mean(1))
        weights.append(weight.unflatten(0, (-1, width)).sum(1))
    measure = None if all(closed) else points_of_axes(weights).prod(-1).flatten()
    return Nodes(points_of_axes(places).flatten(0, -2), measure, tuple(closed))


def to_patches(field: Tensor, patch: Sequence[int]) -> Tensor:
    """A field cut into patches, one row each.

    Args:
        field: ``(B, C, *S)``.
        patch: points of a patch along each axis.

    Shapes:
        - returns: ``(B, patches, C * points of a patch)``

    Example:
        >>> to_patches(torch.arange(4.0).reshape(1, 1, 4), [2])
        tensor([[[0., 1.],
                 [2., 3.]]])
    """
    sizes = field.shape[2:]
    if len(sizes) != len(patch):
        raise ValueError(expected(f"a field (B, C, *S) on {len(patch)} axes", tuple(field.shape), "dim=..."))
    if any(size % width for size, width in zip(sizes, patch, strict=True)):
        multiple = f"a grid whose sides are multiples of the patch {tuple(patch)}"
        raise ValueError(expected(multiple, tuple(sizes), "a patch that divides them"))
    grid, rows = _patterns(len(patch))
    return rearrange(field, f"{grid} -> {rows}", **{f"p{axis}": width for axis, width in enumerate(patch)})


def with_shifts(field: Tensor, by: Sequence[int], closed: Sequence[bool]) -> Tensor:
    """A field followed by copies of it, moved along all diagonals (shifted patch tokenisation).

    Args:
        field: ``(B, C, *S)``.
        by: points of a shift along each axis.
        closed: for each axis, whether it is periodic; into others zeros are moved.

    Shapes:
        - returns: ``(B, (1 + 2^axes) C, *S)``

    Example:
        >>> field = torch.arange(1.0, 5.0).reshape(1, 1, 4)
        >>> with_shifts(field, [1], [False])[0].tolist()
        [[1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 4.0, 0.0], [0.0, 1.0, 2.0, 3.0]]
    """
    copies = [field]
    for signs in product((-1, 1), repeat=len(by)):
        copy = field
        for axis, (sign, points, periodic) in enumerate(zip(signs, by, closed, strict=True), 2):
            copy = _moved(copy, axis, sign * points, periodic)
        copies.append(copy)
    return torch.cat(copies, 1)


def _moved(field: Tensor, axis: int, points: int, periodic: bool) -> Tensor:
    if periodic or not points:
        return field.roll(points, axis)
    outside = torch.zeros_like(field.narrow(axis, 0, abs(points)))
    inside = field.narrow(axis, max(-points, 0), field.shape[axis] - abs(points))
    return torch.cat([outside, inside] if points > 0 else [inside, outside], axis)


def from_patches(patches: Tensor, patch: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """The inverse of `to_patches`: a field from its patches.

    Args:
        patches: ``(B, patches, C * points of a patch)``.
        patch: points of a patch along each axis.
        sizes: points of the grid along each axis.

    Shapes:
        - returns: ``(B, C, *sizes)``

    Example:
        >>> field = torch.randn(2, 3, 4, 6)
        >>> torch.equal(from_patches(to_patches(field, [2, 3]), [2, 3], [4, 6]), field)
        True
    """
    grid, rows = _patterns(len(patch))
    lengths = {f"p{axis}": width for axis, width in enumerate(patch)}
    for axis, (size, width) in enumerate(zip(sizes, patch, strict=True)):
        lengths[f"n{axis}"] = size // width
    return rearrange(patches, f"{rows} -> {grid}", **lengths)


def _patterns(dim: int) -> tuple[str, str]:
    """Einops patterns of a field and of its patches: n patches of p points along each axis."""
    cut = " ".join(f"(n{axis} p{axis})" for axis in range(dim))
    patches, points = (" ".join(f"{name}{axis}" for axis in range(dim)) for name in "np")
    return f"b c {cut}", f"b ({patches}) (c {points})"


class PositionEncoding(nn.Module):
    """Position encoding of tokens: a linear layer on sines and cosines of a few waves along every axis.

    Args:
        dim: axes.
        width: channels of a token.

    Shapes:
        - returns: ``(N, width)``
    """

    waves = 4

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.mix = nn.Linear(2 * self.waves * dim, width)

    def forward(self, nodes: Nodes) -> Tensor:
        angles = nodes.angles(self.waves * len(nodes.closed))
        return self.mix(torch.cat([angles.cos(), angles.sin()], -1))


def per_axis(name: str, given: Any, dim: int) -> tuple[Any, ...]:
    """An option given once for all axes, or once per axis."""
    each = tuple(given) if isinstance(given, Sequence) else (given,) * dim
    if dim < 1 or len(each) != dim:
        wanted = f"one value of {name}, or one for each of {dim} axes"
        raise ValueError(expected(wanted, given, "one value per axis"))
    return each


def patch_sides(patch: int | Sequence[int], dim: int) -> tuple[int, ...]:
    """Points of a patch along each axis."""
    sides = per_axis("patch", patch, dim)
    if min(sides) < 1:
        raise ValueError(expected("a patch of at least one point", patch, "patch=4"))
    return sides
