"""Answers and rollouts are where and when the file of the data says, whichever way its rows go."""

from pathlib import Path

import numpy as np
import pytest
import xarray
from layouts import numbers

from irno_cli.main import main
from neuralop_irno import open_rollout
from neuralop_irno.yaml_files import written

PLACES = {
    "a globe from Greenwich": (np.linspace(90, -90, 7), 45.0 * np.arange(8)),
    "a globe from the date line": (np.linspace(90, -90, 7), 45.0 * np.arange(8) - 180),
    "a part of the globe": (np.linspace(60, 30, 7), np.linspace(-10, 25, 8)),
}
UNITS = {"time": "days since 2000-01-01", "lat": "degrees_north", "lon": "degrees_east"}


def command(*words: object) -> int:
    return main([str(word) for word in (*words, "--json")])


def series(folder: Path, place: str) -> xarray.Dataset:
    latitudes, longitudes = PLACES[place]
    values = (280 + numbers(6, 7, 8)).astype("f4")
    axes = {"time": 3 + 0.25 * np.arange(6), "lat": latitudes, "lon": longitudes}
    data = xarray.Dataset({"t2m": (tuple(axes), values)}, axes)
    for name, units in UNITS.items():
        data[name].attrs["units"] = units
    data.to_netcdf(folder / "north.nc", engine="h5netcdf")
    data.isel(lat=slice(None, None, -1)).to_netcdf(folder / "south.nc", engine="h5netcdf")
    return data


def trained(folder: Path, file: str) -> Path:
    config = {
        "data": {
            "name": "files",
            "train": str(folder / file),
            "split": [2, 2, 2],
            "time": "time",
            "y": "t2m",
        },
        "model": {
            "base": {"model_arch": "fno", "n_modes": [2, 2], "hidden_channels": 2, "n_layers": 1},
            "correction": {"name": "unet", "width": 2, "depth": 0},
            "steps": 1,
        },
        "base_training": {"epochs": 1},
        "training": {"epochs": 1},
    }
    (folder / "c.yaml").write_bytes(written(config))
    assert command("train", folder / "c.yaml", "--folder", folder / "run") == 0
    return folder / "run"


@pytest.mark.parametrize("file", ["north.nc", "south.nc"])
@pytest.mark.parametrize("place", PLACES)
def test_a_rollout_has_the_coordinates_and_the_units_of_the_file(
    place: str, file: str, tmp_path: Path
) -> None:
    data, to = series(tmp_path, place), tmp_path / "run.zarr"
    run = trained(tmp_path, file)
    assert command("rollout", run, "--start", tmp_path / file, "--steps", 2, "--to", to) == 0
    found, last = open_rollout(to), data.t2m[-1]
    start = found.start_t2m[0, 0].sel(lat=data.lat, lon=data.lon)
    np.testing.assert_allclose(start, last, rtol=1e-6)
    assert {name: found[name].attrs["units"] for name in UNITS} == UNITS
    with xarray.open_zarr(to, decode_times=True) as decoded:
        wanted = np.datetime64("2000-01-01") + np.array([108, 114]) * np.timedelta64(1, "h")
        np.testing.assert_array_equal(decoded.time, wanted)
    to = tmp_path / "clock.h5"
    words = ["--clock", 0, "--step", 6]  # times of the user, in units that are not known
    assert command("rollout", run, "--start", tmp_path / file, "--steps", 2, "--to", to, *words) == 0
    assert "units" not in open_rollout(to).time.attrs


@pytest.mark.parametrize("place", PLACES)
def test_answers_do_not_depend_on_the_order_of_rows(place: str, tmp_path: Path) -> None:
    series(tmp_path, place)
    run, answers = trained(tmp_path, "north.nc"), []
    for name in ("north.nc", "south.nc"):
        to = tmp_path / f"of_{name}"
        assert command("predict", run, tmp_path / name, "--to", to) == 0
        with xarray.open_dataset(to, engine="h5netcdf") as found, xarray.open_dataset(tmp_path / name) as own:
            np.testing.assert_array_equal(found.lat, own.lat)
            answers.append(found.t2m.sortby("lat").values)
    np.testing.assert_allclose(*answers, rtol=1e-6)


def test_names_that_are_not_those_of_the_answer_leave_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    series(tmp_path, "a part of the globe")
    run, to = trained(tmp_path, "north.nc"), tmp_path / "out.nc"
    capsys.readouterr()
    assert command("predict", run, tmp_path / "north.nc", "--to", to, "--names", "p,q") == 2
    assert "expected a name for each of 1 variables of the answer, got ['p', 'q']" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"c.yaml", "run", "north.nc", "south.nc"}


def test_zarr_has_the_names_coordinates_and_units_of_netcdf(tmp_path: Path) -> None:
    series(tmp_path, "a part of the globe")
    run = trained(tmp_path, "south.nc")
    for name in ("out.nc", "out.zarr"):
        assert command("predict", run, tmp_path / "south.nc", "--to", tmp_path / name) == 0
    found, other = xarray.open_zarr(tmp_path / "out.zarr"), xarray.open_dataset(tmp_path / "out.nc")
    with found, other:
        assert found.t2m.isel(t2m_channel=0).dims == other.t2m.dims
        xarray.testing.assert_equal(found.isel(t2m_channel=0).compute(), other.compute())
        assert {name: found[name].attrs for name in ("lat", "lon")} == {
            name: {"units": UNITS[name]} for name in ("lat", "lon")
        }
