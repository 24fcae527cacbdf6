"""The spacing of point sets: how far nodes are from their neighbours, in boxes that may be periodic."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.recently_used import RecentlyUsed

Array = NDArray[np.float64]
Index = NDArray[np.int64]

NEIGHBOURS = 6
"""Neighbours of a node in its mean distance: with six, lattices and random points of one density agree."""

LOPSIDED = 0.5
"""A node whose neighbours have their centre farther away than this part of its spacing is at the boundary."""


@dataclass(frozen=True, eq=False)
class PointSet:
    """The nodes of one sample.

    Attributes:
        pos: ``(N, d)``.
        period: the sides of a periodic box, ``(d,)``, infinite along open axes; None for an open domain.
    """

    pos: Array
    period: Array | None = None

    def __len__(self) -> int:
        return len(self.pos)

    def of(self, nodes: Index) -> PointSet:
        """Some of the nodes."""
        return PointSet(self.pos[nodes], self.period)

    def way(self, source: Index, target: Index) -> Array:
        """The shortest vectors from nodes to nodes, ``(..., d)``."""
        return shortest(self.pos[target] - self.pos[source], self.period)

    def tree(self) -> cKDTree:
        """A tree for neighbours, across seams too."""
        if self.period is None:
            return cKDTree(self.pos)
        closed = np.isfinite(self.period)
        side = np.where(closed, self.period, 1.0)
        inside = np.where(closed, self.pos - np.floor(self.pos / side) * side, self.pos)
        inside = np.where(closed & (inside >= side), 0.0, inside)
        return cKDTree(inside, boxsize=np.where(closed, side, 0.0))

    def neighbours(self, most: int = NEIGHBOURS) -> tuple[Array, Index]:
        """Distances and numbers of the nearest other nodes, ``most`` or all there are, each ``(N, k)``."""
        count = min(most, len(self) - 1)
        tree = self.tree()
        distance, nearest = tree.query(tree.data, k=list(range(1, count + 2)))
        # Of coincident nodes the first need not be the node itself.
        own = nearest == np.arange(len(self))[:, None]
        own[~own.any(1), -1] = True
        return distance[~own].reshape(len(self), count), nearest[~own].reshape(len(self), count)


def shortest(way: Array, period: Array | None) -> Array:
    """Vectors between nearest images.

    Example:
        >>> shortest(np.array([[0.9, 5.0]]), np.array([1.0, np.inf])).round(6).tolist()
        [[-0.1, 5.0]]
    """
    if period is None:
        return way
    closed = np.isfinite(period)
    side = np.where(closed, period, 1.0)
    return np.where(closed, way - side * np.round(way / side), way)


def local_spacing(points: PointSet) -> tuple[Array, NDArray[np.bool_]]:
    """The spacing around each node, ``(N,)``, and which nodes are at the boundary.

    The spacing of a node is the mean distance to its six nearest others; around it, the median over those, so
    that at boundaries it is that of the nodes inside.
    """
    distance, nearest = points.neighbours()
    own = distance.mean(1)
    centre = points.way(np.arange(len(points))[:, None], nearest).mean(1)
    edge = np.linalg.norm(centre, axis=1) > LOPSIDED * own
    return np.median(own[nearest], axis=1), edge


def mean_spacing(points: PointSet) -> float | None:
    """The mean distance of nodes to their six nearest others; None for fewer than two nodes.

    It needs no cells, measure or dimension, and is about n^(-1/d) for n nodes per unit of volume.

    Example:
        >>> ticks = np.arange(8) / 8
        >>> torus = PointSet(np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2), np.ones(2))
        >>> round(mean_spacing(torus) * 8, 3)  # four neighbours at 1, two at the root of 2
        1.138
    """
    if len(points) < 2:
        return None
    mean = float(points.neighbours()[0].mean())
    return mean if mean > 0 else None


_KNOWN = RecentlyUsed[tuple[float | None]](4096)


def spacings(domain: GraphDomain) -> list[float | None]:
    """The mean spacing of every sample, remembered by its coordinates; None where there are none.

    Example:
        >>> domain = GraphDomain(torch.tensor([0, 0, 1, 1]), 2, torch.tensor([[0.0], [2.0], [0.0], [3.0]]))
        >>> spacings(domain)
        [2.0, 3.0]
    """
    found: list[float | None] = []
    for points in point_sets(domain):
        if points is None:
            found.append(None)
            continue
        key = digest_of(points)
        known = _KNOWN.get(key)
        if known is None:
            known = (mean_spacing(points),)
            _KNOWN.put(key, known, 1)
        found.append(known[0])
    return found


def digest_of(points: PointSet) -> bytes:
    """A digest of the coordinates and the period."""
    content = hashlib.sha256(repr(points.pos.shape).encode() + points.pos.tobytes())
    if points.period is not None:
        content.update(points.period.tobytes())
    return content.digest()


def point_sets(domain: GraphDomain) -> list[PointSet | None]:
    """The nodes of each sample, in the order of their rows; None where there are no coordinates."""
    if domain.pos is None:
        return [None] * domain.samples
    pos = domain.pos.detach().cpu().double()
    rows = rows_of(domain.batch.cpu(), domain.samples)
    periods: list[Array | None] = [None] * domain.samples
    if domain.period is not None:
        periods = list(domain.period.detach().cpu().double().numpy())
    return [PointSet(pos[part].numpy(), period) for part, period in zip(rows, periods, strict=True)]


def rows_of(batch: Tensor, samples: int) -> tuple[Tensor, ...]:
    """The rows of each sample, ascending.

    Example:
        >>> rows_of(torch.tensor([1, 0, 1]), 2)
        (tensor([1]), tensor([0, 2]))
    """
    order = torch.argsort(batch, stable=True)
    return order.split(batch.bincount(minlength=samples).tolist())


def edges_of_samples(domain: GraphDomain) -> list[Index | None]:
    """The edges of each sample, between its nodes counted from 0; None if there are none."""
    if not domain.has_edges:
        return [None] * domain.samples
    batch, index = domain.batch.cpu(), domain.edges.index.cpu()
    rows = rows_of(batch, domain.samples)
    number = torch.empty_like(batch)
    for part in rows:
        number[part] = torch.arange(len(part))
    of_sample = rows_of(batch[index[0]], domain.samples)
    return [number[index[:, part]].numpy() for part in of_sample]
