"""A YAML and commands on one's own files: train, check, evaluate and predict, without Python."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray
from layouts import numbers
from own_files import FRAMES, labelled, pdebench, variables

from irno_cli.main import main
from neuralop_irno import IterativeRefiner, predict
from neuralop_irno.data.readers.named_arrays import NamedArrays
from neuralop_irno.training.run import read_run
from neuralop_irno.yaml_files import written

KELVIN = 280.0


def trained(folder: Path, modes: list[int], **data: Any) -> Path:
    """The folder of a run of one epoch on files, as the command line makes it."""
    config = {
        "data": {"name": "files", "split": [3, 1, 1], **data},
        "model": {
            "model_arch": "irno",
            "base": {"model_arch": "fno", "n_modes": modes, "hidden_channels": 2, "n_layers": 1},
            "correction": {"name": "unet", "width": 2, "depth": 0},
            "steps": 2,
        },
        "base_training": {"epochs": 1},
        "training": {"epochs": 1},
    }
    (folder / "c.yaml").write_bytes(written(config))
    command("train", folder / "c.yaml", "--folder", folder / "run")
    command("evaluate", folder / "run")
    command("check", folder / "run")
    return folder / "run"


def command(*words: Any) -> None:
    assert main([str(word) for word in (*words, "--json")]) == 0


def globe(path: Path, south_first: bool) -> xarray.Dataset:
    """Temperatures on a latitude-longitude grid, with units."""
    latitudes = np.linspace(90, -90, 7)[:: -1 if south_first else 1]
    data = xarray.Dataset(
        {
            "t2m": (("time", "lat", "lon"), (KELVIN + numbers(5, 7, 8)).astype("f4"), {"units": "K"}),
            "wind": (("time", "lat", "lon"), numbers(5, 7, 8, seed=1).astype("f4"), {"units": "m s-1"}),
            "orography": (("lat", "lon"), numbers(7, 8, seed=2).astype("f4")),
        },
        {
            "time": ("time", 6.0 * np.arange(5), {"units": "hours since 2020-01-01"}),
            "lat": ("lat", latitudes, {"units": "degrees_north"}),
            "lon": ("lon", 45.0 * np.arange(8), {"units": "degrees_east"}),
        },
    )
    data.to_netcdf(path, engine="h5netcdf")
    return data


@pytest.mark.parametrize("south_first", [False, True])
def test_pairs_on_a_globe_come_back_with_names_coordinates_and_units(
    south_first: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = globe(tmp_path / "a.nc", south_first)
    names = {"x": ["wind"], "y": ["t2m"], "static": ["orography"]}
    run = trained(tmp_path, [2, 2], train=str(tmp_path / "a.nc"), **names)
    said = capsys.readouterr().err
    assert "x wind [m s-1]; y t2m [K], static orography, on 7 x 8 points (lat, lon), equiangular grid" in said
    source.drop_vars("t2m").to_netcdf(tmp_path / "new.nc", engine="h5netcdf")
    command("predict", run, tmp_path / "new.nc", "--to", tmp_path / "out.nc", "--batch-size", 2)
    with xarray.open_dataset(tmp_path / "out.nc", engine="h5netcdf", decode_times=False) as found:
        assert found.t2m.dims == ("time", "lat", "lon")
        for name in ("time", "lat", "lon"):
            np.testing.assert_array_equal(found[name], source[name])
            assert found[name].attrs == source[name].attrs
        x = torch.from_numpy(np.stack([source.wind, source.orography.broadcast_like(source.wind)], 1))
        answer = read_run(run)[1](x.flip(2) if south_first else x, sphere="equiangular")[:, 0]
        answer = answer.flip(1) if south_first else answer
        np.testing.assert_allclose(found.t2m, answer.detach(), rtol=1e-4, atol=1e-4)


def test_a_series_on_a_globe_goes_on_in_time(tmp_path: Path) -> None:
    source = globe(tmp_path / "a.nc", south_first=False)
    source.to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    options = {"y": ["t2m"], "time": "time", "inputs": 2, "split": None, "valid": str(tmp_path / "b.nc")}
    run = trained(tmp_path, [2, 2], train=str(tmp_path / "a.nc"), **options)
    command("predict", run, tmp_path / "b.nc", "--to", tmp_path / "out.nc")
    with xarray.open_dataset(tmp_path / "out.nc", engine="h5netcdf", decode_times=False) as found:
        assert found.time.values.tolist() == [12.0, 18.0, 24.0, 30.0]  # the last is beyond the file
        assert found.t2m.attrs["units"] == "K"
        x = torch.from_numpy(source.t2m.values)
        answer = read_run(run)[1](x[2:4][None], sphere="equiangular")[0, 0]
        np.testing.assert_allclose(found.t2m[2], answer.detach(), rtol=1e-4)


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("groups", [False, True])
def test_pdebench_through_every_command(groups: bool, dim: int, tmp_path: Path) -> None:
    known = pdebench(tmp_path / "a.hdf5", dim, channels=2 * groups, groups=groups)
    name = "data" if groups else "tensor"
    options = {"y": [name], "time": "t", "periodic": [True] * dim, "inputs": 2, "outputs": 2}
    run = trained(tmp_path, [2] * dim, train=str(tmp_path / "a.hdf5"), **options)
    command("predict", run, tmp_path / "a.hdf5", "--to", tmp_path / "out.h5")
    found = NamedArrays(tmp_path / "out.h5").part(name)
    values = torch.from_numpy(known["values"])
    assert found.shape == (5, FRAMES, *values.shape[2:])  # frames 2 to 7, by windows of 2
    answer = read_run(run)[1](values[3:4, 2:4].flatten(1, 2))
    torch.testing.assert_close(found[3, 2:4].flatten(0, 1), answer[0].detach(), rtol=1e-4, atol=1e-4)


def test_a_mask_leaves_holes_in_the_answer(tmp_path: Path) -> None:
    data = labelled(variables(2, series=False))
    mask = xarray.ones_like(data.m)
    mask[2, 3] = 0
    data["ocean"] = mask
    data["u"] = data.u.where(mask > 0)
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    names = {"x": ["u"], "y": ["u"], "mask": "ocean", "periodic": [False, False]}
    run = trained(tmp_path, [2, 2], train=str(tmp_path / "a.nc"), **names)
    command("predict", run, tmp_path / "a.nc", "--to", tmp_path / "out.nc")
    with xarray.open_dataset(tmp_path / "out.nc", engine="h5netcdf") as found:
        np.testing.assert_array_equal(np.isnan(found.u[0]), mask == 0)
        assert found.u.attrs["units"] == "m s-1"


def test_fields_and_names_of_a_netcdf_file_without_a_config(tmp_path: Path) -> None:
    globe(tmp_path / "a.nc", south_first=False)
    base = torch.nn.Conv2d(2, 1, 1)
    phi = {"name": "unet", "width": 2, "depth": 0, "padding": ["poles", "circular"]}
    model = IterativeRefiner(base, phi, in_channels=2, out_channels=1)
    found = predict(model, tmp_path / "a.nc", tmp_path / "out.nc", fields=["wind", "t2m"], names=["p"])
    assert found.samples == 5
    with xarray.open_dataset(tmp_path / "out.nc", engine="h5netcdf") as answers:
        assert answers.p.dims == ("time", "lat", "lon")
