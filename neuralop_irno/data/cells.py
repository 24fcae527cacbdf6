"""The cells of a mesh by VTK's numbers: the one place that knows which entries of a graph hold cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuralop_irno.errors import expected

VTK_TYPES = {3: 5, 4: 10}
"""VTK's numbers of triangles and tetrahedra, by their corners."""

MESHIO_NAMES = {5: "triangle", 10: "tetra"}
"""meshio's names of VTK's types."""


@dataclass(frozen=True)
class Cells:
    """Cells of one or several types.

    Attributes:
        corners: the nodes of each cell in VTK's order, ``(cells, most)``; -1 after the last of a cell.
        types: VTK's number of each, ``(cells,)``.

    Example:
        >>> cells = cells_of({"face": np.asarray([[0, 1], [1, 2], [2, 3]])})
        >>> cells.connectivity.tolist(), cells.offsets.tolist(), cells.types.tolist()
        ([0, 1, 2, 1, 2, 3], [0, 3, 6], [5, 5])
    """

    corners: NDArray[np.int64]
    types: NDArray[np.uint8]

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
        ends = [0, *(np.flatnonzero(np.diff(self.types)) + 1).tolist(), len(self.types)]
        runs = [slice(*ends[place : place + 2]) for place in range(len(ends) - 1) if len(self.types)]
        return [
            (MESHIO_NAMES[int(self.types[run][0])], self.corners[run][:, self.corners[run.start] >= 0])
            for run in runs
        ]


def cells_of(graph: Any) -> Cells:
    """The cells of a graph.

    Args:
        graph: a graph of PyTorch Geometric, or a mapping, with ``face``, the corners of triangles or
            tetrahedra, ``(3, cells)`` or ``(4, cells)``.

    Raises:
        ValueError: it has no cells, or others.
    """
    face = graph.get("face", None)
    if face is None or len(face) not in VTK_TYPES:
        hint = "graph.pos = the nodes, graph.face = the corners of the cells, (3, cells) or (4, cells)"
        got = "no cells" if face is None else f"face of shape {tuple(face.shape)}"
        raise ValueError(expected("a graph of triangles or tetrahedra", got, hint))
    corners = np.asarray(face.cpu() if hasattr(face, "cpu") else face).T.astype(np.int64)
    return Cells(corners, np.full(len(corners), VTK_TYPES[len(face)], dtype=np.uint8))
