"""Faces, edges, neighbours and pieces of cells of any kinds: triangles to hexahedra, also mixed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuralop_irno.data.cells import MESHIO_NAMES, Cells
from neuralop_irno.errors import expected

Array = NDArray[np.float64]
Index = NDArray[np.int64]

FACES: dict[int, tuple[tuple[int, ...], ...]] = {
    10: ((0, 1, 2), (0, 1, 3), (1, 2, 3), (2, 0, 3)),
    12: ((0, 1, 2, 3), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)),
    13: ((0, 1, 2), (3, 4, 5), (0, 1, 4, 3), (1, 2, 5, 4), (2, 0, 3, 5)),
    14: ((0, 1, 2, 3), (0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)),
}
"""The faces of the cells of a body, by VTK's types and in its order of corners."""

MOST_AT_A_FACE = 16
"""The most cells that may share a face: on surfaces that branch it can be more than two."""


class Pieces(NamedTuple):
    """Cells cut into triangles or tetrahedra.

    Attributes:
        corners: of the pieces, ``(pieces, d + 1)``.
        owner: the cell of each piece, ascending, ``(pieces,)``.
    """

    corners: Index
    owner: Index


def dimension(cells: Cells) -> int:
    """3 for cells of a body, 2 for those of a plane or a surface."""
    return 3 if len(cells) and int(cells.types[0]) in FACES else 2


def pieces(cells: Cells, points: Array) -> Pieces:
    """Cut cells into triangles or tetrahedra that cover them.

    Bodies are cut by pulling: each cell is the cone from its corner of the smallest number over its other
    faces, and each face a fan from its smallest corner. Neighbours cut a common face in the same way.
    Polygons are fans from the first corner that sees all others. Pieces with a corner twice, of collapsed
    cells, are left out.

    Args:
        cells: of one dimension.
        points: their nodes, ``(points, d)``.

    Raises:
        ValueError: no corner of a polygon sees all others.

    Example:
        >>> square = Cells.of_blocks([("quad", np.array([[0, 1, 2, 3]]))])
        >>> pieces(square, np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])).corners.tolist()
        [[0, 1, 2], [0, 2, 3]]
    """
    width = dimension(cells) + 1
    parts, owners = [np.empty((0, width), dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for kind, numbers, corners in _alike(cells):
        cut = _pulled(kind, numbers, corners) if kind in FACES else _fans(numbers, corners, points)
        for owner, part in cut:
            parts.append(part)
            owners.append(owner)
    found, owner = np.concatenate(parts), np.concatenate(owners)
    ordered = np.sort(found, axis=1)
    whole = (ordered[:, 1:] != ordered[:, :-1]).all(1)
    order = np.argsort(owner[whole], kind="stable")
    return Pieces(found[whole][order], owner[whole][order])


def edges_between_nodes(cells: Cells) -> Index:
    """The edges of the cells themselves, without diagonals, in both directions, ``(2, E)``, sorted."""
    rings = [corners[:, face] for _, corners, face in _faces(cells)]
    pairs = [np.stack([ring, np.roll(ring, -1, axis=1)], -1).reshape(-1, 2) for ring in rings]
    return _both_ways(np.concatenate([np.empty((0, 2), dtype=np.int64), *pairs]))


def edges_between_cells(cells: Cells) -> Index:
    """The pairs of cells that share a face, or an edge on surfaces, ``(2, E)``, sorted.

    Example:
        >>> strip = Cells.of_blocks([("triangle", np.array([[0, 1, 2], [1, 3, 2], [3, 4, 2]]))])
        >>> edges_between_cells(strip).tolist()
        [[0, 1, 1, 2], [1, 0, 2, 1]]
    """
    _, owner, face, counts = _sides(cells)
    if (most := int(counts.max(initial=0))) > MOST_AT_A_FACE:
        wanted = f"a mesh with at most {MOST_AT_A_FACE} cells at a face"
        raise ValueError(expected(wanted, f"{most} cells at one", "exporting the mesh again"))
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for apart in range(1, most):
        shared = np.flatnonzero(face[apart:] == face[:-apart])
        pairs.append(np.stack([owner[shared], owner[shared + apart]], 1))
    return _both_ways(np.concatenate(pairs))


def boundary_sides(cells: Cells) -> tuple[Index, Index]:
    """The faces of one cell only: their corners, ``(sides, most)``, filled with -1, and their cells."""
    corners, owner, face, counts = _sides(cells)
    alone = counts[face] == 1
    return corners[alone], owner[alone]


def cells_at(cells: Cells, sides: Index) -> Index:
    """The cells that have one of some faces.

    Args:
        cells: the cells.
        sides: the corners of the faces in any order, ``(sides, corners)``, filled with -1.
    """
    corners, owner, _, _ = _sides(cells)
    width = max(corners.shape[1], sides.shape[1])
    known, asked = (
        np.sort(np.pad(part, ((0, 0), (0, width - part.shape[1])), constant_values=-1), axis=1)
        for part in (corners, sides)
    )
    _, number = np.unique(np.concatenate([known, asked]), axis=0, return_inverse=True)
    number = number.reshape(-1)
    return np.unique(owner[np.isin(number[: len(known)], number[len(known) :])])


def volumes(points: Array, corners: Index) -> Array:
    """The volume, or area, of triangles or tetrahedra, ``(pieces,)``."""
    edges = points[corners[:, 1:]] - points[corners[:, :1]]
    gram = edges @ edges.transpose(0, 2, 1)
    return np.sqrt(np.clip(np.linalg.det(gram), 0, None)) / math.factorial(corners.shape[1] - 1)


def centres(cells: Cells, points: Array) -> tuple[Array, Array]:
    """The centre of mass of each cell, ``(cells, d)``, and its volume or area, ``(cells,)``."""
    cut = pieces(cells, points)
    volume = volumes(points, cut.corners)
    total = np.bincount(cut.owner, volume, len(cells))
    flat = int((total <= 0).sum())
    if flat:
        raise ValueError(expected("cells that have a volume", f"{flat} that are flat", "leaving those out"))
    middle = points[cut.corners].mean(1) * volume[:, None]
    summed = [np.bincount(cut.owner, column, len(cells)) for column in middle.T]
    return np.stack(summed, 1) / total[:, None], np.asarray(total, dtype=np.float64)


def _alike(cells: Cells) -> Iterator[tuple[int, Index, Index]]:
    """Type, numbers and corners of the cells of each type and number of corners."""
    counts = (cells.corners >= 0).sum(1)
    for kind, count in dict.fromkeys(zip(cells.types.tolist(), counts.tolist(), strict=True)):
        numbers = np.flatnonzero((cells.types == kind) & (counts == count))
        yield kind, numbers, cells.corners[numbers, :count]


def _faces(cells: Cells) -> Iterator[tuple[Index, Index, list[int]]]:
    """Numbers and corners of cells of one type, and the places of the corners of one face.

    The face of a triangle or polygon is the cell itself.
    """
    for kind, numbers, corners in _alike(cells):
        for face in FACES.get(kind, (tuple(range(corners.shape[1])),)):
            yield numbers, corners, list(face)


def _sides(cells: Cells) -> tuple[Index, Index, Index, Index]:
    """All faces of cells (edges on surfaces), sorted so that equal ones follow each other.

    Returns:
        Corners, filled with -1, the cell, and the number of each; how many there are of each number.
    """
    body = dimension(cells) == 3
    width = 4 if body else 2
    rows, owners = [np.empty((0, width), dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for numbers, corners, face in _faces(cells):
        ring = corners[:, face]
        sides = [ring] if body else [ring[:, [i, (i + 1) % len(face)]] for i in range(len(face))]
        for side in sides:
            rows.append(np.pad(side, ((0, 0), (0, width - side.shape[1])), constant_values=-1))
            owners.append(numbers)
    corners, owner = np.concatenate(rows), np.concatenate(owners)
    keys = np.sort(corners, axis=1)
    order = np.lexsort((owner, *keys.T[::-1]))
    keys = keys[order]
    new = np.ones(len(keys), dtype=bool)
    new[1:] = (keys[1:] != keys[:-1]).any(1)
    number = new.cumsum() - 1
    return corners[order], owner[order], number, np.bincount(number)


def _both_ways(pairs: Index) -> Index:
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0).T.astype(np.int64)


def _pulled(kind: int, numbers: Index, corners: Index) -> Iterator[tuple[Index, Index]]:
    """Cells of a body as cones from their smallest corner; see `pieces`."""
    if corners.shape[1] == 4:
        yield numbers, corners
        return
    apex = corners.argmin(1)
    for place in range(corners.shape[1]):
        chosen = apex == place
        if not chosen.any():
            continue
        own, top = corners[chosen], corners[chosen, place][:, None]
        for face in FACES[kind]:
            if place in face:
                continue
            ring = own[:, list(face)]
            start = ring.argmin(1)[:, None]
            turned = np.take_along_axis(ring, (start + np.arange(len(face))) % len(face), axis=1)
            for last in range(2, len(face)):
                yield numbers[chosen], np.concatenate([turned[:, [0, last - 1, last]], top], 1)


def _fans(numbers: Index, corners: Index, points: Array) -> Iterator[tuple[Index, Index]]:
    """Polygons as fans of triangles from the first corner that sees all others."""
    count = corners.shape[1]
    if count == 3:
        yield numbers, corners
        return
    space = np.pad(points, ((0, 0), (0, 3 - points.shape[1])))[corners]
    size = np.linalg.norm(space - space[:, :1], axis=-1).max(1, initial=0.0) ** 2
    whole = np.cross(space - space[:, :1], np.roll(space, -1, axis=1) - space[:, :1]).sum(1)
    normal = whole / np.maximum(np.linalg.norm(whole, axis=1, keepdims=True), np.finfo(float).tiny)
    worst = []  # of each start: the smallest area of a triangle, seen along the normal
    for start in range(count):
        arms = np.roll(space, -start, axis=1)[:, 1:] - space[:, start : start + 1]
        worst.append(np.einsum("fkd,fd->fk", np.cross(arms[:, :-1], arms[:, 1:]), normal).min(1))
    areas = np.stack(worst, 1)
    sees = areas > 1e-12 * size[:, None]
    start = np.where(sees.any(1), sees.argmax(1), areas.argmax(1))
    folded = int((areas.max(1) < -1e-9 * size).sum())
    if folded:
        wanted = f"{MESHIO_NAMES[9] if count == 4 else 'polygon'} cells that a corner sees whole"
        raise ValueError(expected(wanted, f"{folded} others", "cutting them into triangles"))
    turned = np.take_along_axis(corners, (start[:, None] + np.arange(count)) % count, axis=1)
    for last in range(2, count):
        yield numbers, turned[:, [0, last - 1, last]]
