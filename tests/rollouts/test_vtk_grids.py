"""Grids in .vtkhdf and .pvd: VTK finds every value at its point, and the package reads the frames back."""

import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch
from cases import ONE_SENTENCE, Breaking, Interrupted, point_model
from test_paraview_files import vtk_data

from neuralop_irno import convert_rollout, rollout
from neuralop_irno.rollouts import PVD, VTKHDF, Clock, Zarr
from neuralop_irno.rollouts.files import check_file

KINDS: dict[str, Any] = {"vtkhdf": VTKHDF, "pvd": PVD}
EQUAL = {"x": [0.0, 0.5, 1.0, 1.5, 2.0], "y": [1.0, 0.75, 0.5, 0.25], "z": [2.0, 2.5, 3.0]}
ROUGH = {**EQUAL, "y": [9.0, 4.0, 1.0, 0.0]}
FIELDS = {"one": ["p"], "vector": ["u", "v"], "all": ["u", "p", "v", "w"]}
VECTORS = {"one": {}, "vector": {"U": ["u", "v"]}, "all": {"U": ["u", "v", "w"]}}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def start_on(axes: str, channels: int, samples: int, coordinates: Any = EQUAL) -> Any:
    shape = (samples, channels, *(len(coordinates[axis]) for axis in axes))
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def read(path: Path, index: int) -> list[Any]:
    """The grids of a frame, one for each sample, by VTK's readers."""
    if path.suffix == ".vtkhdf":
        found = vtk_data(path, 0.5 * (index + 1))[0]
        blocks = (
            [found.GetBlock(n) for n in range(found.GetNumberOfBlocks())] if found.IsA(MULTI) else [found]
        )
    else:
        xml = pytest.importorskip("vtkmodules.vtkIOXML")
        blocks = []
        for each in ET.parse(path).getroot().iter("DataSet"):
            if float(each.attrib["timestep"]) == 0.5 * (index + 1):
                file = path.parent / each.attrib["file"]
                kinds = {".vti": xml.vtkXMLImageDataReader, ".vtr": xml.vtkXMLRectilinearGridReader}
                reader = kinds[file.suffix]()
                reader.SetFileName(str(file))
                reader.Update()
                blocks.append(reader.GetOutput())
    return blocks


MULTI = "vtkMultiBlockDataSet"


def at(data: Any, name: str, **place: float) -> Any:
    """The values of an array at a point in space."""
    number = data.FindPoint([place.get(axis, 0.0) for axis in "xyz"])
    assert number >= 0
    return np.asarray(data.GetPointData().GetArray(name).GetTuple(number))


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("fields", [*FIELDS, None])
@pytest.mark.parametrize("axes", ["x", "yx", "xy", "zyx", "yzx"])
@pytest.mark.parametrize("kind", ["vtkhdf", "pvd", "pvd, rough"])
def test_vtk_finds_the_values_at_their_points(
    kind: str, axes: str, fields: Any, samples: int, tmp_path: Path
) -> None:
    coordinates = ROUGH if "rough" in kind else EQUAL
    kind = kind[:6].split(",")[0]
    names = [] if fields is None else FIELDS[fields]
    channels = len(names) or 2
    options: dict[str, Any] = {"coordinates": {axis: coordinates[axis] for axis in axes}, "fields": names}
    options["vectors"] = VECTORS.get(fields, {})
    start, path = start_on(axes, channels, samples, coordinates), tmp_path / f"run.{kind}"
    model = point_model(channels, channels)
    with pytest.raises(Interrupted):
        rollout(model, start, 3, clock=Clock(step=0.5), to=Breaking(KINDS[kind](path, **options), 2))
    rollout(model, start, 3, clock=Clock(step=0.5), to=KINDS[kind](path, existing="continue", **options))
    whole = rollout(model, start, 3).frames
    assert torch.equal(KINDS[kind](path).read().frames, whole)
    assert check_file(path) == []
    grids = read(path, 2)
    assert len(grids) == samples
    for sample, grid in enumerate(grids):
        for place in [(0,) * len(axes), tuple(range(1, 1 + len(axes))), (-1,) * len(axes)]:
            point = {axis: coordinates[axis][index] for axis, index in zip(axes, place, strict=True)}
            right = whole[(sample, 2, slice(None), *place)].numpy()
            found = {name: at(grid, name, **point) for name in drawn_names(fields)}
            if fields is None:
                np.testing.assert_array_equal(found["frames"], [*right, 0.0])
            for name, value in zip(names, right, strict=False):
                if name in VECTORS[fields].get("U", []):
                    assert found["U"][VECTORS[fields]["U"].index(name)] == value
                    assert len(found["U"]) == 3
                else:
                    assert found[name].tolist() == [value]


def drawn_names(fields: str | None) -> list[str]:
    return {None: ["frames"], "one": ["p"], "vector": ["U"], "all": ["U", "p"]}[fields]


@pytest.mark.parametrize("kind", KINDS)
def test_frames_that_are_not_written_yet(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"run.{kind}"
    sink = Breaking(KINDS[kind](path, fields=["p"]), 2)
    with pytest.raises(Interrupted):
        rollout(point_model(1, 1), start_on("yx", 1, 2), 3, clock=Clock(step=0.5), to=sink)
    if kind == "vtkhdf":
        assert all(np.isnan(at(grid, "p")).all() for grid in read(path, 2))
    else:
        assert read(path, 2) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_frame_is_found(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"run.{kind}"
    file = KINDS[kind](path, fields=["p"])
    rollout(point_model(1, 1), start_on("yx", 1, 2), 3, to=file)
    for target in [path] if kind == "vtkhdf" else sorted(file.path.glob("*_000001_1.vti")):
        held = target.read_bytes()
        where = held.find(file.frame(1)[1, 0].numpy().tobytes())
        assert where > 0
        target.write_bytes(held[: where + 3] + bytes([held[where + 3] ^ 1]) + held[where + 4 :])
    assert "frame 1" in check_file(path)[0]


@pytest.mark.parametrize(
    ("axes", "coordinates", "hint"),
    [("yx", ROUGH, ".pvd"), ("wzyx", {**EQUAL, "w": [0.0, 1.0]}, ".zarr or .h5")],
)
def test_what_vtkhdf_cannot_hold_teaches(axes: str, coordinates: Any, hint: str, tmp_path: Path) -> None:
    held = {axis: coordinates[axis] for axis in axes}
    file = VTKHDF(tmp_path / "run.vtkhdf", coordinates=held)
    with pytest.raises(ValueError, match=ONE_SENTENCE) as found:
        rollout(point_model(1, 1), start_on(axes, 1, 1, coordinates), 2, to=file)
    assert hint in str(found.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_sphere_is_drawn_in_degrees(kind: str, tmp_path: Path) -> None:
    held = {"lat": np.linspace(90, -90, 5), "lon": np.arange(8) * 45.0}
    start = torch.randn(1, 1, 5, 8, dtype=torch.float64)
    path = tmp_path / f"run.{kind}"
    rollout(
        point_model(1, 1), start, 1, clock=Clock(step=0.5), to=Zarr(tmp_path / "run.zarr", coordinates=held)
    )
    convert_rollout(tmp_path / "run.zarr", path, fields=["t"])
    (grid,) = read(path, 0)
    np.testing.assert_allclose(grid.GetBounds(), [0, 315, -90, 90, 0, 0], atol=1e-12)
    assert at(grid, "t", x=45.0, y=-45.0) == KINDS[kind](path).frame(0)[0, 0, 3, 1]


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_single_frame(kind: str, samples: int, tmp_path: Path) -> None:
    path = tmp_path / f"run.{kind}"
    file = KINDS[kind](path, fields=["u", "v"], vectors={"U": ["u", "v"]})
    rollout(point_model(2, 2), start_on("yx", 2, samples), 1, clock=Clock(step=0.5), to=file)
    for sample, grid in enumerate(read(path, 0)):
        np.testing.assert_array_equal(at(grid, "U", x=4.0, y=3.0)[:2], file.frame(0)[sample, :, 3, 4])
