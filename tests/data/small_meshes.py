"""The smallest meshes of each kind of cells, of a unit square or a unit cube."""

from pathlib import Path
from typing import Any

import meshio
import numpy as np

CUBE = np.array(
    [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], float
)
TWO = np.array([[x, y, z] for x in (0, 0.5, 1) for y in (0, 1) for z in (0, 1)], float)
SIX = np.array([[0, 0, 0], [0.5, 0, 0], [1, 0, 0], [0, 1, 0], [0.5, 1, 0], [1, 1, 0]], float)
HEXES = [[0, 4, 6, 2, 1, 5, 7, 3], [4, 8, 10, 6, 5, 9, 11, 7]]

Blocks = list[tuple[str, Any]]

SHAPES: dict[str, tuple[Any, Blocks]] = {
    "triangle": (SIX, [("triangle", [[0, 1, 4], [0, 4, 3], [1, 2, 5], [1, 5, 4]])]),
    "quad": (SIX, [("quad", [[0, 1, 4, 3], [1, 2, 5, 4]])]),
    "polygon": (SIX, [("polygon", [[0, 1, 2, 5, 4]]), ("polygon", [[0, 4, 3]])]),
    "tetra": (CUBE, [("tetra", [[0, 1, 3, 4], [1, 2, 3, 6], [1, 4, 5, 6], [3, 4, 6, 7], [1, 3, 4, 6]])]),
    "hexahedron": (TWO, [("hexahedron", HEXES)]),
    "wedge": (CUBE, [("wedge", [[0, 1, 3, 4, 5, 7], [1, 2, 3, 5, 6, 7]])]),
    "pyramid": (CUBE, [("pyramid", [[4, 5, 6, 7, 0], [1, 2, 6, 5, 0], [2, 3, 7, 6, 0]])]),
    "flat mixed": (SIX, [("triangle", [[0, 1, 4], [0, 4, 3]]), ("quad", [[1, 2, 5, 4]])]),
    "body mixed": (
        TWO,
        [("hexahedron", HEXES[:1]), ("wedge", [[4, 8, 6, 5, 9, 7], [8, 10, 6, 9, 11, 7]])],
    ),
}
"""Points and cells by name; all have volume, or area, 1."""

FORMATS = {"vtu": SHAPES.keys(), "vtk": SHAPES.keys() - {"polygon"}, "xdmf": SHAPES.keys() - {"polygon"},
           "msh": SHAPES.keys() - {"polygon", "flat mixed", "body mixed"}}  # fmt: skip
"""Endings of files, and the shapes that meshio writes in them."""

CASES = [(kind, ending) for ending, kinds in FORMATS.items() for kind in sorted(kinds)]


def mesh_of(
    kind: str, nodes: dict[str, Any] | None = None, cells: dict[str, Any] | None = None, scale: float = 1.0
) -> meshio.Mesh:
    """A mesh with fields at its nodes and on its cells."""
    points, blocks = SHAPES[kind]
    blocks = [(name, np.array(corners)) for name, corners in blocks]
    ends = np.cumsum([len(corners) for _, corners in blocks])[:-1]
    on_cells = {name: np.split(np.asarray(values), ends) for name, values in (cells or {}).items()}
    return meshio.Mesh(points * scale, blocks, nodes, on_cells)


def cell_count(kind: str) -> int:
    return sum(len(corners) for _, corners in SHAPES[kind][1])


def write(path: Path, mesh: meshio.Mesh) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    mesh.write(path, file_format="gmsh22" if path.suffix == ".msh" else None)
    return path
