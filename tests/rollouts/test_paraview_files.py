"""Rollouts in .vtkhdf and .pvd: VTK reads every frame with its time, on the mesh of that frame."""

import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import meshio
import numpy as np
import pytest
from cases import ONE_SENTENCE, Breaking, Interrupted
from mesh_cases import Spreading, meshes, tetrahedra, triangles

from neuralop_irno import rollout
from neuralop_irno.rollouts import PVD, VTKHDF, Clock

CLOCK = Clock(step=0.5)
TIMES = [0.5, 1.0, 1.5]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def vtk_grid(path: Path, time: float) -> tuple[Any, list[float]]:
    """The grid of a time by VTK's reader, and all times."""
    reader = pytest.importorskip("vtkmodules.vtkIOHDF").vtkHDFReader()
    pipeline = pytest.importorskip("vtkmodules.vtkCommonExecutionModel").vtkStreamingDemandDrivenPipeline
    reader.SetFileName(str(path))
    reader.UpdateInformation()
    times = reader.GetOutputInformation(0).Get(pipeline.TIME_STEPS())
    reader.UpdateTimeStep(time)
    return reader.GetOutput(), list(times)


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
    values, times = vtk_grid(path, 1.5)
    assert times == TIMES
    missing = to_numpy(values.GetPointData().GetArray("frames")).reshape(len(graph.pos), -1)
    assert np.isnan(missing[:, :channels]).all()
    rollout(Spreading(), graph, 3, **options, to=VTKHDF(path, existing="continue"))
    whole = VTKHDF(path).read().frames
    for index, time in enumerate(TIMES):
        values, _ = vtk_grid(path, time)
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
