"""Trajectories in a Zarr store: the frames that were written, chunk by chunk, by name from a config."""

import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from layouts import numbers, write_zarr
from torch.utils.data import DataLoader

from neuralop_irno.data.dataset import load_splits
from neuralop_irno.data.frames import FrameWindows
from neuralop_irno.data.scaling import Scaling
from neuralop_irno.data.zarr_fields import ZarrFields

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
    path = str(tmp_path / "large.zarr")  # 21 GB, if anybody looked
    zarr.open_group(path, mode="w").create_array(
        "frames", shape=(200, 50, 2, 512, 512), chunks=(1, 1, 1, 512, 512), dtype="float32", fill_value=0.5
    )
    tracemalloc.start()
    pairs = FrameWindows(ZarrFields(path))
    assert (pairs[-1]["y"] == 0.5).all()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2 * 2 * 512 * 512 * 4


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
        ({"trajectories": 3}, r"three numbers of trajectories >= 1, got 3"),
        ({"trajectories": [3, 2, 1]}, r"at most 5 trajectories in all, got \[3, 2, 1\]"),
        ({"padding": ["circular"]}, r"2 words for padding, got \['circular'\]"),
        ({"std": [0.0, 1.0]}, r"one mean and one std > 0 for each field"),
        ({"outputs": 7}, r"trajectories of at least 8 frames, got one of 7"),
    ],
)
def test_options_that_do_not_fit_teach(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    words = {"name": "zarr", "path": write_zarr(tmp_path, FRAMES), "trajectories": [3, 1, 1]}
    with pytest.raises(ValueError, match=f"^expected {message}"):
        load_splits({**words, **change})


def test_what_is_no_store_teaches(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^expected a Zarr store, got nothing at .*; try another"):
        ZarrFields(tmp_path / "none.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(ValueError, match=r"^expected a Zarr group in empty.zarr, got .*; try zarr.open_gr"):
        ZarrFields(tmp_path / "empty.zarr")
    with pytest.raises(
        ValueError, match=r"^expected frames \(trajectories, T, C, \*S\) in .*, got \(2, 3, 4"
    ):
        ZarrFields(write_zarr(tmp_path, numbers(2, 3, 4)))
