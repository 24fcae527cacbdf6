"""The cells of a mesh by VTK's numbers: the one place that knows which entries of a graph hold cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuralop_irno.errors import expected

VTK_TYPES = {3: 5, 4: 10}
"""VTK's numbers of triangles and tetrahedra, by their corners."""

MESHIO_NAMES = {
    1: "vertex",
    5: "triangle", 7: "polygon", 9: "quad", 10: "tetra", 12: "hexahedron", 13: "wedge", 14: "pyramid",
}  # fmt: skip
"""meshio's names of VTK's types."""

POLYHEDRON, CUT = 42, "cutting cells into tetrahedra, as ParaView's filter Tetrahedralize does"
"""VTK's type of cells that are not read, and what can be done about them."""

WEDGE, OTHER_WAY = 13, [0, 2, 1, 3, 5, 4]
"""The cell whose corners meshio lists in another order than VTK, and that order."""


@dataclass(frozen=True, repr=False, eq=False)
class Cells:
    """Cells of one or several types.

    Attributes:
        corners: the nodes of each cell in VTK's order, ``(cells, most)``; -1 after the last of a cell.
        types: VTK's number of each, ``(cells,)``.
        points: the nodes of the cells, ``(points, d)``, if the nodes of a graph are the cells; else None.

    Example:
        >>> cells = cells_of({"face": np.asarray([[0, 1], [1, 2], [2, 3]])})
        >>> cells.connectivity.tolist(), cells.offsets.tolist(), cells.types.tolist()
        ([0, 1, 2, 1, 2, 3], [0, 3, 6], [5, 5])
    """

    corners: NDArray[np.int64]
    types: NDArray[np.uint8]
    points: NDArray[np.float64] | None = None

    @classmethod
    def of_blocks(cls, blocks: Sequence[tuple[str, NDArray[np.int64]]]) -> Cells:
        """Cells from runs of one type, as meshio has them.

        Example:
            >>> Cells.of_blocks([("triangle", np.array([[0, 1, 2]])), ("quad", np.array([[0, 2, 3, 4]]))])
            Cells(1 triangle, 1 quad)
        """
        most = max((block.shape[1] for _, block in blocks), default=1)
        numbers = {name: number for number, name in MESHIO_NAMES.items()}
        vtk = [block[:, OTHER_WAY] if numbers[name] == WEDGE else block for name, block in blocks]
        rows = [np.pad(each, ((0, 0), (0, most - each.shape[1])), constant_values=-1) for each in vtk]
        types = [np.full(len(block), numbers[name], dtype=np.uint8) for name, block in blocks]
        return cls(
            np.concatenate([np.empty((0, most), dtype=np.int64), *rows]).astype(np.int64),
            np.concatenate([np.empty(0, dtype=np.uint8), *types]),
        )

    def __len__(self) -> int:
        return len(self.types)

    def __repr__(self) -> str:
        counts = Counter(MESHIO_NAMES[int(number)] for number in self.types)
        listed = ", ".join(f"{count} {name}" for name, count in counts.items())
        return f"Cells({listed or 'none'}{'' if self.points is None else ', with fields'})"

    @property
    def connectivity(self) -> NDArray[np.int64]:
        """The corners of all cells, one after the other."""
        return self.corners[self.corners >= 0]

    @property
    def offsets(self) -> NDArray[np.int64]:
        """The place of each cell's first corner in `connectivity`, and the end, ``(cells + 1,)``."""
        return np.concatenate([[0], (self.corners >= 0).sum(1).cumsum()]).astype(np.int64)

    def blocks(self) -> list[tuple[str, NDArray[np.int64]]]:
        """The cells as meshio takes them: runs of one type, in order."""
        counts = (self.corners >= 0).sum(1)
        changes = np.diff(self.types.astype(np.int64)) | np.diff(counts)
        ends = [0, *(np.flatnonzero(changes) + 1).tolist(), len(self.types)]
        runs = [slice(*ends[place : place + 2]) for place in range(len(ends) - 1) if len(self.types)]
        found = [
            (int(self.types[run][0]), self.corners[run][:, self.corners[run.start] >= 0]) for run in runs
        ]
        return [
            (MESHIO_NAMES[kind], corners[:, OTHER_WAY] if kind == WEDGE else corners)
            for kind, corners in found
        ]


def cells_of(graph: Any) -> Cells:
    """The cells of a graph.

    Args:
        graph: a graph of PyTorch Geometric, or a mapping, with ``cells``, those of a file; or with ``face``,
            the corners of triangles or tetrahedra, ``(3, cells)`` or ``(4, cells)``. A batch has a list of
            ``cells``, one of each sample.

    Raises:
        ValueError: it has no cells, or others.
    """
    known = graph.get("cells", None)
    if isinstance(known, Cells):
        return known
    if isinstance(known, Sequence):
        ends = np.asarray(graph.get("ptr", [0] * len(known)))
        return joined(known, ends[: len(known)].tolist())
    face = graph.get("face", None)
    if face is None or len(face) not in VTK_TYPES:
        hint = "graph.pos = the nodes, graph.face = the corners of the cells, (3, cells) or (4, cells)"
        got = "no cells" if face is None else f"face of shape {tuple(face.shape)}"
        raise ValueError(expected("a graph of triangles or tetrahedra", got, hint))
    corners = np.asarray(face.cpu() if hasattr(face, "cpu") else face).T.astype(np.int64)
    return Cells(corners, np.full(len(corners), VTK_TYPES[len(face)], dtype=np.uint8))


def joined(parts: Sequence[Cells], first: Sequence[int]) -> Cells:
    """The cells of several meshes as those of one.

    Args:
        parts: of each mesh.
        first: the number of the first node of each in the whole; not used if the nodes are the cells.

    Example:
        >>> triangle = Cells.of_blocks([("triangle", np.array([[0, 1, 2]]))])
        >>> joined([triangle, Cells.of_blocks([("quad", np.array([[0, 1, 2, 3]]))])], [0, 3]).corners.tolist()
        [[0, 1, 2, -1], [3, 4, 5, 6]]
    """
    points = [part.points for part in parts]
    whole = None
    held = [each for each in points if each is not None]
    if len(held) == len(parts):
        whole = np.concatenate(held)
        first = np.cumsum([0, *map(len, held)])[:-1].tolist()
    most = max(part.corners.shape[1] for part in parts)
    rows = [
        np.pad(
            np.where(part.corners < 0, -1, part.corners + start),
            ((0, 0), (0, most - part.corners.shape[1])),
            constant_values=-1,
        )
        for part, start in zip(parts, first, strict=True)
    ]
    return Cells(np.concatenate(rows), np.concatenate([part.types for part in parts]), whole)
