"""Series on meshes in VTKHDF files, read back by VTK's own reader where it is installed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from neuralop_irno import write_vtkhdf
from neuralop_irno.data.mesh import Hole, square_with_holes

TIMES = [0.5, 0.75, 2.0]
CORNERS = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]]).T


def triangles(spacing: float = 0.3) -> Data:
    mesh = square_with_holes(spacing, [Hole(0.5, 0.5, 0.2)])
    return Data(pos=torch.from_numpy(mesh.pos), face=torch.from_numpy(mesh.triangles.T))


def tetrahedra() -> Data:
    pos = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    return Data(pos=pos, face=CORNERS)


def frames(graph: Data, channels: int) -> Tensor:
    return torch.arange(len(graph.pos) * 3 * channels, dtype=torch.float32).reshape(-1, 3, channels)


def read(path: Path, time: float) -> Any:
    """The grid of a time, by VTK's reader."""
    reading = pytest.importorskip("vtkmodules.vtkIOHDF")
    reader = reading.vtkHDFReader()
    reader.SetFileName(str(path))
    reader.UpdateInformation()
    reader.UpdateTimeStep(time)
    return reader.GetOutput()


@pytest.mark.parametrize("make", [triangles, tetrahedra])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_vtk_reads_every_frame_with_its_time(make: Any, channels: int, tmp_path: Path) -> None:
    support = pytest.importorskip("vtkmodules.util.numpy_support")
    graph = make()
    known = frames(graph, channels)
    path = write_vtkhdf(tmp_path / "run.vtkhdf", graph, {"u": known, "less": -known}, TIMES)
    for index, time in enumerate(TIMES):
        grid = read(path, time)
        assert grid.GetNumberOfCells() == graph.face.shape[1]
        points = support.vtk_to_numpy(grid.GetPoints().GetData())
        np.testing.assert_array_equal(points[:, : graph.pos.shape[1]], graph.pos)
        for sign, name in ((1, "u"), (-1, "less")):
            found = support.vtk_to_numpy(grid.GetPointData().GetArray(name)).reshape(len(points), -1)
            np.testing.assert_array_equal(found[:, :channels], sign * known[:, index])
        corners = [grid.GetCell(0).GetPointId(place) for place in range(len(graph.face))]
        assert corners == graph.face[:, 0].tolist()


def test_a_mesh_may_change_from_frame_to_frame(tmp_path: Path) -> None:
    support = pytest.importorskip("vtkmodules.util.numpy_support")
    first, third = triangles(0.3), triangles(0.2)
    moved = Data(pos=first.pos + 1, face=first.face)
    graphs = [first, moved, third]
    path = write_vtkhdf(tmp_path / "run.vtkhdf", graphs, {"x": (graph.pos[:, :1] for graph in graphs)})
    for time, graph in enumerate(graphs):
        grid = read(path, float(time))
        assert grid.GetNumberOfCells() == graph.face.shape[1]
        found = support.vtk_to_numpy(grid.GetPointData().GetArray("x"))
        np.testing.assert_array_equal(found, graph.pos[:, 0])
        np.testing.assert_array_equal(support.vtk_to_numpy(grid.GetPoints().GetData())[:, 0], found)


def test_frames_are_taken_one_by_one_and_a_mesh_is_stored_once(tmp_path: Path) -> None:
    graph, taken = tetrahedra(), []

    def series() -> Iterator[Tensor]:
        for index in range(4):
            taken.append(index)
            yield torch.full((5, 1), float(index))

    path = write_vtkhdf(tmp_path / "run.vtkhdf", graph, {"u": series()})
    with h5py.File(path) as file:
        root = file["VTKHDF"]
        assert taken == [0, 1, 2, 3]
        assert root["Points"].shape == (5, 3)
        assert root["Steps/Values"][:].tolist() == [0, 1, 2, 3]
        assert root["PointData/u"][:].reshape(4, 5)[:, 0].tolist() == [0, 1, 2, 3]


def test_names_that_hdf5_takes_for_paths_are_those_of_one_array(tmp_path: Path) -> None:
    graph = tetrahedra()
    path = write_vtkhdf(tmp_path / "run.vtkhdf", graph, {"p/rho": frames(graph, 1)}, TIMES)
    with h5py.File(path) as file:
        assert list(file["VTKHDF/PointData"]) == ["p_rho"]
    assert read(path, TIMES[0]).GetPointData().GetArray("p_rho").GetTuple(1) == (3.0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fields": {}}, "expected at least one field, got none"),
        ({"fields": {"u": torch.ones(5, 1)}}, r"expected frames of u of shape \(N, T, C\)"),
        ({"fields": {"u": torch.ones(4, 3, 1)}}, r"expected u of shape \(5, C\), got \(4, 1\)"),
        (
            {"fields": {"u": torch.ones(5, 3, 1), "v": torch.ones(5, 2, 1)}},
            "expected as many frames of v as of the other fields, got 2",
        ),
        ({"times": [0.0, 1.0]}, "expected a time for each of 3 frames, got 2"),
        ({"times": [0.0, 2.0, 1.0]}, "expected increasing times"),
        ({"graph": Data(pos=torch.ones(5, 3))}, "expected a graph of triangles or tetrahedra, got no cells"),
        (
            {"fields": {"p/r": torch.ones(5, 3, 1), "p_r": torch.ones(5, 3, 1)}},
            r"expected a name of its own for each field, got \['p_r', 'p_r'\]",
        ),
        (
            {"graph": [tetrahedra()]},
            "expected one graph, or one for each frame, got 1 graphs",
        ),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    given = {"graph": tetrahedra(), "fields": {"u": torch.ones(5, 3, 1)}, "times": TIMES} | change
    with pytest.raises(ValueError, match=message):
        write_vtkhdf(tmp_path / "run.vtkhdf", **given)
    assert not list(tmp_path.iterdir())
