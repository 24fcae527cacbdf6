"""Distances and neighbours in a box, open or periodic, from which region graphs are built.

Everything is computed in float32 numpy and in the units of the box [-1, 1]^d, so that thresholds give the
same graph on every machine; the period is 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay, QhullError, cKDTree

from neuralop_irno.errors import expected

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Bounds = tuple[float | Sequence[float], float | Sequence[float]]
"""The lowest and the highest corner of a box; a number stands for a corner with equal coordinates."""

SHIFTS_2D = ((0, 0), (-2, 0), (-2, 2), (0, 2), (2, 2), (2, 0), (2, -2), (0, -2), (-2, -2))
"""Shifts of the copies of a periodic point cloud. Their order decides which of two equal edges is kept."""


def box_units(pos: Floats, bounds: Bounds | None, periodic: bool) -> Floats:
    """Coordinates in the units of the box: X = 2 (x - lo) / (hi - lo) - 1.

    Args:
        pos: coordinates.
        bounds: the box; on an open domain, None takes the points' own bounding box.
        periodic: whether the box is a torus; every point must then lie inside.

    Shapes:
        - pos and the result: ``(N, d)``

    Example:
        >>> box_units(np.float32([[0.0, 1.0], [2.0, 3.0]]), (0.0, 4.0), periodic=True).tolist()
        [[-1.0, -0.5], [0.0, 0.5]]
    """
    low, high = corners(pos, bounds, periodic)
    if not (high > low).all():
        wanted = "a box with hi > lo on every axis"
        raise ValueError(expected(wanted, (low.tolist(), high.tolist()), "domain=(lo, hi)"))
    if (low == -1).all() and (high == 1).all():
        return pos  # adding and subtracting 1 would lose digits
    return (np.float32(2) * (pos - low) / (high - low) - np.float32(1)).astype(np.float32)


def corners(pos: Floats, bounds: Bounds | None, periodic: bool) -> tuple[Floats, Floats]:
    """The lowest and the highest corner of the box, ``(d,)`` each; see `box_units`."""
    if bounds is None:
        if periodic:
            raise ValueError(expected("the box of a periodic domain", None, "domain=(0.0, 1.0)"))
        return pos.min(0), pos.max(0)
    try:
        low, high = (np.broadcast_to(np.asarray(b, np.float32), pos.shape[1:]) for b in bounds)
    except (TypeError, ValueError) as error:
        wanted = f"a domain (lo, hi), each a number or {pos.shape[1]} of them"
        raise ValueError(expected(wanted, bounds, "domain=(0.0, 1.0)")) from error
    if periodic and not ((pos >= low) & (pos <= high)).all():
        wanted = f"every point of a periodic domain in {bounds}"
        got = f"points from {pos.min(0).tolist()} to {pos.max(0).tolist()}"
        raise ValueError(expected(wanted, got, "positions wrapped into the box: lo + (pos - lo) % (hi - lo)"))
    return low, high


def shifts(dim: int, periodic: bool) -> Floats:
    """The displacements of a cloud and its periodic copies, the cloud itself first.

    Example:
        >>> shifts(2, False).tolist(), len(shifts(3, True))
        ([[0.0, 0.0]], 27)
    """
    if not periodic:
        return np.zeros((1, dim), np.float32)
    if dim == 2:
        return np.asarray(SHIFTS_2D, np.float32)
    return np.asarray(list(product((0, -2, 2), repeat=dim)), np.float32)


def wrapped(z: Floats, periodic: bool) -> Floats:
    """Relative vectors between nearest images: every component in [-1, 1).

    Example:
        >>> wrapped(np.float32([[1.5, -1.25]]), periodic=True).tolist()
        [[-0.5, 0.75]]
    """
    if not periodic:
        return z
    z = np.where(z < -1, z + np.float32(2), z)
    return np.where(z >= 1, z - np.float32(2), z)


def triangulate(nodes: Floats, periodic: bool) -> Any:
    """The Delaunay triangulation of the nodes and their copies; copy k of node i is vertex k n + i."""
    copies = (nodes[None] + shifts(nodes.shape[1], periodic)[:, None]).reshape(-1, nodes.shape[1])
    try:
        return Delaunay(copies)
    except (QhullError, ValueError) as error:
        wanted = f"at least {nodes.shape[1] + 2} regional nodes that span {nodes.shape[1]} dimensions"
        hint = "more points, or a smaller subsample"
        raise ValueError(expected(wanted, f"{len(nodes)} that cannot be triangulated", hint)) from error


def support_radius(nodes: Floats, periodic: bool) -> Floats:
    r"""The radius of each node: distance to the farthest centroid of the simplices around it.

    .. math:: r_i = \max_{s \ni i} c_d \frac{1}{d} \sqrt{d \sum_{j} |x_i - x_j|^2 - \sum_{j<k} |x_j - x_k|^2}

    over the other vertices j, k of simplex s: the root over d is the median of a triangle or tetrahedron, and
    the centroid lies at c_d = d / (d + 1) of it. In two dimensions c is 0.67, as published.

    Shapes:
        - nodes: ``(n, d)``
        - returns: ``(n,)``

    Example:
        >>> corners = np.float32([[-1, -1], [1, -1], [-1, 1]])
        >>> [f"{radius:.3f}" for radius in support_radius(corners, periodic=False)]
        ['0.948', '1.498', '1.498']
    """
    dim = nodes.shape[1]
    mesh = triangulate(nodes, periodic)
    cells: Integers = mesh.simplices
    corners = mesh.points.astype(np.float32)[cells]
    sides = ((corners[:, :, None] - corners[:, None]) ** 2).sum(-1)
    touching = sides.sum(2)  # for each vertex, the squared sides that end in it
    opposite = sides.sum((1, 2))[:, None] / 2 - touching
    part = np.float32(0.67 if dim == 2 else dim / (dim + 1))
    reach = part * np.sqrt(np.maximum(dim * touching - opposite, 0) / np.float32(dim * dim))
    radius = np.zeros(len(nodes), np.float32)
    central = cells < len(nodes)
    np.maximum.at(radius, cells[central], reach[central])
    return radius


def within(points: Floats, nodes: Floats, radius: Floats, periodic: bool) -> Integers:
    """Pairs (point, node) that are no farther apart than the node's radius, in row-major order.

    Shapes:
        - points: ``(N, d)``; nodes: ``(n, d)``; radius: ``(n,)``
        - returns: ``(2, E)``

    Example:
        >>> within(np.float32([[-0.9], [0.0]]), np.float32([[0.9]]), np.float32([0.3]), True).tolist()
        [[0], [0]]
    """
    # The tree searches slightly enlarged radii in float64; the float32 comparison below decides.
    reach = radius.astype(np.float64) * (1 + 1e-4) + 1e-6
    places = [coordinates.astype(np.float64) for coordinates in (points, nodes)]
    if periodic:
        places = [(place + 1) % 2 for place in places]
    tree = cKDTree(places[0], boxsize=2.0 if periodic else None)
    found = tree.query_ball_point(places[1], reach)
    counts = np.fromiter(map(len, found), np.int64, len(nodes))
    near = np.fromiter(chain.from_iterable(found), np.int64, int(counts.sum()))
    who = np.repeat(np.arange(len(nodes)), counts)
    order = np.lexsort((who, near))
    pairs = np.stack([near[order], who[order]])
    distance = length(wrapped(points[pairs[0]] - nodes[pairs[1]], periodic))[:, 0]
    return pairs[:, distance <= radius[pairs[1]]]


def length(z: Floats) -> Floats:
    """Euclidean lengths of vectors, ``(E, d)`` to ``(E, 1)``."""
    return np.sqrt((z * z).sum(-1, keepdims=True, dtype=np.float32))
