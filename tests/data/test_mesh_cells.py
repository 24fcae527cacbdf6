"""Cells of every kind in every format, with fields at nodes and on cells."""

from pathlib import Path
from typing import Any

import meshio
import numpy as np
import pytest
import torch
from small_meshes import CASES, CUBE, SHAPES, SIX, TWO, cell_count, mesh_of, write

from neuralop_irno import read_mesh, write_fields
from neuralop_irno.data.cell_shapes import boundary_sides, dimension, pieces, volumes
from neuralop_irno.data.cells import Cells


@pytest.mark.parametrize(("kind", "ending"), CASES)
@pytest.mark.parametrize("on", ["nodes", "cells"])
def test_fields_are_read_and_answers_are_written_on_the_cells_of_the_file(
    kind: str, ending: str, on: str, tmp_path: Path
) -> None:
    rows = len(SHAPES[kind][0]) if on == "nodes" else cell_count(kind)
    known = {"u": np.arange(1.0, rows + 1), "v": np.arange(3.0 * rows).reshape(rows, 3)}
    path = write(tmp_path / f"in.{ending}", mesh_of(kind, **{on: known}))
    graph = read_mesh(path).graph(["u"], ["v"])
    assert graph.x[:, 0].tolist() == known["u"].tolist()
    assert graph.y.tolist() == known["v"].tolist()
    assert graph.measure.sum().item() == pytest.approx(1)
    assert (graph.measure @ graph.pos).tolist() == pytest.approx([0.5] * graph.pos.shape[1], abs=0.2)
    assert graph.is_undirected()
    target = write_fields(tmp_path / f"out.{ending}", graph, {"twice": 2 * graph.x})
    reader = "gmsh" if ending == "msh" else None
    again = meshio.read(target, file_format=reader)
    found = again.point_data["twice"] if on == "nodes" else np.concatenate(again.cell_data["twice"])
    assert found.tolist() == (2 * known["u"]).tolist()
    original = meshio.read(path, file_format=reader)
    assert [block.type for block in again.cells] == [block.type for block in original.cells]
    for block, own in zip(again.cells, original.cells, strict=True):
        assert np.array_equal(block.data, own.data)


@pytest.mark.parametrize("kind", SHAPES)
def test_linear_fields_are_integrated_exactly_over_cells(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / "m.vtu", mesh_of(kind, cells={"u": np.ones(cell_count(kind))}))
    graph = read_mesh(path).graph(["u"])
    torch.testing.assert_close(graph.measure @ graph.pos, torch.full((graph.pos.shape[1],), 0.5))
    both = read_mesh(path).graph(["position"], on="cells")
    assert torch.equal(both.x, both.pos)


def random_box(seed: int) -> tuple[Any, Cells]:
    """Eight boxes of random sides, in part wedges and pyramids, with nodes numbered at random."""
    draw = np.random.default_rng(seed)
    ticks = [np.concatenate([[0], np.sort(draw.random(1)), [1]]) for _ in range(3)]
    points = np.stack(np.meshgrid(*ticks, indexing="ij"), -1).reshape(-1, 3)
    names = draw.permutation(27 + 8)
    blocks = []
    for number, (i, j, k) in enumerate(np.ndindex(2, 2, 2)):
        at = lambda a, b, c, i=i, j=j, k=k: (i + a) * 9 + (j + b) * 3 + k + c  # noqa: E731
        box = [at(0, 0, 0), at(1, 0, 0), at(1, 1, 0), at(0, 1, 0), at(0, 0, 1), at(1, 0, 1), at(1, 1, 1),
               at(0, 1, 1)]  # fmt: skip
        if number % 2:
            blocks.append(("hexahedron", [box]))
            continue
        faces = ((0, 1, 2, 3), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7))
        blocks.append(("pyramid", [[*(box[place] for place in face), 27 + number] for face in faces]))
        points = np.concatenate([points, points[box].mean(0, keepdims=True)])
    middle = {27 + number: 27 + place for place, number in enumerate(range(0, 8, 2))}
    renamed = [(kind, np.vectorize(lambda n: middle.get(n, n))(np.array(part))) for kind, part in blocks]
    shuffled = np.empty((len(points), 3))
    names = draw.permutation(len(points))
    shuffled[names] = points
    return shuffled, Cells.of_blocks([(kind, names[part]) for kind, part in renamed])


@pytest.mark.parametrize("seed", range(3))
def test_neighbours_cut_a_common_face_in_the_same_way(seed: int) -> None:
    points, cells = random_box(seed)
    cut = pieces(cells, points)
    assert dimension(cells) == 3
    assert volumes(points, cut.corners).sum() == pytest.approx(1)
    assert (np.diff(cut.owner) >= 0).all()
    sides, _ = boundary_sides(Cells.of_blocks([("tetra", cut.corners)]))
    assert volumes(points, sides[:, :3]).sum() == pytest.approx(6)  # no faces inside are left over
    own, _ = boundary_sides(cells)
    assert len(own) == 24


def test_edges_are_those_of_the_cells_without_diagonals(tmp_path: Path) -> None:
    for kind, points, edges in (("quad", SIX, 7), ("hexahedron", TWO, 20), ("wedge", CUBE, 14)):
        path = write(tmp_path / f"{kind}.vtu", mesh_of(kind, {"u": points[:, 0]}))
        graph = read_mesh(path).graph(["u"])
        assert graph.edge_index.shape == (2, 2 * edges)
    cells = read_mesh(write(tmp_path / "c.vtu", mesh_of("hexahedron", cells={"u": [1.0, 2.0]}))).graph(["u"])
    assert cells.edge_index.tolist() == [[0, 1], [1, 0]]


def test_polygons_that_are_not_convex_keep_their_area(tmp_path: Path) -> None:
    dart = np.array([[0, 0, 0], [1, 0.5, 0], [2, 0, 0], [1, 2, 0]], float)
    star = np.array([[0, 0, 0], [2, 0, 0], [2, 1, 0], [1, 0.5, 0], [0, 1, 0]], float)
    for name, points, area in (("quad", dart, 1.5), ("polygon", star, 1.5)):
        mesh = meshio.Mesh(points, [(name, np.arange(len(points))[None])], {"u": points[:, 0]})
        graph = read_mesh(write(tmp_path / f"{name}.vtu", mesh)).graph(["u"])
        assert graph.measure.sum().item() == pytest.approx(area)
    comb = np.array(
        [[0, 0, 0], [4, 0, 0], [4, 2, 0], [3, 2, 0], [3, 0.1, 0], [1, 0.1, 0], [1, 2, 0], [0, 2, 0]]
    )
    mesh = meshio.Mesh(comb, [("polygon", np.arange(8)[None])], {"u": comb[:, 0]})
    with pytest.raises(ValueError, match=r"^expected polygon cells that a corner sees whole, got 1 others"):
        read_mesh(write(tmp_path / "comb.vtu", mesh)).graph(["u"])


def test_collapsed_cells_keep_their_volume(tmp_path: Path) -> None:
    wedge = [0, 1, 2, 2, 4, 5, 6, 6]  # a hexahedron with an edge that is a point
    mesh = meshio.Mesh(CUBE, [("hexahedron", np.array([wedge]))], {"u": CUBE[:, 0]})
    graph = read_mesh(write(tmp_path / "c.vtu", mesh)).graph(["u"])
    assert graph.measure.sum().item() == pytest.approx(0.5)


HIGHER = {
    "triangle6": (np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0.5, 0, 0], [0.5, 0.5, 0], [0, 0.5, 0]]), 0.5),
    "quad8": (
        np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 0, 0], [1, 0.5, 0], [0.5, 1, 0],
                  [0, 0.5, 0]]),
        1.0,
    ),
    "tetra10": (
        np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0, 0], [0.5, 0.5, 0], [0, 0.5, 0],
                  [0, 0, 0.5], [0.5, 0, 0.5], [0, 0.5, 0.5]]),
        1 / 6,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", HIGHER)
def test_cells_of_higher_order_are_read_by_their_corners(kind: str, tmp_path: Path) -> None:
    points, volume = HIGHER[kind]
    mesh = meshio.Mesh(points, [(kind, np.arange(len(points))[None])], {"T": points[:, 0]}, {"q": [[3.0]]})
    found = read_mesh(write(tmp_path / "m.vtu", mesh))
    graph = found.graph(["q"])
    assert graph.measure.tolist() == pytest.approx([volume])
    with pytest.raises(
        ValueError, match=r"^expected fields at the corners of cells, got \['T'\] also between"
    ):
        found.graph(["T"])


def test_names_decide_where_fields_are_and_mixtures_teach(tmp_path: Path) -> None:
    nodes, cells = {"T": SIX[:, 0], "p": SIX[:, 1]}, {"q": [1.0, 2.0], "p": [3.0, 4.0]}
    mesh = read_mesh(write(tmp_path / "m.vtu", mesh_of("quad", nodes, cells)))
    assert mesh.graph(["T", "p"]).num_nodes == 6
    assert mesh.graph(["q", "p"]).num_nodes == 2
    assert mesh.graph(["p"], on="cells").x.tolist() == [[3], [4]]
    assert mesh.graph(["position", "T"]).x[:, :2].tolist() == SIX[:, :2].tolist()
    mistakes = {
        r"all fields at one of them, got \['T'\] at the nodes and \['q'\] on the cells; try moving values": (
            ["T", "q"], None,
        ),
        r"fields at the nodes or on the cells, got \['p'\] at both; try on='nodes'": (["p"], None),
        r"all fields on the cells, got \['T'\] at the nodes": (["T"], "cells"),
        r"a place of fields, got 'cell'; try 'cells'": (["p"], "cell"),
        r"a field of this mesh, got 't'; try one of T, p, q": (["t"], None),
    }  # fmt: skip
    for message, (names, on) in mistakes.items():
        with pytest.raises(ValueError, match=f"^expected {message}"):
            mesh.graph(names, on=on)
    assert repr(mesh) == "Mesh(6 nodes, Cells(2 quad); fields T, p; on cells p, q)"


@pytest.mark.parametrize(
    ("ending", "cells"), [("ply", []), ("vtk", [("vertex", np.arange(6)[:, None])])], ids=["none", "vertex"]
)
def test_points_alone_have_neither_edges_nor_measures_unless_asked(
    ending: str, cells: Any, tmp_path: Path
) -> None:
    mesh = read_mesh(write(tmp_path / f"p.{ending}", meshio.Mesh(SIX, cells, {"T": SIX[:, 0]})))
    assert sorted(mesh.graph(["T"]).keys()) == ["pos", "x"]
    graph = mesh.graph(["T"], neighbours=2)
    assert graph.edge_index.shape == (2, 12)
    assert graph.edge_index[0, graph.edge_index[1] == 0].sort().values.tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"^expected 1 to 5 neighbours of 6 points, got 6"):
        mesh.graph(["T"], neighbours=6)
    with pytest.raises(ValueError, match=r"^expected cells, which have a boundary, got points alone"):
        mesh.flags([], True, "nodes")


@pytest.mark.parametrize("on", ["nodes", "cells"])
def test_coordinates_that_single_precision_would_merge_are_refused(on: str, tmp_path: Path) -> None:
    mesh = mesh_of("triangle", {"T": SIX[:, 0]}, {"T": np.arange(4.0)})
    for shift, fits in ((1e4, True), (5.2e6, False)):
        mesh.points = SIX + np.array([0.1, shift + 0.1, 0])
        found = read_mesh(write(tmp_path / f"{on}.vtu", mesh))
        if fits:
            assert found.graph(["T"], on=on).measure.sum().item() == pytest.approx(1)
        else:
            with pytest.raises(ValueError, match=r"^expected nodes of .*, got .*; try moving the origin"):
                found.graph(["T"], on=on)
