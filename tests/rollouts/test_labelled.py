"""Rollout files as data sets of xarray: the stored numbers under names, in whatever part is asked for."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import graphs, point_model
from torch_geometric.nn import GCN

from neuralop_irno import open_rollout, rollout
from neuralop_irno.rollouts import HDF5, Clock, Window, Zarr

xarray = pytest.importorskip("xarray")
KINDS = {"h5": HDF5, "zarr": Zarr}
PLACES = [
    {},
    {"time": 2},
    {"time": [3, 0], "y": slice(None, None, -2)},
    {"sample": 1, "channel": 0, "x": [2, 0]},
    {"time": slice(4, 1, -1), "sample": [2, 2]},
    {"time": slice(2, 2)},
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_is_that_of_the_stored_frames(kind: str, tmp_path: Path) -> None:
    path, start = tmp_path / f"run.{kind}", torch.randn(3, 2, 2, 5, 4, dtype=torch.float64)
    window, clock = Window(inputs=2), Clock(start=1.0, step=0.25)
    rollout(point_model(4, 2), start, 5, window=window, clock=clock, to=path)
    stored = KINDS[kind](path).read()
    known = xarray.DataArray(stored.frames.transpose(0, 1), dims=("time", "sample", "channel", "y", "x"))
    data = open_rollout(path)
    assert dict(data.sizes) == {"time": 5, "sample": 3, "start_step": 2, "channel": 2, "y": 5, "x": 4}
    for place in PLACES:
        xarray.testing.assert_equal(data.frames.isel(place).drop_vars("time"), known.isel(place))
    np.testing.assert_array_equal(data.time, stored.times)
    np.testing.assert_array_equal(data.start, start)
    named = open_rollout(path, fields=["u", "v"])
    xarray.testing.assert_equal(named.v.drop_vars("time"), known.isel(channel=1))
    np.testing.assert_array_equal(named.start_v, start[:, :, 1])
    assert data.ending.values.tolist() == ["completed"] * 3


def test_graphs_have_nodes(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    rollout(GCN(1, 8, 2, 1).double().eval(), graphs(), 4, to=path)
    data = open_rollout(path)
    assert data.frames.dims == ("step", "node", "channel")
    np.testing.assert_array_equal(data.frames, HDF5(path).read().frames.transpose(0, 1))


def test_samples_that_blow_up_are_named(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    start = torch.tensor([1.0, 1e30, 1e5]).reshape(3, 1, 1).expand(3, 1, 4)
    rollout(lambda u: u**2, start, 4, to=path)
    data, stored = open_rollout(path), HDF5(path).read()
    assert data.lasted.values.tolist() == stored.lasted.tolist()
    assert data.ending.values.tolist() == [ending.name.lower() for ending in stored.endings]
    assert "not_finite" in data.ending


def test_a_changed_number_is_found_where_it_is_read(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "run.h5"
    rollout(lambda u: 0.5 * u, torch.ones(1, 1, 4), 3, to=path)
    with h5py.File(path, "r+") as file:
        file["frames"][1, 0, 0, 2] += 1
    data = open_rollout(path)
    assert data.frames.isel(step=2).values.tolist() == [[[0.125] * 4]]
    with pytest.raises(ValueError, match=r"expected frame 1 of run\.h5 as written"):
        data.frames.isel(step=1).load()


def test_wrong_names_and_a_missing_package_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.h5"
    rollout(lambda u: u, torch.ones(1, 2, 4), 1, to=path)
    with pytest.raises(ValueError, match=r"expected a name for each of 2 channels, got \['u'\]"):
        open_rollout(path, fields=["u"])
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ImportError, match=r"pip install 'neuralop_irno\[xarray\]'"):
        open_rollout(path)


def test_coordinates_may_be_views(tmp_path: Path) -> None:
    to = HDF5(tmp_path / "run.h5", coordinates={"y": np.arange(4.0)[::-1]})
    rollout(lambda u: u, torch.ones(1, 2, 4), 1, to=to)
    assert open_rollout(tmp_path / "run.h5").y.values.tolist() == [3, 2, 1, 0]
