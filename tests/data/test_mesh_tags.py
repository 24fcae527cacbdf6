"""Sets, physical groups and numbers of a mesh as channels of 0 and 1."""

from pathlib import Path

import meshio
import numpy as np
import pytest
from small_meshes import SIX, TWO, mesh_of, write

from neuralop_irno import read_mesh
from neuralop_irno.data.readers.mesh_graphs import Mesh

CELLS = [("quad", np.array([[0, 1, 4, 3], [1, 2, 5, 4]])), ("line", np.array([[0, 3], [2, 5], [0, 1]]))]


def gmsh(path: Path) -> Mesh:
    groups = {"inlet": np.array([3, 1]), "outlet": np.array([4, 1]), "hot": np.array([1, 2])}
    numbers = [np.array([1, 2]), np.array([3, 4, 5])]
    data = {"gmsh:physical": numbers, "gmsh:geometrical": numbers}
    mesh = meshio.Mesh(SIX, CELLS, {"T": SIX[:, 0]}, data, groups)
    return read_mesh(write(path / "m.msh", mesh))


def abaqus(path: Path) -> Mesh:
    mesh = meshio.Mesh(SIX, CELLS[:1], point_sets={"inlet": np.array([0, 3]), "outlet": np.array([2, 5])})
    mesh.cell_sets = {"hot": [np.array([0])]}
    return read_mesh(write(path / "m.inp", mesh))


def numbered(path: Path) -> Mesh:
    mesh = meshio.Mesh(SIX, CELLS, {"T": SIX[:, 0]}, {"boundary": [np.array([1, 0]), np.array([3, 4, 5])]})
    return read_mesh(write(path / "m.vtu", mesh))


TAGS = {
    gmsh: ["inlet", "outlet", "hot"], abaqus: ["inlet", "outlet", "hot"],
    numbered: ["boundary=3", "boundary=4", "boundary=1"],
}  # fmt: skip


@pytest.mark.parametrize("make", TAGS)
def test_tags_of_every_kind_mark_the_same_nodes_and_cells(make, tmp_path: Path) -> None:
    mesh = make(tmp_path)
    nodes = mesh.flags(TAGS[make], False, "nodes")
    assert nodes.T.tolist() == [[1, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 1], [1, 1, 0, 1, 1, 0]]
    cells = mesh.flags(TAGS[make], False, "cells").T.tolist()
    sides = [[1, 0], [0, 1]] if make is not abaqus else [[0, 0], [0, 0]]  # sets of nodes mark no cells
    assert cells == [*sides, [1, 0]]
    with pytest.raises(ValueError, match=r"^expected a set or group of this mesh, got 'inlett'; try"):
        mesh.flags(["inlett"], False, "nodes")


@pytest.mark.parametrize(("kind", "points"), [("quad", SIX), ("hexahedron", TWO), ("triangle", SIX)])
def test_the_boundary_follows_from_the_cells(kind: str, points, tmp_path: Path) -> None:
    mesh = read_mesh(write(tmp_path / "m.vtu", mesh_of(kind, {"T": points[:, 0]})))
    assert mesh.flags([], True, "nodes").all()
    assert mesh.flags([], True, "cells").all()


def test_inside_is_not_on_the_boundary(tmp_path: Path) -> None:
    ticks = np.arange(4)
    points = np.stack([*np.meshgrid(ticks, ticks, indexing="ij"), np.zeros((4, 4))], -1).reshape(-1, 3)
    quads = np.array(
        [[4 * i + j, 4 * i + j + 4, 4 * i + j + 5, 4 * i + j + 1] for i in range(3) for j in range(3)]
    )
    mesh = read_mesh(write(tmp_path / "m.vtu", meshio.Mesh(points, [("quad", quads)], {"T": points[:, 0]})))
    inner = np.flatnonzero(mesh.flags([], True, "nodes")[:, 0] == 0)
    assert inner.tolist() == [5, 6, 9, 10]
    assert np.flatnonzero(mesh.flags([], True, "cells")[:, 0] == 0).tolist() == [4]
