"""Points without edges or cells: measure, neighbours and interpolation from coordinates alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.domain.graph import Edges, GraphDomain
from neuralop_irno.domain.spacing import Array, Index, PointSet, digest_of, point_sets, rows_of
from neuralop_irno.errors import expected
from neuralop_irno.recently_used import RecentlyUsed

FLAT = 0.05
"""Directions with a smaller part of the squared distances between neighbours are not counted: a surface in
space has two dimensions."""

NEAREST = 3
"""Points from which a value is interpolated."""

AS_FAR = 1 + 1e-5
"""Neighbours up to this factor of the last one's distance are joined: rounding and numbering decide none."""


class PointDomain(GraphDomain):
    r"""A batch of point sets whose measure and edges follow from their coordinates.

    .. math:: m_i = \frac{\omega_d}{k} \, r_i^d

    the volume of the ball up to the k = 6th nearest point, divided by k. The distance :math:`r_i` is the
    median over these six points, so that at boundaries it is that of the points inside; d is the number of
    directions in which neighbours spread: 2 for points on a surface in space. On meshes that are much finer
    in one direction than in another this is a poor estimate: pass the ``measure``.

    Edges join every point to its six nearest, in both directions, across the seams of a periodic box. They
    are made when they are first read. Both are remembered by coordinates.

    Args:
        batch, samples, pos, measure, edges, cells, period: as for `GraphDomain`; ``pos`` is required.

    Example:
        >>> ticks = torch.arange(6) / 6
        >>> pos, batch = torch.cartesian_prod(ticks, ticks), torch.zeros(36, dtype=torch.long)
        >>> torus = PointDomain(batch, 1, pos, period=torch.ones(1, 2))
        >>> torus.edges.index.shape[1] // 36, round(torus.measure.sum().item(), 2)
        (8, 1.05)
    """

    def __init__(
        self,
        batch: Tensor,
        samples: int,
        pos: Tensor | None = None,
        measure: Tensor | None = None,
        edges: Edges | None = None,
        cells: Tensor | None = None,
        period: Tensor | None = None,
    ) -> None:
        super().__init__(batch, samples, pos, measure, edges, cells, period)
        if pos is None:
            raise ValueError(expected("the coordinates of the points", "none", "pos=..."))
        self._near: Edges | None = edges
        if self.measure is None:
            parts = [torch.from_numpy(around.measure) for around in self._around()]
            self.measure = self._in_rows(torch.cat(parts)).to(pos)

    @property
    def has_edges(self) -> bool:
        return True

    @property
    def edges(self) -> Edges:
        if self._near is None:
            around = zip(self._rows_of_samples(), self._around(), strict=True)
            parts = [rows[torch.from_numpy(near.edges)] for rows, near in around]
            self._near = Edges(torch.cat(parts, 1).to(self.batch.device))
        return self._near

    def select(self, keep: Tensor) -> PointDomain:
        part = super().select(keep)
        edges = None if self._edges is None else part.edges
        return PointDomain(part.batch, part.samples, part.pos, part.measure, edges, part.cells, part.period)

    def _around(self) -> list[Neighbourhood]:
        return [neighbourhood_of(points) for points in point_sets(self) if points is not None]

    def _rows_of_samples(self) -> tuple[Tensor, ...]:
        return rows_of(self.batch.cpu(), self.samples)

    def _in_rows(self, values: Tensor) -> Tensor:
        """Values of one sample after the other, ``(N,)``, in the order of the nodes."""
        return values[torch.cat(self._rows_of_samples()).argsort()]


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """What follows from the coordinates of one sample.

    Attributes:
        measure: of each point, ``(N,)``; see `PointDomain`.
        edges: source and target of each edge, ``(2, E)``.
    """

    measure: Array
    edges: Index


_KNOWN = RecentlyUsed[Neighbourhood](500_000)
"""Neighbourhoods by coordinates, up to a number of points in total."""


def neighbourhood_of(points: PointSet) -> Neighbourhood:
    """The measure and the edges of a set of points, remembered.

    Example:
        >>> near = neighbourhood_of(PointSet(np.arange(8.0)[:, None], np.array([8.0])))
        >>> near.measure.tolist() == [1.0] * 8, near.edges.shape
        (True, (2, 48))
    """
    key = digest_of(points)
    found = _KNOWN.get(key)
    if found is None:
        # In the order of coordinates, so that no tie is decided by the numbering.
        by_place = np.lexsort(points.pos.T[::-1])
        ordered = _neighbourhood(points.of(by_place))
        found = Neighbourhood(ordered.measure[np.argsort(by_place)], by_place[ordered.edges])
        _KNOWN.put(key, found, len(points))
    return found


def _neighbourhood(points: PointSet) -> Neighbourhood:
    count = len(points)
    if count < 2:
        return Neighbourhood(np.ones(count), np.zeros((2, 0), np.int64))
    distance, nearest = points.neighbours()
    reach, dim = distance[:, -1], _dimension(points, nearest)
    ball = math.pi ** (dim / 2) / math.gamma(dim / 2 + 1)
    measure = ball / nearest.shape[1] * np.median(reach[nearest], axis=1) ** dim
    tree = points.tree()
    close = tree.query_ball_point(tree.data, reach * AS_FAR, return_sorted=True)
    target = np.repeat(np.arange(count), [len(each) for each in close])
    source = np.concatenate([np.asarray(each, np.int64) for each in close])
    ends = np.concatenate([np.stack([source, target]), np.stack([target, source])], 1)
    ends = np.unique(ends[:, ends[0] != ends[1]], axis=1)
    return Neighbourhood(measure if measure.any() else np.ones(count), ends)


def _dimension(points: PointSet, nearest: Index) -> int:
    """The number of directions in which neighbours spread, at least 1."""
    way = points.way(np.arange(len(points))[:, None], nearest)
    spread = np.linalg.eigvalsh(np.einsum("nka,nkb->nab", way, way))
    total = spread.sum(1, keepdims=True)
    part = (spread / np.where(total > 0, total, 1)).mean(0)
    return max(1, int((part > FLAT).sum()))


_MAPS = RecentlyUsed[tuple[Index, Array]](500_000)
"""The maps of `interpolate` by coordinates, up to a number of target points in total."""


def interpolate(values: Tensor, source: PointSet, target: PointSet) -> Tensor:
    """Interpolate values from one point set to another, weighted by inverse squared distance.

    A target that coincides with a source point gets its value exactly. Three source points are used for each
    target, the nearest ones, also across the seams of a periodic box.

    Args:
        values: ``(n, C)`` at the source points.
        source: n points, with the period of the box.
        target: q points.

    Shapes:
        - returns: ``(q, C)``

    Example:
        >>> line, there = PointSet(np.array([[0.0], [1.0]])), PointSet(np.array([[0.5], [1.0]]))
        >>> interpolate(torch.tensor([[0.0], [2.0]]), line, there).squeeze()
        tensor([1., 2.])
    """
    if source.pos.shape[1] != target.pos.shape[1]:
        wanted = f"points in {source.pos.shape[1]} dimensions"
        got = target.pos.shape[1]
        raise ValueError(expected(wanted, got, "source and target in the same coordinates"))
    key = digest_of(source), digest_of(target)
    found = _MAPS.get(key)
    if found is None:
        found = _weights(source, target)
        _MAPS.put(key, found, len(target))
    near, weight = (torch.from_numpy(part).to(values.device) for part in found)
    return (values[near] * weight.to(values.dtype)[..., None]).sum(1)


def _weights(source: PointSet, target: PointSet) -> tuple[Index, Array]:
    """The numbers of the nearest source points of each target and their weights, ``(q, k)``."""
    by_place = np.lexsort(source.pos.T[::-1])
    inside = PointSet(target.pos, source.period).tree().data  # wrapped into a periodic box
    count = list(range(1, min(NEAREST, len(source)) + 1))
    distance, nearest = source.of(by_place).tree().query(inside, k=count)
    weight = 1 / np.maximum(distance**2, 1e-300)
    return by_place[nearest], weight / weight.sum(1, keepdims=True)
