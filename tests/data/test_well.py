"""The Well's files, written here in their layout: every number where it belongs, and nothing read in vain."""

import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import yaml
from layouts import add, add_blocks, write_well, write_well_file
from torch.utils.data import DataLoader

from neuralop_irno.data.frames import FrameWindows
from neuralop_irno.data.readers.well import Well
from neuralop_irno.data.readers.well_file import WellFile
from neuralop_irno.data.splits import load_splits

FIELDS = (
    "density",
    "profile",
    "velocity_x",
    "velocity_y",
    *(f"strain_{c}" for c in ("xx", "xy", "yx", "yy")),
)


def array(path: Path, name: str) -> Any:
    with h5py.File(path) as file:
        return file[name][...]


def test_a_frame_holds_numbers_then_vectors_then_matrices(tmp_path: Path) -> None:
    path = write_well_file(tmp_path / "a.hdf5")
    file = WellFile(path)
    assert (file.grid, file.trajectories, file.frames, file.fields) == ((6, 5), 2, 6, FIELDS)
    frames = file.frames_at(1, range(1, 6, 2)).numpy()
    assert frames.shape == (3, 8, 6, 5)
    assert np.array_equal(frames[:, 0], array(path, "t0_fields/density")[1, 1:6:2])
    profile = array(path, "t0_fields/profile")[1, 1:6:2]
    assert np.array_equal(frames[:, 1], np.broadcast_to(profile, (3, 6, 5)))
    for place in range(2):
        assert np.array_equal(frames[:, 2 + place], array(path, "t1_fields/velocity")[1, 1:6:2, ..., place])
    for place in range(4):
        strain = array(path, "t2_fields/strain")[1, 1:6:2, ..., place // 2, place % 2]
        assert np.array_equal(frames[:, 4 + place], strain)


def test_what_does_not_change_and_what_is_only_a_number(tmp_path: Path) -> None:
    path = write_well_file(tmp_path / "a.hdf5")
    file = WellFile(path)
    constants = file.constants_of(1).numpy()
    assert np.array_equal(constants[0], array(path, "t0_fields/mask"))
    assert np.array_equal(constants[1:], np.moveaxis(array(path, "t1_fields/wind")[1], -1, 0))
    assert file.parameters_of(1).tolist() == [np.float32(0.03), array(path, "scalars/mach")[1]]
    assert np.array_equal(file.signals_at(1, range(2, 5))[:, 0], array(path, "scalars/forcing")[1, 2:5])
    bare = WellFile(write_well_file(tmp_path / "b.hdf5", extras=False))
    assert bare.constants_of(0).shape == (0, 6, 5)
    assert bare.signals_at(0, range(3)).shape == (3, 0)


def test_an_axis_that_a_field_does_not_vary_along_may_be_left_out(tmp_path: Path) -> None:
    path = write_well_file(tmp_path / "a.hdf5", extras=False)
    with h5py.File(path, "a") as file:
        values = np.arange(5, dtype=np.float32)
        same = {"sample_varying": False, "time_varying": False, "dim_varying": [False, True]}
        add(file["t0_fields"], "height", values, **same)
        file["t0_fields"].attrs["field_names"] = ["density", "height"]
    height = WellFile(path).constants_of(0)[0]
    assert torch.equal(height, torch.arange(5.0).expand(6, 5))


@pytest.mark.parametrize(
    ("boundary", "padding"),
    [
        (("PERIODIC", "OPEN"), ("circular", "replicate")),
        (("Wall", "periodic"), ("zero", "circular")),
        (("OPEN", "WALL"), ("replicate", "zero")),
    ],
)
def test_boundaries_are_the_padding_of_each_axis(boundary: Any, padding: Any, tmp_path: Path) -> None:
    data = Well(write_well(tmp_path, boundary=boundary), scaling="none")
    assert data.padding == padding
    assert data._parts[0].boundary == tuple((kind.lower(), kind.lower()) for kind in boundary)


def test_ends_that_differ_and_walls_that_have_a_gap(tmp_path: Path) -> None:
    path = write_well_file(tmp_path / "data/train/a.hdf5", extras=False)
    with h5py.File(path, "a") as file:
        conditions = file["boundary_conditions"]
        for name in list(conditions):
            del conditions[name]
        wall = conditions.create_group("wall")  # all of the low end of x, and half of the high one
        wall.attrs.update({"bc_type": "WALL", "associated_dims": ["x", "y"]})
        mask = np.zeros((6, 5), bool)
        mask[0], mask[-1, :2] = True, True
        wall["mask"] = mask
    data = Well(tmp_path, scaling="none")
    assert data._parts[0].boundary == (("wall", "open"), ("open", "open"))
    assert data.padding == ("replicate", "replicate")


@pytest.mark.parametrize(("inputs", "outputs", "stride", "step"), [(4, 1, 1, 1), (1, 2, 2, 1), (2, 1, 1, 2)])
def test_windows_run_through_files_by_name_and_trajectories(
    inputs: int, outputs: int, stride: int, step: int, tmp_path: Path
) -> None:
    data = Well(write_well(tmp_path), scaling="none")
    assert [file.path.name for file in data._parts] == ["a.hdf5", "b.hdf5"]
    pairs = FrameWindows(data, inputs, outputs, stride, step)
    starts = range(0, 6 - step * (inputs + outputs - 1), stride)
    assert len(pairs) == 4 * len(starts)
    for number in range(len(pairs)):
        trajectory, place = divmod(number, len(starts))
        file, own = data._parts[trajectory // 2], trajectory % 2
        start, end = starts[place], starts[place] + step * (inputs + outputs - 1) + 1
        frames = file.frames_at(own, range(start, end, step))
        constants = file.constants_of(own)
        assert torch.equal(pairs[number]["x"], torch.cat([frames[:inputs].flatten(0, 1), constants]))
        assert torch.equal(pairs[number]["y"], frames[inputs:].flatten(0, 1))
    with pytest.raises(IndexError):
        pairs[len(pairs)]


def test_scalars_are_channels_of_one_value_at_the_times_of_x(tmp_path: Path) -> None:
    data = Well(write_well(tmp_path), scaling="none", scalars=True)
    x = FrameWindows(data, inputs=2)[5 - 1 + 2]["x"]  # of the second trajectory, from the third frame on
    scalars = x[-4:]
    assert x.shape == (2 * 8 + 3 + 2 + 2, 6, 5)
    assert torch.equal(scalars, scalars[:, :1, :1].expand_as(scalars))
    file = data._parts[0]
    wanted = torch.cat([file.parameters_of(1), file.signals_at(1, range(2, 4))[:, 0]])
    assert torch.equal(scalars[:, 0, 0], wanted)


@pytest.mark.parametrize("scaling", ["zscore", "rms"])
def test_fields_are_scaled_by_the_statistics_of_their_components(scaling: str, tmp_path: Path) -> None:
    folder = write_well(tmp_path)
    plain, scaled = Well(folder, scaling="none"), Well(folder, scaling=scaling)
    known = yaml.safe_load((folder / "stats.yaml").read_text())
    frames, result = (data.read(1, range(2, 4)) for data in (plain, scaled))
    for channel, (name, index) in {2: ("velocity", (0,)), 6: ("strain", (1, 0))}.items():
        mean, std, rms = (np.asarray(known[word][name])[index] for word in ("mean", "std", "rms"))
        wanted = (frames[:, channel] - mean) / std if scaling == "zscore" else frames[:, channel] / rms
        torch.testing.assert_close(result[:, channel], wanted)
    torch.testing.assert_close(scaled.scaling.undo(result), frames)
    mask = scaled.known(0, range(1))[0], plain.known(0, range(1))[0]
    if scaling == "zscore":  # its deviation is next to nothing
        torch.testing.assert_close(mask[0], (mask[1] - known["mean"]["mask"]) / 1e-4)
    y = FrameWindows(scaled, 1, 2)[0]["y"]  # two frames, one after the other
    torch.testing.assert_close(scaled.scaling.undo(y[None])[0], FrameWindows(plain, 1, 2)[0]["y"])


@pytest.mark.parametrize("grid", [(7,), (4, 3, 5)])
def test_one_and_three_dimensions(grid: tuple[int, ...], tmp_path: Path) -> None:
    boundary = ("PERIODIC", "WALL", "OPEN")[: len(grid)]
    splits = load_splits({
        "name": "the_well", "folder": str(write_well(tmp_path, grid=grid, boundary=boundary)), "inputs": 2,
    })  # fmt: skip
    dim = len(grid)
    channels = 2 + dim + dim**2
    pair = splits["test"][0]
    assert pair["x"].shape == (2 * channels + 1 + dim, *grid)
    assert pair["y"].shape == (channels, *grid)
    assert splits["valid"].padding == ("circular", "zero", "replicate")[:dim]
    assert splits["train"].metric == "vrmse"
    assert len(splits["train"].fields) == channels
    assert splits["train"].resolution.lengths == pytest.approx((1.0,) * dim)  # n times the spacing


@pytest.mark.parametrize(
    ("places", "box"), [(np.linspace(0, 3, 8), (24 / 7, 1.0)), (np.geomspace(1, 100, 8), None)]
)
def test_the_sides_of_the_box_are_those_of_evenly_spaced_axes(
    places: Any, box: tuple[float, float] | None, tmp_path: Path
) -> None:
    path = write_well_file(tmp_path / "data/train/a.hdf5", grid=(8, 6))
    with h5py.File(path, "a") as file:
        file["dimensions/x"][...] = places
    found = Well(tmp_path, scaling="none").resolution.lengths
    assert found == (None if box is None else pytest.approx(box))


def test_nothing_is_read_that_is_not_asked_for(tmp_path: Path) -> None:
    path = write_well_file(tmp_path / "data/train/a.hdf5", extras=False)
    shape = (50, 81, 256, 256)  # 1 GB when it is unpacked
    with h5py.File(path, "a") as file:
        file.attrs["n_trajectories"] = shape[0]
        for name, n in zip(("time", "x", "y"), shape[1:], strict=True):
            del file["dimensions"][name]
            add(file["dimensions"], name, np.arange(n), sample_varying=False, time_varying=False)
        for order, names in enumerate((["density"], [], [])):
            del file[f"t{order}_fields"]
            file.create_group(f"t{order}_fields").attrs["field_names"] = names
        density = add_blocks(file["t0_fields"], "density", shape, (1, 1, 256, 256), 0.5)
        density.attrs.update({"sample_varying": True, "time_varying": True, "dim_varying": [True, True]})
    tracemalloc.start()
    pairs = FrameWindows(Well(tmp_path, scaling="none"), inputs=4)
    assert len(pairs) == 50 * 77
    assert (pairs[-1]["x"] == 0.5).all()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 5 * 256 * 256 * 4


def test_workers_open_files_of_their_own_and_give_the_same(tmp_path: Path) -> None:
    pairs = FrameWindows(Well(write_well(tmp_path)), inputs=2)
    here = [pairs[i]["y"] for i in range(len(pairs))]  # the file is open in this process now
    assert torch.equal(pickle.loads(pickle.dumps(pairs))[3]["y"], here[3])
    loader = DataLoader(pairs, batch_size=5, num_workers=2)
    assert torch.equal(torch.cat([batch["y"] for batch in loader]), torch.stack(here))


def test_other_layouts_teach(tmp_path: Path) -> None:
    folder = write_well(tmp_path)
    path = folder / "data/train/c.hdf5"
    cases = {
        r"dimensions in c.hdf5, got no dimensions": lambda f: f.__delitem__("dimensions"),
        r"t0_fields/density in c.hdf5 of shape \(3, 6, 6, 5\)": lambda f: f.attrs.__setitem__(
            "n_trajectories", 3
        ),
        r"ascending times in c.hdf5, got unsorted": lambda f: f["dimensions/time"].__setitem__(2, 0.5),
        r"dimensions/time in c.hdf5 to be finite": lambda f: f["dimensions/time"].__setitem__(2, np.nan),
        r"n_trajectories >= 1 in c.hdf5, got": lambda f: f.attrs.__setitem__("n_trajectories", -1),
        r"a boundary condition in c.hdf5, got 'slip'; try": lambda f: f[
            "boundary_conditions/x_periodic"
        ].attrs.__setitem__("bc_type", "SLIP"),
    }
    for place, (message, damage) in enumerate(cases.items()):
        with h5py.File(write_well_file(tmp_path / f"{place}" / "c.hdf5"), "a") as file:
            damage(file)
        with pytest.raises(ValueError, match=f"^expected .*{message}"):
            WellFile(tmp_path / f"{place}" / "c.hdf5")
    write_well_file(path, boundary=("OPEN", "OPEN"))
    with pytest.raises(ValueError, match=r"^expected c.hdf5 with the boundary of a.hdf5, \(\('periodic', "):
        Well(folder)


def test_what_is_missing_teaches(tmp_path: Path) -> None:
    folder = write_well(tmp_path)
    with pytest.raises(ValueError, match=r"^expected a scaling, got 'zscor'; try 'zscore'"):
        Well(folder, scaling="zscor")
    with pytest.raises(ValueError, match=r"^expected trajectories of at least 7 frames, got one of 6"):
        FrameWindows(Well(folder), inputs=4, outputs=3)
    with pytest.raises(ValueError, match=r"^expected stride >= 1, got 0"):
        FrameWindows(Well(folder), stride=0)
    known = yaml.safe_load((folder / "stats.yaml").read_text())
    del known["std"]["velocity"]
    (folder / "stats.yaml").write_text(yaml.safe_dump(known))
    with pytest.raises(ValueError, match=r"^expected std of velocity in stats.yaml, 2 numbers, got none"):
        Well(folder)
    (folder / "stats.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"^expected statistics in .*, got no stats.yaml; try scal"):
        Well(folder)
    with pytest.raises(
        FileNotFoundError,
        match=r"^expected HDF5 files in .*, got none; try the folder of the .h5 or .hdf5 files",
    ):
        Well(folder, "extra")
    (folder / "data/train/d.hdf5").write_bytes(b"these are no fields")
    with pytest.raises(ValueError, match=r"^expected HDF5 in d.hdf5, got .+; try downloading it again"):
        Well(folder)
