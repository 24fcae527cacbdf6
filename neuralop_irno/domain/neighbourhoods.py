r"""The neighbours of each node at a given distance, whatever the spacing of its mesh.

On a mesh twice as fine the edges of the mesh are half as long, and messages along them reach half as far.
Edges of a fixed length reach as far on every mesh, as a dilated convolution does on a grid, and each node
keeps its own values. The neighbours j of node i for a length s are chosen one after another, for

.. math:: \min_j |\ln(|p_j - p_i| / 0.9 s)| + 0.2 z_{ij} \quad\text{with } |p_j - p_k| \ge 0.77 s

for each k chosen before, among nodes up to 1.44 s away; those at the boundary come first by half a unit of
the logarithm. The mean length is then about s, as more nodes lie beyond a distance than within it. The z are
normal numbers, so that several draws give several choices, over which an average can be taken. A walk along
the edges of the mesh, against their direction, has to get from i to j with every step nearer to j, in at
most 1.3 times the straight way: holes and slits stay open, and edges in one direction keep it. Edges of
length 0, such as those from nodes to themselves, are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from neuralop_irno.domain.graph import Edges, GraphDomain
from neuralop_irno.domain.spacing import (
    Array,
    Index,
    PointSet,
    digest_of,
    edges_of_samples,
    local_spacing,
    point_sets,
    rows_of,
)
from neuralop_irno.recently_used import RecentlyUsed

NOMINAL, NOISE, APART, REACH, BOUNDARY_FIRST, DETOUR = 0.9, 0.2, 0.77, 1.44, 0.5, 1.3
"""The numbers of the formula, in its order."""

CHUNK = 200_000
"""Pairs of nodes whose walks are taken at once."""

_KNOWN = RecentlyUsed[Index](4_000_000)
"""Edges by coordinates, edges of the mesh and length, up to a number of edges in total."""


def neighbourhoods(points: PointSet, length: float, edges: Index, draw: int = 0) -> Index:
    """Source and target of edges of about a given length, ``(2, E)``, in the order of their targets.

    Args:
        points: the nodes.
        length: the wanted length.
        edges: the edges of the mesh, source and target, along which neighbours have to be reached.
        draw: the seed of z.

    Example:
        >>> line, at = PointSet(np.arange(16.0)[:, None], np.array([16.0])), np.arange(16)
        >>> source, target = neighbourhoods(line, 4.0, np.stack([at, (at + 1) % 16]))
        >>> bool(2 < abs(line.way(source, target)).mean() < 6)
        True
    """
    if len(points) < 2 or not edges.size:
        return np.zeros((2, 0), np.int64)
    by_place = np.lexsort(points.pos.T[::-1])  # so that no tie is decided by the numbering
    ordered = points.of(by_place)
    source, target = _chosen(ordered, length, np.argsort(by_place)[edges], draw)
    still = edges[:, ~points.way(*edges).any(1)]
    found: Index = np.concatenate([np.stack([by_place[source], by_place[target]]), still], 1)
    return found[:, np.lexsort((found[0], found[1]))]


def _chosen(points: PointSet, length: float, edges: Index, draw: int) -> tuple[Index, Index]:
    """Source and target of every edge."""
    candidates, target, cost = _candidates(points, length, draw)
    table = _table(edges, len(points))
    parts = [slice(at, at + CHUNK) for at in range(0, len(target), CHUNK)]
    reached = [_reached(points, table, target[part], candidates[part]) for part in parts]
    kept = np.concatenate([np.zeros(0, bool), *reached])
    candidates, target, cost = candidates[kept], target[kept], cost[kept]
    order = np.lexsort((candidates, cost, target))
    candidates, target = candidates[order], target[order]
    count = np.bincount(target, minlength=len(points))
    rank = np.arange(len(target)) - (np.cumsum(count) - count)[target]
    choice = np.zeros((len(points), int(count.max(initial=0))), np.int64)
    free = np.zeros(choice.shape, bool)
    choice[target, rank], free[target, rank] = candidates, True
    found = []
    while (at := np.nonzero(free.any(1))[0]).size:
        taken = choice[at, free[at].argmax(1)]
        found.append((taken, at))
        away = np.linalg.norm(points.way(taken[:, None], choice[at]), axis=2)
        free[at] &= away >= APART * length
    sources, targets = zip(*found, strict=True) if found else ([target], [target])
    return np.concatenate(sources), np.concatenate(targets)


def _candidates(points: PointSet, length: float, draw: int) -> tuple[Index, Index, Array]:
    """Pairs of nodes that may be neighbours, source and target, and their cost."""
    tree = points.tree()
    pairs = tree.query_pairs(REACH * length, output_type="ndarray").astype(np.int64)
    pairs = pairs[np.lexsort(pairs.T)]
    source, target = np.concatenate([pairs, pairs[:, ::-1]]).T
    distance = np.linalg.norm(points.way(source, target), axis=1)
    apart = distance > 0
    source, target, distance = source[apart], target[apart], distance[apart]
    _, boundary = local_spacing(points)
    cost = np.abs(np.log(distance / (NOMINAL * length))) - BOUNDARY_FIRST * boundary[source]
    cost += NOISE * np.random.default_rng(draw).standard_normal(len(cost))
    return source, target, cost


def _table(edges: Index, count: int) -> Index:
    """The nodes from which edges lead to each node, ``(N, k)``, filled up with the node."""
    target, source = np.unique(edges[::-1], axis=1)
    degree = np.bincount(target, minlength=count)
    rank = np.arange(len(target)) - (np.cumsum(degree) - degree)[target]
    table = np.repeat(np.arange(count)[:, None], max(1, int(degree.max(initial=0))), 1)
    table[target, rank] = source
    return table


def _reached(points: PointSet, table: Index, start: Index, goal: Index) -> NDArray[np.bool_]:
    """Which goals a walk along edges reaches, each step of which goes to the node nearest to the goal."""
    here, left = start.copy(), np.linalg.norm(points.way(start, goal), axis=1)
    straight, walked = left.copy(), np.zeros(len(start))
    walking = np.arange(len(start))
    while walking.size:
        steps = table[here[walking]]
        distance = np.linalg.norm(points.way(steps, goal[walking, None]), axis=2)
        best = distance.argmin(1)[:, None]
        step = np.take_along_axis(steps, best, 1)[:, 0]
        nearest = np.take_along_axis(distance, best, 1)[:, 0]
        walked[walking] += np.linalg.norm(points.way(here[walking], step), axis=1)
        nearer = nearest < left[walking]
        here[walking], left[walking] = step, nearest
        walking = walking[nearer & (step != goal[walking])]
    reached: NDArray[np.bool_] = (here == goal) & (walked <= DETOUR * straight)
    return reached


def with_neighbourhoods(domain: GraphDomain, lengths: Sequence[float | None], draw: int = 0) -> GraphDomain:
    """The same nodes with edges of given lengths, without attributes; remembered by their coordinates.

    Args:
        domain: graphs with edges.
        lengths: a length for each sample; None keeps its edges.
        draw: see `neighbourhoods`.

    Example:
        >>> ring = torch.stack([torch.arange(9), (torch.arange(9) + 1) % 9])
        >>> line = GraphDomain.of(torch.zeros(9, 1), {"pos": torch.arange(9.0)[:, None], "edge_index": ring})
        >>> with_neighbourhoods(line, [None]).edges.index.equal(ring)
        True
    """
    rows = rows_of(domain.batch, domain.samples)
    parts = []
    for points, mesh, own, length in zip(
        point_sets(domain), edges_of_samples(domain), rows, lengths, strict=True
    ):
        if mesh is not None:
            found = mesh
            if points is not None and length is not None:
                found = _remembered(points, length, mesh, draw)
            parts.append(own[torch.from_numpy(found).to(own.device)])
    index = torch.cat(parts, 1) if parts else domain.batch.new_zeros(2, 0)
    return domain.with_edges(Edges(index))


def _remembered(points: PointSet, length: float, edges: Index, draw: int) -> Index:
    key = digest_of(points), length, hashlib.sha256(edges.tobytes()).digest(), draw
    found = _KNOWN.get(key)
    if found is None:
        found = neighbourhoods(points, length, edges, draw)
        _KNOWN.put(key, found, found.shape[1])
    return found
