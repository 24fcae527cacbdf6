"""Patches of a field that a data set returns: the whole field, random crops, or tiles that cover it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Protocol

import numpy as np
from torch import Tensor

from neuralop_irno.errors import expected

Grid = tuple[int, int]


class View(Protocol):
    """Base class: the patches of every field of a data set, by index."""

    def count(self, grid: Grid) -> int:
        """The number of patches of a field."""

    def shape(self, grid: Grid) -> Grid:
        """Points along the two axes of a patch."""

    def corner(self, grid: Grid, field: int, place: int) -> Grid:
        """The first row and column of a patch."""


@dataclass(frozen=True)
class Whole(View):
    """The whole field."""

    def count(self, grid: Grid) -> int:
        return 1

    def shape(self, grid: Grid) -> Grid:
        return grid

    def corner(self, grid: Grid, field: int, place: int) -> Grid:
        return 0, 0


@dataclass(frozen=True)
class Crops(View):
    """Squares at random positions.

    A position depends only on the seed and the indices of field and square: it is the same in every epoch, in
    every process, and after a restart.

    Attributes:
        size: points per side.
        each: crops per field.
        seed: seed of the positions.

    Example:
        >>> crops = Crops(size=4, each=2)
        >>> crops
        Crops(size=4, each=2, seed=0)
    """

    size: int = 128
    each: int = 8
    seed: int = 0

    def count(self, grid: Grid) -> int:
        return self.each

    def shape(self, grid: Grid) -> Grid:
        return _square(self.size, grid)

    def corner(self, grid: Grid, field: int, place: int) -> Grid:
        random = np.random.default_rng((self.seed, field, place))
        row, column = random.integers(0, [n - self.size + 1 for n in grid])
        return int(row), int(column)


@dataclass(frozen=True)
class Tiles(View):
    """Adjacent squares that cover a field; the last of a row or column is moved back to end at the edge.

    Attributes:
        size: points per side.

    Example:
        >>> tiles = Tiles(4)
        >>> [tiles.corner((4, 10), 0, place) for place in range(tiles.count((4, 10)))]
        [(0, 0), (0, 4), (0, 6)]
    """

    size: int = 128

    def count(self, grid: Grid) -> int:
        return len(self._corners(grid))

    def shape(self, grid: Grid) -> Grid:
        return _square(self.size, grid)

    def corner(self, grid: Grid, field: int, place: int) -> Grid:
        return self._corners(grid)[place]

    def stitch(self, patches: Tensor, grid: Grid) -> Tensor:
        """Assemble a field from its patches; overlapping parts are averaged.

        Shapes:
            - patches: ``(count, C, size, size)``; returns: ``(C, *grid)``

        Example:
            >>> import torch
            >>> field = torch.randn(1, 4, 10)
            >>> patches = torch.stack([field[..., 0:4], field[..., 4:8], field[..., 6:10]])
            >>> torch.equal(Tiles(4).stitch(patches, (4, 10)), field)
            True
        """
        corners = self._corners(grid)
        if len(patches) != len(corners) or patches.shape[-2:] != (self.size, self.size):
            wanted = f"patches of shape ({len(corners)}, C, {self.size}, {self.size})"
            raise ValueError(expected(wanted, tuple(patches.shape), "one patch per tile"))
        total = patches.new_zeros(patches.shape[1], *grid)
        times = patches.new_zeros(grid)
        for patch, (row, column) in zip(patches, corners, strict=True):
            here = (..., slice(row, row + self.size), slice(column, column + self.size))
            total[here] += patch
            times[here] += 1
        return total / times

    def _corners(self, grid: Grid) -> list[Grid]:
        side, _ = _square(self.size, grid)
        rows, columns = ([min(start, n - side) for start in range(0, n, side)] for n in grid)
        return list(product(rows, columns))


def _square(size: int, grid: Grid) -> Grid:
    if not 1 <= size <= min(grid):
        raise ValueError(expected(f"patches of 1 to {min(grid)} points a side", size, f"size={min(grid)}"))
    return size, size
