"""Meshes in real files of several formats, and fields written for ParaView."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import meshio
import numpy as np
import pytest
import torch
from torch_geometric.data import Batch

from neuralop_irno.data.mesh import Hole, TriangleMesh, square_with_holes
from neuralop_irno.data.readers.mesh_files import read_mesh, write_fields
from neuralop_irno.domain.graph import GraphDomain

CUBE = np.array(
    [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], float
)
TETRAHEDRA = np.array([[0, 1, 3, 4], [1, 2, 3, 6], [1, 4, 5, 6], [3, 4, 6, 7], [1, 3, 4, 6]])
SURFACE = np.array([[0, 1, 2], [0, 2, 3]])


def holed() -> TriangleMesh:
    return square_with_holes(0.15, [Hole(0.5, 0.5, 0.2)])


def saved(path: Path, pos: Any, cells: list[tuple[str, Any]], **fields: Any) -> Path:
    in_space = np.pad(pos, ((0, 0), (0, 3 - pos.shape[1])))
    meshio.Mesh(in_space, cells, fields).write(path, file_format="gmsh22" if path.suffix == ".msh" else None)
    return path


@pytest.mark.parametrize("ending", ["vtk", "vtu", "msh", "mesh", "xdmf", "inp", "med", "ply", "off", "obj"])
def test_a_mesh_with_a_hole_comes_back_from_every_format(ending: str, tmp_path: Path) -> None:
    known = holed()
    path = saved(tmp_path / f"holed.{ending}", known.pos, [("triangle", known.triangles)])
    mesh = read_mesh(path)
    np.testing.assert_allclose(mesh.pos, known.pos, atol=1e-6)
    assert np.array_equal(mesh.cells, known.triangles)
    assert np.array_equal(mesh.numbers, np.arange(len(known.pos)))


@pytest.mark.parametrize("ending", ["vtk", "vtu", "msh", "xdmf"])
def test_fields_come_along_and_become_a_graph(ending: str, tmp_path: Path) -> None:
    known = holed()
    heat, wind = known.pos[:, 0] ** 2, np.pad(known.pos, ((0, 0), (0, 1)))
    path = saved(tmp_path / f"f.{ending}", known.pos, [("triangle", known.triangles)], heat=heat, wind=wind)
    mesh = read_mesh(path)
    graph = mesh.graph(x=["wind", "heat"], y=["heat"])
    np.testing.assert_allclose(graph.x, np.concatenate([wind, heat[:, None]], 1), rtol=1e-6)
    np.testing.assert_allclose(graph.y[:, 0], heat, rtol=1e-6)
    np.testing.assert_allclose(graph.measure, known.measure(), rtol=1e-5)
    assert np.array_equal(graph.edge_index, known.edges())
    assert "y" not in mesh.graph(x=["heat"])
    both = Batch.from_data_list([graph, graph])
    domain = GraphDomain.of(both.y, both.to_dict())
    torch.testing.assert_close(domain.mean(both.y), domain.mean(both.y)[:1].expand(2))


def test_quadrilaterals_are_cut_and_cover_the_same_area(tmp_path: Path) -> None:
    pos = np.array([[0, 0], [2, 0], [2, 1], [0, 1], [3, 0.5]], float)
    path = saved(
        tmp_path / "q.vtk", pos, [("quad", np.array([[0, 1, 2, 3]])), ("triangle", np.array([[1, 4, 2]]))]
    )
    mesh = read_mesh(path)
    assert mesh.cells.shape == (3, 3)
    plane = TriangleMesh(mesh.pos.numpy(), mesh.cells.numpy(), np.ones(5, dtype=bool))
    assert plane.areas().sum() == pytest.approx(2.5)
    assert (plane.areas() > 0).all()


def test_in_a_body_tetrahedra_are_the_cells(tmp_path: Path) -> None:
    cells = [("line", np.array([[0, 1]])), ("triangle", SURFACE), ("tetra", TETRAHEDRA)]
    mesh = read_mesh(saved(tmp_path / "cube.msh", CUBE, cells, height=CUBE[:, 2]))
    assert mesh.cells.shape == (5, 4)
    graph = mesh.graph(x=["height"])
    assert graph.measure.sum().item() == pytest.approx(1)
    assert (graph.measure @ graph.x).item() == pytest.approx(0.5)
    assert graph.edge_index.shape == (2, 2 * 18)  # 12 edges of the cube, one diagonal on each of its 6 faces


def test_a_surface_in_space_keeps_its_three_coordinates(tmp_path: Path) -> None:
    mesh = read_mesh(saved(tmp_path / "s.ply", CUBE + 1, [("triangle", SURFACE)]))
    assert mesh.pos.shape == (4, 3)
    assert mesh.numbers.tolist() == [0, 1, 2, 3]


def test_nodes_that_no_cell_uses_are_left_out_with_their_values(tmp_path: Path) -> None:
    pos = np.array([[9, 9], [0, 0], [1, 0], [7, 7], [0, 1]], float)
    path = saved(tmp_path / "o.vtu", pos, [("triangle", np.array([[1, 2, 4]]))], u=np.arange(5.0))
    mesh = read_mesh(path)
    assert mesh.numbers.tolist() == [1, 2, 4]
    assert mesh.fields["u"][:, 0].tolist() == [1, 2, 4]
    assert mesh.cells.tolist() == [[0, 1, 2]]
    assert mesh.pos.tolist() == [[0, 0], [1, 0], [0, 1]]


@pytest.mark.parametrize("ending", ["vtu", "vtk", "xdmf"])
def test_written_fields_are_read_again_on_the_same_mesh(ending: str, tmp_path: Path) -> None:
    known = holed()
    source = saved(tmp_path / "in.vtu", known.pos, [("triangle", known.triangles)], heat=known.pos[:, 0])
    graph = read_mesh(source).graph(x=["heat"])
    answer = torch.randn(len(graph.pos), 1, requires_grad=True)
    flow = torch.randn(len(graph.pos), 2)
    path = write_fields(tmp_path / "new" / f"out.{ending}", graph, {"answer": answer, "flow": flow})
    again = read_mesh(path)
    assert np.array_equal(again.cells.T, graph.face)
    np.testing.assert_allclose(again.pos, graph.pos, atol=1e-6)
    np.testing.assert_allclose(again.fields["answer"], answer.detach(), rtol=1e-6)
    np.testing.assert_allclose(again.fields["flow"], np.pad(flow, ((0, 0), (0, 1))), rtol=1e-6)


def test_fields_on_tetrahedra_are_written_too(tmp_path: Path) -> None:
    graph = read_mesh(saved(tmp_path / "c.vtk", CUBE, [("tetra", TETRAHEDRA)], u=CUBE[:, 0])).graph(x=["u"])
    again = read_mesh(write_fields(tmp_path / "out.vtu", graph, {"u": graph.x[:, 0]}))
    assert np.array_equal(again.cells, TETRAHEDRA)
    assert again.fields["u"].flatten().tolist() == CUBE[:, 0].tolist()


@pytest.mark.parametrize("dtype", [torch.bool, torch.float16, torch.bfloat16, torch.int64, torch.float64])
def test_fields_of_every_kind_are_written(dtype: torch.dtype, tmp_path: Path) -> None:
    graph = read_mesh(saved(tmp_path / "c.vtk", CUBE, [("tetra", TETRAHEDRA)], u=CUBE[:, 0])).graph(x=["u"])
    again = read_mesh(write_fields(tmp_path / "out.vtu", graph, {"u": graph.x.to(dtype)}))
    assert torch.equal(again.fields["u"], graph.x.double())
    with pytest.raises(ValueError, match=r"^expected u as real numbers, got torch.complex64"):
        write_fields(tmp_path / "out.vtu", graph, {"u": graph.x + 1j})


def test_files_that_are_no_meshes_teach(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"^expected a mesh file, got no file at .*; try the path of a mesh file"
    ):
        read_mesh(tmp_path / "none.vtu")
    whole = saved(tmp_path / "w.vtu", CUBE, [("tetra", TETRAHEDRA)]).read_bytes()
    half = whole[: len(whole) // 2]
    for name, content in {
        "a.xyz": b"1 2 3", "empty.vtu": b"", "words.vtk": b"these are words", "cut.vtu": half,
        "words.msh": b"$Mesh", "bytes.ply": bytes(range(256)), "endless.ply": b"ply\nformat ascii 1.0\n",
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"^expected a mesh that meshio reads in {name}, got .+;"):
            read_mesh(tmp_path / name)


@pytest.mark.parametrize(
    ("kind", "corners", "message"),
    [
        ("VTK_LAGRANGE_CURVE", [[0, 1, 2]], r"cells of the kinds .* in m.vtk, got \['VTK_LAGRANGE_CURVE'\]"),
        ("line", [[0, 1]], r"cells of the kinds triangle, quad, .* in m.vtk, got \[\]"),
        ("triangle", [[0, 1, 99]], r"cells between nodes with finite coordinates in m.vtk, got 1 cells, 8 n"),
    ],
)  # fmt: skip
def test_cells_that_are_of_no_use_teach(kind: str, corners: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^expected {message}"):
        read_mesh(saved(tmp_path / "m.vtk", CUBE, [(kind, np.array(corners))]))


def test_fields_that_do_not_fit_teach(tmp_path: Path) -> None:
    mesh = read_mesh(saved(tmp_path / "c.vtk", CUBE, [("tetra", TETRAHEDRA)], heat=CUBE[:, 0]))
    graph = mesh.graph(x=["heat"])

    def write(name: str, **fields: torch.Tensor) -> None:
        write_fields(tmp_path / name, graph, fields)

    mistakes = {
        r"a field of this mesh, got 'haet'; try 'heat'": lambda: mesh.graph(x=["haet"]),
        r"at least one field, got \[\]; try one of \['heat'\]": lambda: mesh.graph(x=[]),
        r"u of shape \(8, C\), got \(7,\); try": lambda: write("o.vtu", u=torch.ones(7)),
        r"a path with a suffix of meshio, got o.xyz; try fields.vtu": lambda: write("o.xyz"),
    }
    for message, mistake in mistakes.items():
        with pytest.raises(ValueError, match=f"^expected {message}"):
            mistake()
    with pytest.raises(ValueError, match=r"got \[\]; try a file with fields at its nodes"):
        replace(mesh, fields={}).graph(x=[])
    del graph.face
    with pytest.raises(ValueError, match=r"^expected a graph of triangles or tetrahedra, got no cells; try"):
        write_fields(tmp_path / "o.vtu", graph, {})


def test_without_meshio_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "c.vtk", CUBE, [("tetra", TETRAHEDRA)])
    monkeypatch.setitem(sys.modules, "meshio", None)
    for use in (lambda: read_mesh(path), lambda: write_fields(path, None, {})):
        with pytest.raises(
            ImportError, match=r"^expected meshio for .*; try pip install 'neuralop_irno\[meshes\]'"
        ):
            use()
