"""Domains whose areas, spectra and edges are known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def square(side: int, shake: float = 0.25, width: float = 1.0) -> tuple[Tensor, Tensor]:
    """A rectangle [0, width] x [0, 1] in triangles, inner nodes shaken: pos (N, 2), face (3, cells)."""
    random = np.random.default_rng(0)
    line = np.linspace(0, 1, side)
    pos = np.stack(np.meshgrid(line, line, indexing="ij"), -1)
    pos[1:-1, 1:-1] += random.uniform(-shake, shake, (side - 2, side - 2, 2)) / (side - 1)
    node = np.arange(side * side).reshape(side, side)
    a, b, c, d = (n.ravel() for n in (node[:-1, :-1], node[1:, :-1], node[:-1, 1:], node[1:, 1:]))
    cells = np.concatenate([[a, b, c], [b, d, c]], 1)
    return torch.from_numpy(pos.reshape(-1, 2) * [width, 1.0]), torch.from_numpy(cells)


def cube(side: int) -> tuple[Tensor, Tensor]:
    """The unit cube in tetrahedra, six to each small cube: pos (N, 3), cells (4, cells)."""
    line = torch.linspace(0, 1, side, dtype=torch.float64)
    pos = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
    node = np.arange(side**3).reshape(side, side, side)
    paths = []
    for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        corner, path = [0, 0, 0], []
        for axis in (None, *order):
            if axis is not None:
                corner[axis] = 1
            part = tuple(slice(c, side - 1 + c) for c in corner)
            path.append(node[part].ravel())
        paths.append(np.stack(path))
    return pos, torch.from_numpy(np.concatenate(paths, 1))


def periodic_grid(shape: Sequence[int]) -> Tensor:
    """Edges of a grid that closes on itself, one way only: (2, edges)."""
    node = torch.arange(math.prod(shape)).reshape(*shape)
    steps = [torch.stack([node.flatten(), node.roll(-1, axis).flatten()]) for axis in range(len(shape))]
    return torch.cat(steps, 1)


def grid_eigenvalues(shape: Sequence[int]) -> Tensor:
    """Of a periodic grid's combinatorial Laplacian, laid out like its full FFT."""
    axes = [2 - 2 * torch.cos(2 * math.pi * torch.arange(n, dtype=torch.float64) / n) for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).sum(0)
