"""Axes whose coordinates descend in the file: fields and answers are at the places that coordinates state."""

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray
from own_files import AXES, labelled, variables
from test_own_files import config
from test_own_files_by_command import globe

from neuralop_irno import IterativeRefiner, load_splits, predict
from neuralop_irno.data.frames import FrameWindows

CONVOLUTIONS = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("series", [False, True])
@pytest.mark.parametrize("dim", AXES)
def test_fields_are_read_at_their_places(dim: int, series: bool, uneven: bool, tmp_path: Path) -> None:
    data = labelled(variables(dim, series))
    if uneven:
        data = data.assign_coords({axis: data[axis].values ** 2 for axis in AXES[dim]})
    data.to_netcdf(tmp_path / "up.nc", engine="h5netcdf")
    data.isel({axis: slice(None, None, -1) for axis in AXES[dim]}).to_netcdf(
        tmp_path / "down.nc", engine="h5netcdf"
    )
    options = {"x": ["u", "v"], "y": ["u"], "static": ["m"], **({"time": "time"} if series else {})}
    up, down = (
        load_splits(config(str(tmp_path / f"{way}.nc"), **options))["train"] for way in ("up", "down")
    )
    for entry in ("x", "y"):
        assert torch.equal(down[1][entry], up[1][entry])
    assert down.resolution.lengths == pytest.approx(up.resolution.lengths)
    assert f"{AXES[dim][0]} turned to ascending" in down.summary
    if isinstance(down, FrameWindows) and isinstance(up, FrameWindows):
        for axis, values in up.frames.coordinates.items():
            np.testing.assert_array_equal(down.frames.coordinates[axis], values)


@pytest.mark.parametrize("dim", AXES)
def test_answers_are_written_at_their_places(dim: int, tmp_path: Path) -> None:
    data = labelled(variables(dim, series=False))
    turned = {axis: slice(None, None, -1) for axis in AXES[dim]}
    data.to_netcdf(tmp_path / "up.nc", engine="h5netcdf")
    data.isel(turned).to_netcdf(tmp_path / "down.nc", engine="h5netcdf")
    base = CONVOLUTIONS[dim](1, 1, 3, padding=1)
    model = IterativeRefiner(base, {"name": "unet", "width": 2, "depth": 0}, in_channels=1, out_channels=1)
    found = []
    for way in ("up", "down"):
        predict(model, tmp_path / f"{way}.nc", tmp_path / f"{way}_out.nc", fields=["u"], names=["p"])
        with xarray.open_dataset(tmp_path / f"{way}_out.nc", engine="h5netcdf") as answers:
            found.append(answers.load())
    for axis in AXES[dim]:
        np.testing.assert_array_equal(found[1][axis], found[0][axis][::-1])
    np.testing.assert_allclose(found[1].p, found[0].p.isel(turned), rtol=1e-5, atol=1e-6)


def test_longitudes_from_east_to_west_are_those_of_the_sphere(tmp_path: Path) -> None:
    source = globe(tmp_path / "up.nc", south_first=False)
    source.isel(lon=slice(None, None, -1)).to_netcdf(tmp_path / "down.nc", engine="h5netcdf")
    options = {"x": ["wind"], "y": ["t2m"]}
    up, down = (
        load_splits(config(str(tmp_path / f"{way}.nc"), **options))["train"] for way in ("up", "down")
    )
    assert down.resolution.sphere == up.resolution.sphere == "equiangular"
    assert torch.equal(down[0]["y"], up[0]["y"])


@pytest.mark.parametrize(
    ("kept", "series", "boundaries"),
    [
        (["x", "y"], False, "replicate, replicate"),
        ([], True, "replicate, replicate"),
        ([], False, "by the option padding of the correction"),
    ],
)
def test_the_summary_states_the_boundaries_that_are_used(
    kept: list[str], series: bool, boundaries: str, tmp_path: Path
) -> None:
    data = labelled(variables(2, series))
    data.drop_vars([axis for axis in ("x", "y") if axis not in kept]).to_netcdf(
        tmp_path / "a.nc", engine="h5netcdf"
    )
    time = {"time": "time"} if series else {}
    train = load_splits(config(str(tmp_path / "a.nc"), x=["u"], y=["u"], **time))["train"]
    assert train.summary.endswith(f"boundaries {boundaries}")
    assert (train.padding is None) == ("correction" in boundaries)


@pytest.mark.parametrize("option", ["x", "y", "static"])
@pytest.mark.parametrize("name", ["files", "mesh_files"])
def test_a_name_twice_is_refused(name: str, option: str) -> None:
    names = {"x": ["u"], "y": ["v"], option: ["T", "q", "T"]}
    with pytest.raises(
        ValueError, match=rf"^expected each name once in {option}, got T .*; try {option}: \[T, q\]"
    ):
        load_splits({"name": name, "train": "none", "split": [1, 1, 1], **names})
