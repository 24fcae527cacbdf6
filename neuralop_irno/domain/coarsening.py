r"""A coarse set of the nodes of one sample, and how fields go there and back.

The coarse nodes are a part of the fine ones, those at the boundary first, each with no other within a
distance in proportion to the spacing around it, so that graded meshes stay graded; the factor is such that
the mean spacing is the wanted one. Order and distances follow from the coordinates alone: renumbering the
nodes renumbers the answer.

Each fine node belongs to the coarse node that is nearest along the edges. So coarse nodes are neighbours
where an edge runs between what belongs to them: holes and slits stay open, in any dimension and across the
seam of a torus. A field is interpolated from the coarse nodes around: a linear function is fitted to their
values by least squares, weighted by 1 / distance^4, and evaluated at the fine node.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import dijkstra

from neuralop_irno.domain.spacing import Array, Index, PointSet, local_spacing, mean_spacing

NEAREST = 6
"""Coarse nodes from which a field is interpolated to a fine one."""

AROUND = 16
"""Neighbours of a coarse node that are considered for this, the nearest ones."""

RIDGE = 1e-3
"""Linear functions are kept up to this part, so that nodes on a line or surface have weights too."""

TRIES, CLOSE = 12, 0.01
"""Bisections of the factor, and the accuracy of the mean spacing at which they end."""


@dataclass(frozen=True, eq=False)
class Coarsening:
    """Coarse nodes, their edges, and the maps between fine and coarse.

    Attributes:
        nodes: the coarse nodes, as numbers of fine ones, ``(n,)``.
        owner: the coarse node that each fine one belongs to, ``(N,)``.
        near: the coarse nodes from which each fine one is interpolated, ``(N, k)``.
        weight: their weights, which add up to 1, ``(N, k)``.
        edges: source and target of the coarse edges, ``(2, E)``; None if the fine nodes have no edges.
    """

    nodes: Index
    owner: Index
    near: Index
    weight: Array
    edges: Index | None

    @property
    def trivial(self) -> bool:
        """Whether all nodes are kept."""
        return len(self.nodes) == len(self.owner)


def every_node(count: int, edges: Index | None = None) -> Coarsening:
    """The nodes as they are.

    Example:
        >>> every_node(2).weight.tolist()
        [[1.0, 0.0, 0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    """
    own = np.arange(count)
    near = np.repeat(own[:, None], NEAREST, 1)
    weight = np.zeros((count, NEAREST))
    weight[:, 0] = 1
    return Coarsening(own, own, near, weight, edges)


def coarsen(points: PointSet, spacing: float, edges: Index | None = None) -> Coarsening:
    """A part of the nodes with a given mean spacing.

    Args:
        points: the fine nodes.
        spacing: the mean spacing of the coarse ones; see `mean_spacing`.
        edges: the edges between fine nodes, ``(2, E)``; by default those to the six nearest nodes.

    Example:
        >>> ticks = np.arange(16) / 16
        >>> torus = PointSet(np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2), np.ones(2))
        >>> coarse = coarsen(torus, 2 * mean_spacing(torus))
        >>> 50 < len(coarse.nodes) < 80, bool((coarse.weight.sum(1).round(9) == 1).all())
        (True, True)
    """
    # In the order of coordinates, so that no tie is decided by the numbering.
    by_place = np.lexsort(points.pos.T[::-1])
    place = np.argsort(by_place)
    sorted_edges = None if edges is None else place[edges]
    found = _coarsened(points.of(by_place), spacing, sorted_edges)
    return Coarsening(
        by_place[found.nodes], found.owner[place], found.near[place], found.weight[place], found.edges
    )


def _coarsened(points: PointSet, spacing: float, edges: Index | None) -> Coarsening:
    nodes = _chosen(points, spacing)
    joined = _nearest_edges(points) if edges is None or not edges.size else edges
    joined = np.unique(joined, axis=1)
    loops, joined = joined[0, joined[0] == joined[1]], joined[:, joined[0] != joined[1]]
    owner = _owners(points, nodes, joined)
    between = np.unique(owner[joined], axis=1)
    between = between[:, between[0] != between[1]]
    near, weight = _interpolation(points, nodes, owner, between)
    coarse = None
    if edges is not None:
        own = np.unique(owner[loops])
        coarse = np.concatenate([between, np.stack([own, own])], 1) if edges.size else edges
    return Coarsening(nodes, owner, near, weight, coarse)


def _chosen(points: PointSet, spacing: float) -> Index:
    """The coarse nodes, ascending; those at the boundary are taken first."""
    around, edge = local_spacing(points)
    order = np.argsort(~edge, kind="stable")
    tree = points.tree()
    low, high = 0.0, 2 * spacing / (mean_spacing(points) or spacing)
    best, apart = order, np.inf
    for _ in range(TRIES):
        factor = (low + high) / 2
        kept = taken_apart(order, tree.query_ball_point(tree.data, factor * around))
        found = mean_spacing(points.of(kept)) or np.inf
        if abs(np.log(found / spacing)) < apart:
            best, apart = kept, abs(np.log(found / spacing))
        if apart < CLOSE:
            break
        low, high = (factor, high) if found < spacing else (low, factor)
    return np.sort(best)


def taken_apart(order: Index, close: NDArray[np.object_]) -> Index:
    """Nodes taken one after another, each of which excludes those close to it.

    Args:
        order: all nodes in the order in which they are tried.
        close: the nodes close to each.
    """
    free = np.ones(len(order), dtype=bool)
    kept = []
    for node in order:
        if free[node]:
            kept.append(node)
            free[close[node]] = False
    return np.asarray(kept, np.int64)


def _nearest_edges(points: PointSet) -> Index:
    _, nearest = points.neighbours()
    source = np.repeat(np.arange(len(points)), nearest.shape[1])
    return np.concatenate([np.stack([source, nearest.ravel()]), np.stack([nearest.ravel(), source])], 1)


def _owners(points: PointSet, nodes: Index, edges: Index) -> Index:
    """The coarse node that is nearest along the edges; where none can be reached, the nearest of all."""
    count = len(points)
    length = np.linalg.norm(points.way(*edges), axis=1)
    # Entries of zero would not be edges.
    length = np.maximum(length, np.finfo(float).tiny)
    graph = sp.coo_array((length, tuple(edges)), (count, count)).tocsr()
    distance, _, source = dijkstra(
        graph, directed=False, indices=nodes, min_only=True, return_predecessors=True
    )
    number = np.full(count, -1)
    number[nodes] = np.arange(len(nodes))
    owner = number[np.where(np.isfinite(distance), source, nodes[0])]
    lost = ~np.isfinite(distance)
    if lost.any():
        tree = points.tree()
        coarse = points.of(nodes).tree()
        owner[lost] = coarse.query(tree.data[lost])[1]
    return owner


def _interpolation(points: PointSet, nodes: Index, owner: Index, between: Index) -> tuple[Index, Array]:
    """Coarse nodes and weights for each fine one."""
    candidates = _neighbourhoods(points.of(nodes), between)[owner]
    way = points.way(np.arange(len(points))[:, None], nodes[candidates])
    distance = np.linalg.norm(way, axis=2)
    distance[:, 1:][candidates[:, 1:] == candidates[:, :1]] = np.inf  # padding
    if distance.shape[1] < NEAREST:
        missing = NEAREST - distance.shape[1]
        distance = np.pad(distance, ((0, 0), (0, missing)), constant_values=np.inf)
        candidates = np.pad(candidates, ((0, 0), (0, missing)), mode="edge")
        way = np.pad(way, ((0, 0), (0, missing), (0, 0)))
    nearest = np.argsort(distance, 1, kind="stable")[:, :NEAREST]
    distance = np.take_along_axis(distance, nearest, 1)
    candidates = np.take_along_axis(candidates, nearest, 1)
    way = np.take_along_axis(way, nearest[..., None], 1)
    known = np.isfinite(distance)
    unit = np.max(np.where(known, distance, 0), axis=1, keepdims=True)
    unit = np.where(unit > 0, unit, 1)
    importance = np.where(known, (unit / np.maximum(distance, 1e-6 * unit)) ** 4, 0)
    basis = np.concatenate([np.ones((*known.shape, 1)), way / unit[..., None]], 2)
    basis[~known] = 0
    gram = np.einsum("nka,nk,nkb->nab", basis, importance, basis)
    linear = np.arange(1, gram.shape[1])
    gram[:, linear, linear] += RIDGE * np.maximum(gram[:, linear, linear].max(1, keepdims=True), 1e-30)
    first = np.zeros((len(points), gram.shape[1], 1))
    first[:, 0] = 1
    weight = importance * np.einsum("nka,na->nk", basis, np.linalg.solve(gram, first)[..., 0])
    weight /= weight.sum(1, keepdims=True)
    candidates[~known] = owner[np.nonzero(~known)[0]]
    coarse = np.zeros((len(nodes), weight.shape[1]))
    coarse[:, 0] = 1
    weight[nodes] = coarse  # coarse nodes keep their values exactly
    candidates[nodes] = np.arange(len(nodes))[:, None]
    return candidates, weight


def _neighbourhoods(coarse: PointSet, between: Index) -> Index:
    """Each coarse node and its neighbours, ``(n, k)``, nearest first, filled up with the node itself."""
    length = np.linalg.norm(coarse.way(*between), axis=1)
    order = np.lexsort((between[1], length, between[0]))
    source, target = between[:, order]
    count = np.bincount(source, minlength=len(coarse))
    rank = np.arange(len(source)) - (np.cumsum(count) - count)[source]
    kept = rank < AROUND
    width = 1 + min(AROUND, int(count.max(initial=0)))
    table = np.repeat(np.arange(len(coarse))[:, None], width, 1)
    table[source[kept], rank[kept] + 1] = target[kept]
    return table
