"""Points without edges or cells: measure, neighbours and interpolation from coordinates alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.domain.graph import Edges, GraphDomain
from neuralop_irno.domain.spacing import NEIGHBOURS, Array, Index, PointSet, digest_of, point_sets, rows_of
from neuralop_irno.errors import expected
from neuralop_irno.recently_used import RecentlyUsed

FLAT = 0.05
"""Directions with a smaller part of the squared distances between neighbours are not counted: a surface in
space has two dimensions."""

NEAREST = 3
"""Points from which a value is interpolated."""

AT_MOST = 18
"""Points that are looked at for edges, so that all at the distance of the sixth nearest are joined."""

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
        self._near: Edges | None = None
        if self.measure is None:
            self.measure = torch.empty(len(pos), dtype=pos.dtype, device=pos.device)
            for rows, near in self._around:
                self.measure[rows.to(pos.device)] = torch.from_numpy(near.measure).to(pos)

    @property
    def has_edges(self) -> bool:
        return True

    @property
    def edges(self) -> Edges:
        if self._edges is not None:
            return self._edges
        if self._near is None:
            parts = [rows[torch.from_numpy(near.edges)] for rows, near in self._around]
            self._near = Edges(torch.cat(parts, 1).to(self.batch.device))
        return self._near

    def select(self, keep: Tensor) -> PointDomain:
        part = super().select(keep)
        return PointDomain(
            part.batch, part.samples, part.pos, part.measure, part._edges, part.cells, part.period
        )

    @cached_property
    def _around(self) -> list[tuple[Tensor, Neighbourhood]]:
        """The rows of each sample, and what follows from its coordinates."""
        rows = rows_of(self.batch.cpu(), self.samples)
        known = [neighbourhood_of(points) for points in point_sets(self) if points is not None]
        return list(zip(rows, known, strict=True))


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
    distance, nearest = points.neighbours(AT_MOST)
    last = min(NEIGHBOURS, nearest.shape[1]) - 1
    reach, dim = distance[:, last], _dimension(points, nearest[:, : last + 1])
    ball = math.pi ** (dim / 2) / math.gamma(dim / 2 + 1)
    measure = ball / (last + 1) * np.median(reach[nearest[:, : last + 1]], axis=1) ** dim
    target, place = np.nonzero(distance <= reach[:, None] * AS_FAR)
    source = nearest[target, place]
    pairs = np.unique(np.concatenate([source * count + target, target * count + source]))
    return Neighbourhood(measure if measure.any() else np.ones(count), np.stack(np.divmod(pairs, count)))


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
