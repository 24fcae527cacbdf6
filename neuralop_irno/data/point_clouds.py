"""Points of a domain: who is next to whom, and how much of it each stands for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from scipy.spatial import Delaunay
from torch import Tensor

from neuralop_irno.errors import expected


class PointCloud:
    """Points without a mesh. They are triangulated when somebody first asks for edges or measures.

    On an open domain the triangles fill the convex hull, and so also the holes that it may have: where a
    mesh is known it says more.

    Args:
        pos: coordinates, ``(N, d)``.
        period: the lengths of the box that repeats, ``(d,)``; None for an open domain.

    Example:
        >>> ticks = torch.arange(4) / 4
        >>> cloud = PointCloud(torch.cartesian_prod(ticks, ticks), period=(1.0, 1.0))
        >>> round(cloud.measure.sum().item(), 6), cloud.edge_index.shape[1]  # 6 N: triangles on a torus
        (1.0, 96)
    """

    def __init__(self, pos: Tensor, period: Sequence[float] | None = None) -> None:
        if pos.dim() != 2 or len(pos) <= pos.shape[1]:
            raise ValueError(
                expected("points (N, d), more than d of them", tuple(pos.shape), "pos=torch.rand(64, 2)")
            )
        if period is not None and len(period) != pos.shape[1]:
            raise ValueError(
                expected(f"a period of {pos.shape[1]} lengths", tuple(period), "one for each axis")
            )
        self.pos, self.period = pos, period

    @property
    def edge_index(self) -> Tensor:
        """Every edge of the triangulation in both directions, ``(2, E)``."""
        return self._neighbourhood[0]

    @property
    def measure(self) -> Tensor:
        """An equal part of every triangle, or tetrahedron, around a point, ``(N,)``."""
        return self._neighbourhood[1]

    @cached_property
    def _neighbourhood(self) -> tuple[Tensor, Tensor]:
        points = self.pos.double().numpy()
        count, dim = points.shape
        copies = [np.zeros(dim)]
        if self.period is not None:
            lengths = np.asarray(self.period)
            copies += [np.array(s) * lengths for s in itertools.product((-1, 0, 1), repeat=dim) if any(s)]
            # Four points on a circle have two triangulations: all copies have to agree on one of them.
            points = points + 1e-9 * lengths * np.random.default_rng(0).random(points.shape)
        spread = np.concatenate([points + copy for copy in copies])
        cells = Delaunay(spread).simplices
        cells = cells[(cells < count).any(1)]
        sides = spread[cells[:, 1:]] - spread[cells[:, :1]]
        volumes = np.abs(np.linalg.det(sides)) / math.factorial(dim)
        own = cells < count
        share = np.repeat(volumes / (dim + 1), dim + 1).reshape(cells.shape)
        measure = np.bincount(cells[own], share[own], minlength=count)
        names = cells % count
        pairs = np.concatenate([names[:, [i, j]] for i, j in itertools.permutations(range(dim + 1), 2)])
        edges = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0).T
        return torch.from_numpy(edges.astype(np.int64)), torch.from_numpy(measure).to(self.pos.dtype)
