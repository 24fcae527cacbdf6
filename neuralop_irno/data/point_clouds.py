"""Points without a mesh in a periodic box: neighbours and volume weights by Delaunay triangulation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial import Delaunay, QhullError
from torch import Tensor

from neuralop_irno.data.mesh import edges_of
from neuralop_irno.errors import expected


class Neighbourhood(NamedTuple):
    """Edges and volume weights of a triangulation.

    Attributes:
        edge_index: every edge in both directions, ``(2, E)``.
        measure: an equal part of every triangle, or tetrahedron, around a point, ``(N,)``.
    """

    edge_index: Tensor
    measure: Tensor


class PointCloud:
    """Points that are triangulated when `neighbourhood` is first read.

    Args:
        pos: coordinates, ``(N, d)``.
        period: the side lengths of the periodic box, ``(d,)``; None for an open domain.

    Example:
        >>> ticks = torch.arange(4) / 4
        >>> cloud = PointCloud(torch.cartesian_prod(ticks, ticks), period=(1.0, 1.0))
        >>> edges, measure = cloud.neighbourhood
        >>> edges.shape[1], round(measure.sum().item(), 6)  # six neighbours each, as on every torus
        (96, 1.0)
    """

    def __init__(self, pos: Tensor, period: Sequence[float] | None = None) -> None:
        if pos.dim() != 2 or len(pos) <= pos.shape[1]:
            wanted = "points (N, d), more than d of them"
            raise ValueError(expected(wanted, tuple(pos.shape), "pos=torch.rand(64, 2)"))
        if not pos.isfinite().all():
            wanted = "points with finite coordinates"
            raise ValueError(expected(wanted, "NaN or inf", "dropping these points"))
        if period is not None and len(period) != pos.shape[1]:
            wanted = f"a period of {pos.shape[1]} lengths"
            raise ValueError(expected(wanted, tuple(period), "one length per axis"))
        self.pos, self.period = pos, period

    def __repr__(self) -> str:
        return f"PointCloud({len(self.pos)} points in {self.pos.shape[1]} dimensions, period={self.period})"

    @cached_property
    def neighbourhood(self) -> Neighbourhood | None:
        """Edges and weights; None on an open domain, whose boundary and holes only a mesh can define."""
        with torch.inference_mode(False):  # the cached tensors are also used in training
            return None if self.period is None else torus_neighbourhood(self.pos, self.period)


def torus_neighbourhood(pos: Tensor, period: Sequence[float]) -> Neighbourhood:
    """Delaunay triangulation of points and their periodic copies.

    Args:
        pos: coordinates, ``(N, d)``, in one box.
        period: side lengths of the box.
    """
    count, dim = pos.shape
    lengths = np.asarray(period, dtype=np.float64)
    # Four points on a circle have two triangulations; the perturbation makes all copies get the same one.
    points = pos.double().numpy() + 1e-9 * lengths * np.random.default_rng(0).random((count, dim))
    shifts = sorted(itertools.product((-1, 0, 1), repeat=dim), key=any)  # the unshifted copy first
    spread = np.concatenate([points + shift * lengths for shift in shifts])
    try:
        cells = Delaunay(spread).simplices
    except QhullError as error:
        got = f"{count} points that Delaunay's triangulation fails on"
        raise ValueError(expected("points that span the box", got, "points apart from each other")) from error
    cells = cells[(cells < count).any(1)]

    sides = spread[cells[:, 1:]] - spread[cells[:, :1]]
    shares = np.abs(np.linalg.det(sides)) / math.factorial(dim + 1)
    own = cells < count
    measure = np.bincount(cells[own], np.broadcast_to(shares[:, None], cells.shape)[own], count)

    edges = edges_of(cells % count)
    edges = edges[:, edges[0] != edges[1]]  # a few points can be neighbours of their own copies
    return Neighbourhood(torch.from_numpy(edges), torch.from_numpy(measure).to(pos.dtype))
