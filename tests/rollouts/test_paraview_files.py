"""Rollouts in .vtkhdf and .pvd: VTK reads every frame with its time, on the mesh of that frame."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import meshio
import numpy as np
import pytest
import torch
from cases import ONE_SENTENCE, Breaking, Interrupted
from mesh_cases import Spreading, meshes, tetrahedra, triangles
from torch_geometric.data import Batch, Data

from neuralop_irno import convert_rollout, open_rollout, rollout
from neuralop_irno.data.cells import Cells
from neuralop_irno.rollouts import PVD, VTKHDF, Clock

CLOCK = Clock(step=0.5)
TIMES = [0.5, 1.0, 1.5]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def vtk_data(path: Path, time: float) -> tuple[Any, list[float]]:
    """The data of a time by VTK's reader, and all times."""
    reader = pytest.importorskip("vtkmodules.vtkIOHDF").vtkHDFReader()
    pipeline = pytest.importorskip("vtkmodules.vtkCommonExecutionModel").vtkStreamingDemandDrivenPipeline
    reader.SetFileName(str(path))
    reader.UpdateInformation()
    times = reader.GetOutputInformation(0).Get(pipeline.TIME_STEPS())
    reader.UpdateTimeStep(time)
    return reader.GetOutputDataObject(0), list(times or ())


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("make", [triangles, tetrahedra, meshes])
def test_vtk_reads_every_frame_with_its_time(make: Any, channels: int, moving: bool, tmp_path: Path) -> None:
    to_numpy = pytest.importorskip("vtkmodules.util.numpy_support").vtk_to_numpy
    path, graph = tmp_path / "run.vtkhdf", make(channels=channels)
    corners = graph.face.T
    options: dict[str, Any] = {"clock": CLOCK}
    if moving:
        options["move"] = lambda index, frame: {"pos": graph.pos + index, "face": graph.face.roll(index, 0)}
    with pytest.raises(Interrupted):
        rollout(Spreading(), graph, 3, **options, to=Breaking(VTKHDF(path), 2))
    values, times = vtk_data(path, 1.5)
    assert times == TIMES
    missing = to_numpy(values.GetPointData().GetArray("frames")).reshape(len(graph.pos), -1)
    assert np.isnan(missing[:, :channels]).all()
    rollout(Spreading(), graph, 3, **options, to=VTKHDF(path, existing="continue"))
    whole = VTKHDF(path).read().frames
    for index, time in enumerate(TIMES):
        values, _ = vtk_data(path, time)
        found = to_numpy(values.GetPointData().GetArray("frames")).reshape(len(graph.pos), -1)
        np.testing.assert_array_equal(found[:, :channels], whole[:, index])
        assert not found[:, channels:].any()
        points = to_numpy(values.GetPoints().GetData())[:, : graph.pos.shape[1]]
        np.testing.assert_array_equal(points, graph.pos + index * moving)
        cell = values.GetCell(1)
        assert values.GetNumberOfCells() == len(corners)
        there = [cell.GetPointId(place) for place in range(cell.GetNumberOfPoints())]
        assert there == corners[1].roll(index * moving).tolist()
        if make is meshes:
            np.testing.assert_array_equal(to_numpy(values.GetPointData().GetArray("batch")), graph.batch)


def test_a_pvd_lists_the_frames_with_their_times(tmp_path: Path) -> None:
    path, graph = tmp_path / "deep/run.pvd", meshes()
    rollout(Spreading(), graph, 3, clock=CLOCK, to=PVD(path, fields=["u", "v"]))
    frames = PVD(path).read().frames
    listed = [each.attrib for each in ET.parse(path).getroot().iter("DataSet")]
    assert [float(each["timestep"]) for each in listed] == TIMES
    for index, each in enumerate(listed):
        found = meshio.read(path.parent / each["file"])
        np.testing.assert_array_equal(found.point_data["v"], frames[:, index, 1])
        np.testing.assert_array_equal(found.points[:, :2], graph.pos)
        np.testing.assert_array_equal(found.point_data["batch"], graph.batch)
        np.testing.assert_array_equal(found.cells[0].data, graph.face.T)


def test_a_pvd_of_others_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.pvd"
    path.write_text("<VTKFile/>")
    for existing in ("refuse", "continue", "overwrite"):
        with pytest.raises(FileExistsError, match=ONE_SENTENCE):
            rollout(Spreading(), triangles(), 2, to=PVD(path, existing=existing))
    assert path.read_text() == "<VTKFile/>"
    assert [place.name for place in tmp_path.iterdir()] == ["run.pvd"]


def points(channels: int, samples: int = 1) -> Any:
    parts = [
        Data(x=mesh.x, pos=mesh.pos, edge_index=mesh.edge_index) for mesh in meshes(channels).to_data_list()
    ]
    return Batch.from_data_list(parts[:samples])


def vtu(path: Path, index: int) -> Any:
    """A frame of a .pvd by VTK's reader."""
    reader = pytest.importorskip("vtkmodules.vtkIOXML").vtkXMLUnstructuredGridReader()
    reader.SetFileName(str(path.with_suffix(".vtus") / f"frame_{index:06d}.vtu"))
    reader.Update()
    return reader.GetOutput()


@pytest.mark.parametrize("place", ["points", "several clouds", "moving points", "triangles", "on cells"])
@pytest.mark.parametrize("make", [VTKHDF, PVD])
def test_vectors_are_one_array_and_points_are_vertices(make: Any, place: str, tmp_path: Path) -> None:
    to_numpy = pytest.importorskip("vtkmodules.util.numpy_support").vtk_to_numpy
    graph = triangles(channels=4) if place == "triangles" else points(4, 2 if "several" in place else 1)
    if place == "on cells":
        graph = on_cells()
    options: dict[str, Any] = {"clock": CLOCK}
    if "moving" in place:
        options["move"] = lambda index, frame: graph.pos + index
    names = {"fields": ["u", "p", "v", "w"], "vectors": {"U": ["u", "v", "w"]}}
    path = tmp_path / ("run.vtkhdf" if make is VTKHDF else "run.pvd")
    file = make(path, **names)
    rollout(Spreading(), graph, 3, to=file, **options)
    whole = file.read().frames
    data = open_rollout(path)
    np.testing.assert_array_equal(data.v, whole[..., 2].T)
    assert data.v.attrs["vector"] == "U"
    convert_rollout(path, tmp_path / "run.zarr")
    convert_rollout(tmp_path / "run.zarr", tmp_path / f"again{path.suffix}")
    for written in (path, tmp_path / f"again{path.suffix}"):
        for index, time in enumerate(TIMES):
            found = vtk_data(written, time)[0] if make is VTKHDF else vtu(written, index)
            held = found.GetCellData() if place == "on cells" else found.GetPointData()
            arrays = {
                held.GetArrayName(n): to_numpy(held.GetArray(n)) for n in range(held.GetNumberOfArrays())
            }
            assert arrays.keys() - {"batch", "measure"} == {"U", "p"}
            np.testing.assert_array_equal(arrays["U"], whole[:, index, [0, 2, 3]])
            np.testing.assert_array_equal(arrays["p"], whole[:, index, 1])
            if "points" in place or "clouds" in place:
                assert found.GetNumberOfCells() == len(graph.pos)
                assert {found.GetCellType(n) for n in range(len(graph.pos))} == {1}
                moved = graph.pos + index * ("moving" in place)
                np.testing.assert_array_equal(to_numpy(found.GetPoints().GetData())[:, :2], moved)


def on_cells() -> Any:
    """A mesh whose nodes are its two cells."""
    corners = np.asarray([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    cells = Cells.of_blocks([("triangle", np.array([[0, 1, 2], [0, 2, 3]]))])
    graph = Data(x=torch.rand(2, 4).double(), pos=torch.rand(2, 2).double())
    graph.edge_index, graph.cells = torch.tensor([[0, 1], [1, 0]]), replace(cells, points=corners)
    return graph


@pytest.mark.parametrize(
    "options",
    [
        {"vectors": {"U": ["u", "q"]}},
        {"vectors": {"U": ["v", "u"]}},
        {"vectors": {"u": ["u", "v"]}},
        {"vectors": {"x": ["u", "v"]}},
        {"vectors": {"U": ["u", "v"], "V": ["v"]}},
    ],
)
def test_vectors_of_other_fields_are_refused(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=ONE_SENTENCE):
        rollout(Spreading(), triangles(), 2, to=VTKHDF(tmp_path / "a.vtkhdf", fields=["u", "v"], **options))


def test_points_without_positions_are_refused(tmp_path: Path) -> None:
    graph = triangles()
    bare = Data(x=graph.x, edge_index=graph.edge_index)
    with pytest.raises(ValueError, match=ONE_SENTENCE):
        rollout(lambda data: data.x, bare, 2, to=tmp_path / "run.vtkhdf")
