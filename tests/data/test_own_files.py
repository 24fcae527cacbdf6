"""Own files on grids: every format gives the same numbers, and what the file says of its grid is used."""

import pickle
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import xarray
from layouts import numbers
from own_files import AXES, FORMATS, FRAMES, SAMPLES, labelled, pdebench, variables, written

from neuralop_irno import load_splits
from neuralop_irno.data.flow_sources import flows_of
from neuralop_irno.data.frames import FrameWindows
from neuralop_irno.registry import DATASETS
from neuralop_irno.yaml_files import parsed

SPLIT = [3, 1, 1]
NAMED = ("hdf5 with labels", "netcdf 3", "netcdf 4", "zarr 2", "zarr 3")
"""Formats that name axes."""


def config(path: str, **options: Any) -> dict[str, Any]:
    return {"name": "files", "train": path, "split": SPLIT, **options}


@pytest.mark.parametrize("dim", AXES)
@pytest.mark.parametrize("kind", FORMATS)
def test_pairs_of_named_variables_are_the_same_in_every_format(kind: str, dim: int, tmp_path: Path) -> None:
    arrays = variables(dim, series=False)
    path = written(tmp_path, kind, arrays)
    data = load_splits(config(path, x=["v", "u"], y=["u"], static=["m"]))
    u, v, m = (torch.from_numpy(arrays[name][1]) for name in "uvm")
    whole = torch.cat([v, u, m.expand(SAMPLES, 1, *m.shape)], 1)
    for split, places in {"train": [0, 1, 2], "valid": [3], "test": [4]}.items():
        assert len(data[split]) == len(places)
        for pair, place in zip((data[split][i] for i in range(len(places))), places, strict=True):
            assert torch.equal(pair["x"], whole[place])
            assert torch.equal(pair["y"], u[place])


@pytest.mark.parametrize("dim", AXES)
@pytest.mark.parametrize("kind", FORMATS)
def test_series_are_windows_of_the_same_frames_in_every_format(kind: str, dim: int, tmp_path: Path) -> None:
    arrays = variables(dim, series=True)
    time = "time" if kind in NAMED else 1
    path = written(tmp_path, kind, arrays)
    data = load_splits(config(path, time=time, y=["u"], x=["u", "v"], static="m", inputs=2, outputs=2))
    u, v, m = (torch.from_numpy(arrays[name][1]) for name in "uvm")
    test = data["test"]
    assert isinstance(test, FrameWindows)
    for start in range(FRAMES - 3):
        pair, now = test[start], slice(start, start + 2)
        assert torch.equal(pair["y"], u[4, start + 2 : start + 4].flatten(0, 1))
        assert torch.equal(pair["x"], torch.cat([u[4, now].flatten(0, 1), v[4, now].flatten(0, 1), m[None]]))
    times = test.frames.times(0)
    if kind in NAMED and "hdf5" not in kind:
        assert times is not None
        assert times.tolist() == [10.0, 10.5, 11.0, 11.5, 12.0, 12.5]
    else:
        assert times is None


@pytest.mark.parametrize("dim", AXES)
@pytest.mark.parametrize(("channels", "groups"), [(0, False), (2, False), (2, True)])
def test_pdebench_is_read_with_its_coordinates(channels: int, groups: bool, dim: int, tmp_path: Path) -> None:
    known = pdebench(tmp_path / "a.hdf5", dim, channels, groups)
    path, name = str(tmp_path / "a.hdf5"), "data" if groups else "tensor"
    train = load_splits(config(path, y=[name], time="t", periodic=[True] * dim))["train"]
    assert isinstance(train, FrameWindows)
    frames = train.frames
    assert torch.equal(frames.read(2, range(FRAMES)), torch.from_numpy(known["values"][2]))
    assert frames.times(1).tolist() == known["t"][:FRAMES].tolist()  # type: ignore[union-attr]
    assert train.resolution.lengths == pytest.approx([1.0] * dim)
    assert train.padding == ("circular",) * dim


@pytest.mark.parametrize("dim", AXES)
def test_pdebench_with_a_dataset_for_each_variable(dim: int, tmp_path: Path) -> None:
    pdebench(tmp_path / "a.h5", dim)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["Vx"] = file["tensor"][...]
        file["density"] = 1 + file["tensor"][...]
    windows = load_splits(config(str(tmp_path / "a.h5"), y=["Vx", "density"], time="t"))["train"]
    first = windows[0]["x"]
    assert windows.fields == ("Vx", "density")
    torch.testing.assert_close(first[1], 1 + first[0])


def test_pdebenchs_steady_fields_are_pairs(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["nu"], file["tensor"] = numbers(5, 8, 8), numbers(5, 1, 8, 8)
        for axis in "xy":
            file[f"{axis}-coordinate"] = np.arange(8) / 8
        file["t-coordinate"] = np.zeros(1)
    pair = load_splits(config(str(tmp_path / "a.h5"), x=["nu"], y=["tensor"]))["train"][0]
    assert pair["x"].shape == pair["y"].shape == (1, 8, 8)


def test_a_scalar_of_each_sample_is_a_constant_channel(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=numbers(5, 1, 8), y=numbers(5, 1, 8), nu=np.arange(5.0))
    data = load_splits(config(str(tmp_path / "a.npz"), x=["x", "nu"], y=["y"]))
    assert data["test"][0]["x"][1].tolist() == [4.0] * 8
    np.savez(tmp_path / "b.npz", u=numbers(5, 4, 1, 8), nu=np.arange(5.0))
    data = load_splits(config(str(tmp_path / "b.npz"), x=["u", "nu"], y=["u"], time=1, inputs=2))
    assert data["test"][0]["x"][2].tolist() == [4.0] * 8


def test_a_single_trajectory_is_split_by_frames(tmp_path: Path) -> None:
    labelled(variables(1, series=True)).isel(sample=0).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    data = load_splits(config(str(tmp_path / "a.nc"), y=["u"], time="time", split=[2, 2, 2]))
    assert [len(each) for each in data.values()] == [1, 1, 1]
    assert [each.frames.times(0).tolist() for each in data.values()] == [[10, 10.5], [11, 11.5], [12, 12.5]]


def test_rollouts_start_from_own_series_and_know_their_times(tmp_path: Path) -> None:
    arrays = variables(2, series=True)
    path = written(tmp_path, "netcdf 4", arrays)
    test = load_splits(config(path, y=["u"], static=["m"], time="time", inputs=2))["test"]
    flow = flows_of(test)[0]
    u, m = (torch.from_numpy(arrays[name][1]) for name in "um")
    assert torch.equal(flow.start[0], u[4, :2])
    assert torch.equal(flow.frames[0], u[4, 2:])
    assert torch.equal(flow.static[0], m[None])
    assert flow.times.tolist() == [[10.5, 11.0, 11.5, 12.0, 12.5]]


@pytest.mark.parametrize("pattern", ["", "*.nc"])
def test_a_folder_or_a_pattern_is_several_files(pattern: str, tmp_path: Path) -> None:
    for place in range(2):
        data = labelled(variables(1, series=False)) + place
        data.to_netcdf(tmp_path / f"{place}.nc", engine="h5netcdf")
    data = load_splits(config(str(tmp_path / pattern), x=["u"], y=["v"], split=[6, 2, 2]))
    first = variables(1, series=False)["u"][1]
    torch.testing.assert_close(data["train"][5]["x"], torch.from_numpy(first[0]) + 1)
    assert len(data["train"].files) == 2
    with pytest.raises(FileNotFoundError, match=r"^expected files .*none\.nc, got none; try"):
        load_splits(config(str(tmp_path / "*none.nc")))


def test_axes_without_names_are_taken_from_the_layout(tmp_path: Path) -> None:
    values = numbers(5, 4, 8, 6, 2)
    np.savez(tmp_path / "a.npz", u=values, r=values[..., 0])
    options = {"layout": "B T X Y C", "y": ["u", "r"], "outputs": 2}
    frames = load_splits(config(str(tmp_path / "a.npz"), **options))["train"].frames
    found = frames.read(1, range(2)).double().numpy()
    np.testing.assert_allclose(
        found, np.moveaxis(np.concatenate([values, values[..., :1]], -1), -1, 2)[1, :2]
    )


@pytest.mark.parametrize("north_first", [True, False])
@pytest.mark.parametrize("grid", ["equiangular", "legendre-gauss"])
def test_latitudes_and_longitudes_give_the_sphere(grid: str, north_first: bool, tmp_path: Path) -> None:
    latitudes = np.linspace(90, -90, 8)
    if grid != "equiangular":
        latitudes = np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(8)[0]))[::-1]
    u = numbers(5, 8, 16).astype("f4")
    data = xarray.Dataset(
        {"u": (("time", "lat", "lon"), u)}, {"lat": latitudes, "lon": np.arange(16) * 22.5, "time": range(5)}
    )
    if not north_first:
        data = data.isel(lat=slice(None, None, -1))
    data.transpose("time", "lon", "lat").to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    train = load_splits(config(str(tmp_path / "a.nc"), x=["u"], y=["u"]))["train"]
    assert train.resolution.sphere == train[0]["sphere"] == grid
    assert train.padding == ("poles" if grid == "equiangular" else "between_poles", "circular")
    assert torch.equal(train[1]["y"][0], torch.from_numpy(u[1]))
    assert ("north first" in train.summary) != north_first


def test_a_part_of_a_sphere_is_weighted_by_the_cosine_of_the_latitude(tmp_path: Path) -> None:
    data = xarray.Dataset(
        {"u": (("sample", "lat", "lon"), numbers(5, 4, 8))},
        {"lat": [0.0, 20.0, 40.0, 60.0], "lon": np.arange(8.0)},
    )
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    train = load_splits(config(str(tmp_path / "a.nc"), x=["u"], y=["u"]))["train"]
    assert train.resolution.sphere is None
    assert train.padding == ("replicate", "replicate")
    torch.testing.assert_close(train[0]["measure"][:, 0], torch.tensor([60, 40, 20, 0.0]).deg2rad().cos())
    assert "no grid of a whole sphere" in train.summary


def test_packed_numbers_are_unpacked_and_a_mask_explains_fill_values(tmp_path: Path) -> None:
    values, mask = numbers(5, 8), np.ones(8)
    mask[3] = 0
    values[:, 3] = np.nan
    data = xarray.Dataset({"u": (("sample", "x"), values), "mask": (("x",), mask)})
    packing = {"u": {"dtype": "i2", "scale_factor": 1e-3, "add_offset": 1.0, "_FillValue": -32768}}
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf", encoding=packing)
    options = config(str(tmp_path / "a.nc"), x=["u"], y=["u"])
    with pytest.raises(
        ValueError, match=r"^expected u\[0\] in a.nc to be finite, got 1 NaN or inf; try .*mask"
    ):
        load_splits(options)["train"][0]
    pair = load_splits({**options, "mask": "mask"})["train"][0]
    np.testing.assert_allclose(pair["y"][0], np.nan_to_num(values[0]), atol=1e-3)
    assert pair["measure"].tolist() == mask.tolist()


@pytest.mark.parametrize("engine", ["scipy", "h5netcdf"])
def test_numbers_that_netcdf_never_wrote_are_no_numbers(engine: Any, tmp_path: Path) -> None:
    values = numbers(5, 8).astype("f4")
    values[4, 2] = np.float32(9.969209968386869e36)
    data = xarray.Dataset({"u": (("sample", "x"), values)})
    data.to_netcdf(tmp_path / "a.nc", engine=engine, encoding={"u": {"_FillValue": None}})
    test = load_splits(config(str(tmp_path / "a.nc"), x=["u"], y=["u"]))["test"]
    with pytest.raises(ValueError, match=r"^expected u\[4\] in a.nc to be finite, got 1 NaN"):
        test[0]


def test_files_of_different_boxes_and_masks(tmp_path: Path) -> None:
    for place in range(2):
        data = labelled(variables(1, series=True)).assign_coords(x=(1 + place) * np.arange(8.0))
        data["ocean"] = ("x", np.arange(8.0) > place)
        data.to_netcdf(tmp_path / f"{place}.nc", engine="h5netcdf")
    options = config(str(tmp_path), y=["u"], time="time", split=[6, 2, 2])
    assert load_splits(options)["train"].resolution.lengths is None
    with pytest.raises(
        ValueError, match=r"^expected 1.nc with the mask and the latitudes of 0.nc, got others"
    ):
        load_splits({**options, "mask": "ocean"})


def test_axes_that_are_not_equidistant_have_no_lengths_and_a_note(tmp_path: Path) -> None:
    data = xarray.Dataset({"u": (("sample", "x"), numbers(5, 8))}, {"x": np.arange(8.0) ** 2})
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    train = load_splits(config(str(tmp_path / "a.nc"), x=["u"], y=["u"]))["train"]
    assert train.resolution.lengths is None
    assert "x is not equidistant" in train.summary


def test_the_summary_states_fields_units_sizes_and_boundaries(tmp_path: Path) -> None:
    path = written(tmp_path, "netcdf 4", variables(2, series=False))
    summary = load_splits(config(path, x=["v"], y=["u"], periodic=[True, False]))["train"].summary
    assert summary == (
        "pairs: 3, x v of 2 channels; y u [m s-1], on 8 x 6 points (y, x), box 1 x 1, "
        "boundaries circular, replicate"
    )


@pytest.mark.parametrize("kind", ["hdf5", "netcdf 3", "netcdf 4", "zarr 3"])
def test_what_stays_on_disk_is_sent_to_workers_without_its_numbers(kind: str, tmp_path: Path) -> None:
    path = written(tmp_path, kind, variables(2, series=True))
    train = load_splits(config(path, y=["u"], static=["m"], time=1 if kind == "hdf5" else "time"))["train"]
    sent = pickle.dumps(train)
    assert len(sent) < 20_000
    assert torch.equal(pickle.loads(sent)[2]["x"], train[2]["x"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": ["w"]}, r"an array 'w' in own.nc, got .*; try one of"),
        ({"x": ["v"], "y": ["u"], "split": [9, 1, 1]}, "at most 5 samples in all"),
        ({"x": ["v"], "y": ["u"], "inputs": 2}, "inputs, outputs, stride and step of a series"),
        ({"x": ["v"], "y": ["u"], "time": "month"}, "an axis or a coordinate 'month' in own.nc"),
        ({"x": ["v"], "y": ["m"]}, r"an axis of samples in own.nc, .*; try .*static: \[m\]"),
        ({"x": ["v"], "y": ["u"], "static": ["u"]}, "u in own.nc without samples on the grid"),
        ({"x": ["v"], "y": ["u"], "periodic": [True]}, "one padding mode for each of 2 axes"),
        ({"x": ["v"], "y": ["u"], "periodic": [True] * 2, "padding": ["zero"] * 2}, "periodic or padding"),
        ({"x": ["v"], "y": ["u"], "valid": "b.nc"}, "valid or split, got both"),
        ({"x": ["v"], "y": ["u"], "split": None}, "valid or split, got neither"),
        ({"x": ["v"], "y": ["u"], "layout": "B B X"}, "a layout of different letters"),
    ],
)
def test_options_that_do_not_fit_teach(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    given = config(written(tmp_path, "netcdf 4", variables(2, series=False)), **options)
    with pytest.raises(ValueError, match=f"^expected {message}"):
        load_splits(given)


@pytest.mark.parametrize("shape", [(5, 8, 8), (5, 8, 8, 8), (5, 16, 8)])
def test_channels_that_may_be_space_are_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=numbers(*shape), y=numbers(*shape))
    with pytest.raises(ValueError, match=r"^expected x in a.npz as .*of which axis 1 .*try layout: 'B C"):
        load_splits(config(str(tmp_path / "a.npz")))
    letters = "XYZ"[: len(shape) - 1]
    data = load_splits(config(str(tmp_path / "a.npz"), layout=f"B {' '.join(letters)}"))
    assert data["train"][0]["x"].shape == (1, *shape[1:])


def test_the_configs_in_the_docs_have_options_that_exist() -> None:
    page = (Path(__file__).parents[2] / "docs/data.md").read_text()
    section = page.split("## Your own files, on grids")[1].split("\n## ")[0]
    blocks = re.findall(r"```yaml\n(data:\n.*?)```", section, re.DOTALL)
    lines = re.findall(r"^data: \{.*?\}", section, re.MULTILINE)
    assert len(blocks) == 2
    assert len(lines) == 5
    for text in (*blocks, *lines):
        DATASETS.part(parsed(text)["data"]).refuse_missing()
