"""Triangulations of a square with round holes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from neuralop_irno.domain.elements import LinearElements
from neuralop_irno.errors import expected

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Hole:
    """A disc cut out of a domain.

    Example:
        >>> mesh = square_with_holes(spacing=0.1, holes=[Hole(x=0.5, y=0.5, radius=0.2)], seed=0)
        >>> distances = np.linalg.norm(mesh.pos - [0.5, 0.5], axis=1)
        >>> bool(distances.min() > 0.19)
        True
    """

    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class TriangleMesh:
    """A triangulation of a plane domain.

    Attributes:
        pos: the nodes, ``(N, 2)``.
        triangles: their corners, ``(T, 3)``, counter-clockwise.
        boundary: which nodes lie on the boundary, ``(N,)``.
    """

    pos: Array
    triangles: Index
    boundary: NDArray[np.bool_]

    def __repr__(self) -> str:
        return f"TriangleMesh({len(self.pos)} nodes, {len(self.triangles)} triangles)"

    def areas(self) -> Array:
        """The signed areas of the triangles, ``(T,)``."""
        a, b, c = (self.pos[self.triangles[:, i]] for i in range(3))
        return 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])

    def measure(self) -> Array:
        """The lumped area of each node: a third of every triangle around it, ``(N,)``."""
        return LinearElements(self.pos, self.triangles.T).lumped_mass

    def edges(self) -> Index:
        """Every edge in both directions, ``(2, E)``, sorted."""
        return edges_of(self.triangles)


def edges_of(cells: Index) -> Index:
    """Every edge between two corners of a cell, in both directions, ``(2, E)``, sorted.

    Args:
        cells: the corners of each cell, ``(cells, corners)``: triangles or tetrahedra.

    Example:
        >>> edges_of(np.array([[0, 1, 2]])).tolist()
        [[0, 0, 1, 1, 2, 2], [1, 2, 0, 2, 0, 1]]
    """
    pairs = np.concatenate([cells[:, ends] for ends in permutations(range(cells.shape[1]), 2)])
    return np.unique(pairs, axis=0).T.astype(np.int64)


def square_with_holes(spacing: float, holes: Sequence[Hole] = (), seed: int = 0) -> TriangleMesh:
    """Triangulate the unit square minus some discs, with nodes about ``spacing`` apart.

    Inner nodes lie on a randomly perturbed hexagonal lattice, boundary nodes are evenly spaced.

    Args:
        spacing: distance between neighbours.
        holes: discs inside the square that touch neither each other nor its sides.
        seed: seed of the perturbation.

    Example:
        >>> mesh = square_with_holes(0.1, [Hole(0.5, 0.5, 0.2)])
        >>> bool(abs(mesh.measure().sum() - (1 - 0.04 * np.pi)) < 0.01)
        True
    """
    if not 0 < spacing <= 0.5:
        raise ValueError(expected("a spacing in (0, 0.5]", spacing, "spacing=0.05"))
    for hole in holes:
        room = min(hole.x, hole.y, 1 - hole.x, 1 - hole.y) - hole.radius
        if not (hole.radius > 0 and room > 0):
            raise ValueError(expected("holes inside the unit square", hole, "Hole(0.5, 0.5, 0.2)"))
    rng = np.random.default_rng(seed)
    rim = _rim(spacing, holes)
    inside = _lattice(spacing, rng)
    clear = np.minimum.reduce([inside[:, 0], inside[:, 1], 1 - inside[:, 0], 1 - inside[:, 1]])
    for hole in holes:
        clear = np.minimum(clear, np.hypot(inside[:, 0] - hole.x, inside[:, 1] - hole.y) - hole.radius)
    pos = np.concatenate([rim, inside[clear > 0.5 * spacing]])
    triangles = Delaunay(pos).simplices.astype(np.int64)
    centre = pos[triangles].mean(1)
    kept = np.ones(len(triangles), dtype=bool)
    for hole in holes:
        kept &= np.hypot(centre[:, 0] - hole.x, centre[:, 1] - hole.y) > hole.radius * 0.999
    mesh = TriangleMesh(pos, triangles[kept], np.arange(len(pos)) < len(rim))
    areas = mesh.areas()
    flipped = mesh.triangles.copy()
    flipped[areas < 0] = flipped[areas < 0][:, [0, 2, 1]]
    solid = np.abs(areas) > 1e-6 * spacing**2  # points on one line can span a triangle of no area
    return TriangleMesh(pos, flipped[solid], mesh.boundary)


def random_holes(count: int, seed: int) -> list[Hole]:
    """At most ``count`` random discs of radius 0.06 to 0.14 that touch neither each other nor the sides."""
    rng = np.random.default_rng(seed)
    holes: list[Hole] = []
    for _ in range(50 * count):
        radius = rng.uniform(0.06, 0.14)
        x, y = rng.uniform(radius + 0.08, 1 - radius - 0.08, size=2)
        if all(np.hypot(x - h.x, y - h.y) > radius + h.radius + 0.08 for h in holes):
            holes.append(Hole(float(x), float(y), float(radius)))
        if len(holes) == count:
            break
    return holes


def _rim(spacing: float, holes: Sequence[Hole]) -> Array:
    ticks = np.linspace(0, 1, max(2, round(1 / spacing)) + 1)[:-1]
    zero, one = np.zeros_like(ticks), np.ones_like(ticks)
    sides = [(ticks, zero), (one, ticks), (1 - ticks, one), (zero, 1 - ticks)]
    parts = [np.stack(side, 1) for side in sides]
    for hole in holes:
        count = max(8, round(2 * np.pi * hole.radius / spacing))
        angle = np.arange(count) * (2 * np.pi / count)
        parts.append(
            np.stack([hole.x + hole.radius * np.cos(angle), hole.y + hole.radius * np.sin(angle)], 1)
        )
    return np.concatenate(parts)


def _lattice(spacing: float, rng: np.random.Generator) -> Array:
    height = spacing * np.sqrt(3) / 2
    rows = []
    for row, y in enumerate(np.arange(height / 2, 1, height)):
        x = np.arange(spacing / 2 * (1 + row % 2), 1, spacing)
        rows.append(np.stack([x, np.full_like(x, y)], 1))
    points = np.concatenate(rows)
    return points + rng.uniform(-0.2, 0.2, points.shape) * spacing
