"""Trajectories in a Zarr store: the frames that were written, chunk by chunk, by name from a config."""

import pickle
import shutil
import tracemalloc
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import zarr
from layouts import numbers, write_zarr
from torch.utils.data import DataLoader

from neuralop_irno.data.frames import FrameWindows
from neuralop_irno.data.readers.zarr_fields import ZarrFields
from neuralop_irno.data.scaling import Scaling
from neuralop_irno.data.splits import load_splits

FRAMES = numbers(5, 7, 2, 6, 4)


def test_frames_come_back_as_they_were_written(tmp_path: Path) -> None:
    data = ZarrFields(write_zarr(tmp_path, FRAMES))
    assert np.array_equal(data.read(3, range(1, 6, 2)), FRAMES[3, 1:6:2])
    assert data.fields == ("field 0", "field 1")
    assert data.padding == ("replicate", "replicate")
    part = ZarrFields(data.path, trajectories=range(1, 5, 3), scaling=Scaling((1.0, 2.0), (3.0, 4.0)))
    frame = part.read(1, range(6, 7))[0]
    torch.testing.assert_close(frame[1], (torch.from_numpy(FRAMES[4, 6, 1]) - 2) / 4)


def test_the_store_says_what_it_holds(tmp_path: Path) -> None:
    path = write_zarr(tmp_path, fields=["u", "v"], padding=["circular", "zero"])
    data = ZarrFields(path)
    assert (data.fields, data.padding) == (("u", "v"), ("circular", "zero"))
    assert ZarrFields(path, padding=["circular"] * 2).padding == ("circular", "circular")


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_splits_by_name_in_any_dimension(dim: int, tmp_path: Path) -> None:
    frames = numbers(5, 7, 2, *[4, 3, 5][:dim])
    words = {"name": "zarr", "path": write_zarr(tmp_path, frames), "trajectories": [2, 1, 1], "inputs": 2}
    splits = load_splits({**words, "step": 2, "metric": "relative_l2"})
    assert {split: len(data) for split, data in splits.items()} == {"train": 6, "valid": 3, "test": 3}
    pair = splits["test"][1]
    assert np.array_equal(pair["x"], frames[4, [1, 3]].reshape(4, *frames.shape[3:]))
    assert np.array_equal(pair["y"], frames[4, 5])
    assert splits["train"].metric == "relative_l2"
    scaled = load_splits({**words, "mean": [1.0, 1.0], "std": [2.0, 2.0]})["train"][0]["y"]
    assert np.array_equal(scaled, (frames[0, 2] - 1) / 2)


def test_nothing_is_read_that_is_not_asked_for(tmp_path: Path) -> None:
    path = str(tmp_path / "large.zarr")  # 400 MB when it is unpacked
    array = zarr.open_group(path, mode="w", zarr_format=2).create_array(
        "frames", shape=(4, 50, 2, 512, 512), chunks=(1, 1, 1, 512, 512), dtype="float32"
    )
    array[0, 0, 0] = 0.5
    chunk = (tmp_path / "large.zarr/frames/0.0.0.0.0").read_bytes()
    for place in product(range(4), range(50), range(2)):
        (tmp_path / "large.zarr/frames" / ".".join(map(str, (*place, 0, 0)))).write_bytes(chunk)
    tracemalloc.start()
    pairs = FrameWindows(ZarrFields(path))
    assert (pairs[-1]["y"] == 0.5).all()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2 * 2 * 512 * 512 * 4


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("shards", [None, (2, 2, 2, 6, 4)])
def test_a_chunk_that_is_missing_is_not_read_as_zeros(
    shards: tuple[int, ...] | None, zarr_format: Literal[2, 3], tmp_path: Path
) -> None:
    if shards and zarr_format == 2:
        pytest.skip("shards came with format 3")
    path = str(tmp_path / "s.zarr")
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    array = group.create_array(
        "frames", shape=(4, 4, 2, 6, 4), chunks=(1, 1, 2, 6, 4), shards=shards, dtype="f4"
    )
    array[...] = FRAMES[:4, :4]
    assert np.array_equal(ZarrFields(path).read(1, range(2)), FRAMES[1, :2])
    zeroed, moved = tmp_path / "zeroed.zarr", tmp_path / "moved.zarr"
    shutil.copytree(path, zeroed)
    zarr.open_group(str(zeroed), mode="a")["frames"][3, 2] = 0.0  # no chunk is written for zeros
    shutil.copytree(path, moved)
    chunk = max(file for file in (moved / "frames").rglob("*") if file.name[0].isdigit() and file.is_file())
    chunk.rename(chunk.with_name("stray"))
    for store in (zeroed, moved):
        with pytest.raises(ValueError, match=rf"^expected all .* of {store.name}, got 1 missing; try"):
            ZarrFields(store)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_shape_that_no_file_holds_is_refused_at_once(zarr_format: Literal[2, 3], tmp_path: Path) -> None:
    path = str(tmp_path / "s.zarr")
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    group.create_array("frames", shape=(10**12, 5, 2, 6), chunks=(1, 1, 2, 6), dtype="f4")
    group.create_array("one", shape=(10**12, 5, 2, 6), chunks=(10**12, 5, 2, 6), dtype="f4")
    group.create_array("none", shape=(0, 5, 2, 6), chunks=(1, 5, 2, 6), dtype="f4")
    group.create_array("complex", shape=(1, 5, 2, 6), chunks=(1, 5, 2, 6), dtype="c8")
    cases = {
        "frames": "all 5000000000000 chunks of frames of s.zarr, got",
        "one": "chunks of one of s.zarr of at most",
        "none": "numbers in none of s.zarr, got",
        "complex": "complex of s.zarr as numbers, got entries of the kind",
    }
    for name, message in cases.items():
        with pytest.raises(ValueError, match=f"^expected {message}"):
            ZarrFields(path, name)


@pytest.mark.parametrize(
    "attribute", [{"fields": "uv"}, {"fields": [1, 2]}, {"padding": ["zero"]}, {"padding": 3}]
)
def test_attributes_that_are_no_words_are_refused(attribute: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^expected 2 strings for {next(iter(attribute))}, got"):
        ZarrFields(write_zarr(tmp_path, FRAMES, **attribute))


def test_workers_open_stores_of_their_own(tmp_path: Path) -> None:
    pairs = FrameWindows(ZarrFields(write_zarr(tmp_path, FRAMES)))
    here = torch.stack([pairs[i]["y"] for i in range(len(pairs))])
    assert torch.equal(pickle.loads(pickle.dumps(pairs))[3]["y"], here[3])
    loader = DataLoader(pairs, batch_size=8, num_workers=2)
    assert torch.equal(torch.cat([batch["y"] for batch in loader]), here)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"array": "frame"}, r"an array of flows.zarr, got 'frame'; try 'frames'"),
        ({"trajectories": 3}, r".* as Sequence\[int\], got 3"),
        ({"trajectories": [3, 2, 1]}, r"at most 5 trajectories in all, got \[3, 2, 1\]"),
        ({"padding": ["circular"]}, r"2 strings for padding, got \['circular'\]"),
        ({"std": [0.0, 1.0]}, r"one finite mean and std > 0 for each field"),
        ({"outputs": 7}, r"trajectories of at least 8 frames, got one of 7"),
    ],
)
def test_options_that_do_not_fit_teach(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    words = {"name": "zarr", "path": write_zarr(tmp_path, FRAMES), "trajectories": [3, 1, 1]}
    with pytest.raises((TypeError, ValueError), match=f"^expected {message}"):
        load_splits({**words, **change})


def test_what_is_no_store_teaches(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"^expected a Zarr store, got nothing at .*; try the path of a .zarr folder"
    ):
        ZarrFields(tmp_path / "none.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(ValueError, match=r"^expected a Zarr group in empty.zarr, got .*; try zarr.open_gr"):
        ZarrFields(tmp_path / "empty.zarr")
    with pytest.raises(
        ValueError, match=r"^expected frames \(trajectories, T, C, \*S\) in .*, got \(2, 3, 4"
    ):
        ZarrFields(write_zarr(tmp_path, numbers(2, 3, 4)))
