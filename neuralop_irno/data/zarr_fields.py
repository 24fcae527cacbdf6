"""Trajectories in a Zarr store: an array of frames, (trajectories, T, C, *S)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.data.frames import Frames, FrameWindows
from neuralop_irno.data.scaling import Scaling
from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.registry import DATASETS


class ZarrFields(Frames):
    """Some trajectories of an array.

    The array may say in its attributes what it is: ``fields``, the names of the channels, and ``padding``,
    one word an axis. Only the chunks that the frames lie in are read.

    Args:
        path: of the store.
        array: its name in there.
        trajectories: places in the array of those that are seen; all by default.
        fields: names of the channels, where the array does not say.
        padding: one word an axis, where the array does not say.
        metric: in which results are told.
        scaling: from the units of the store; as they are by default.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        array: str = "frames",
        trajectories: range | None = None,
        fields: Sequence[str] | None = None,
        padding: Sequence[str] | None = None,
        metric: str = "vrmse",
        scaling: Scaling | None = None,
    ) -> None:
        self.path, self.array, self.metric = str(path), array, metric
        stored = self._stored()
        if len(stored.shape) < 4:
            wanted = f"{array} (trajectories, T, C, *S) in {Path(path).name}"
            raise ValueError(expected(wanted, stored.shape, "an axis of channels"))
        count, frames, channels = stored.shape[:3]
        self.places = range(count) if trajectories is None else trajectories
        if not self.places or min(self.places) < 0 or max(self.places) >= count:
            raise ValueError(expected(f"trajectories from 0 to {count - 1}", self.places, f"range({count})"))
        self.lengths = [frames] * len(self.places)
        axes = len(stored.shape) - 3
        self.fields = tuple(fields or stored.attrs.get("fields") or (f"field {c}" for c in range(channels)))
        self.padding = tuple(padding or stored.attrs.get("padding") or ["replicate"] * axes)
        for name, words, size in (("fields", self.fields, channels), ("padding", self.padding, axes)):
            if len(words) != size:
                raise ValueError(expected(f"{size} words for {name}", list(words), f"{name}=[...]"))
        self.scaling = scaling or Scaling.none(channels)
        self.files = tuple(sorted(p for p in Path(path).rglob("*") if p.is_file())) or (Path(path),)

    def read(self, trajectory: int, places: range) -> Tensor:
        when = slice(places.start, places.stop, places.step)
        frames = np.asarray(self._stored()[self.places[trajectory], when], dtype=np.float32)
        return self.scaling.apply(torch.from_numpy(frames))

    def _stored(self) -> Any:
        return _opened(self.path, self.array, os.getpid())


@lru_cache(maxsize=128)
def _opened(path: str, array: str, process: int) -> Any:
    """An array of a store, opened once in each process."""
    try:
        import zarr
    except ImportError as error:
        raise ImportError(
            expected("zarr for Zarr stores", "none", "pip install neuralop_irno[zarr]")
        ) from error
    source = Path(path)
    if not source.exists():
        raise FileNotFoundError(expected("a Zarr store", f"nothing at {source}", "another path"))
    try:
        store = zarr.open_group(path, mode="r")
    except (OSError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise ValueError(expected(f"a Zarr group in {source.name}", problem, "zarr.open_group")) from error
    if array not in store:
        names = sorted(store.array_keys())
        raise ValueError(expected(f"an array of {source.name}", repr(array), did_you_mean(array, names)))
    return store[array]


@DATASETS.register("zarr")
def zarr_fields(
    path: str,
    trajectories: Sequence[int],
    array: str = "frames",
    inputs: int = 1,
    outputs: int = 1,
    stride: int = 1,
    step: int = 1,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    padding: Sequence[str] | None = None,
    metric: str = "vrmse",
) -> dict[str, FrameWindows]:
    """Trajectories from a Zarr store, from some frames to the next.

    Args:
        path: of the store.
        trajectories: so many for training, validation and test, the first, the next, and the last ones.
        array: its name, with axes (trajectories, T, C, *S).
        inputs: frames in x.
        outputs: frames in y.
        stride: frames between the starts of two windows.
        step: frames of the file from one frame of a window to the next.
        mean: of each field, to be taken off.
        std: of each field, to divide by.
        padding: how the grid goes on beyond each axis; what the array says, by default.
        metric: in which results are told.
    """
    whole = ZarrFields(path, array)
    if not isinstance(trajectories, Sequence) or len(trajectories) != 3 or min(trajectories) < 1:
        hint = "trajectories: [64, 8, 16]"
        raise ValueError(expected("three numbers of trajectories >= 1", trajectories, hint))
    train, valid, test = trajectories
    count = len(whole.lengths)
    if sum(trajectories) > count:
        raise ValueError(
            expected(f"at most {count} trajectories in all", list(trajectories), "fewer of them")
        )
    channels = len(whole.fields)
    scaling = Scaling(tuple(mean or [0.0] * channels), tuple(std or [1.0] * channels))
    parts = {
        "train": range(train),
        "valid": range(train, train + valid),
        "test": range(count - test, count),
    }
    return {
        split: FrameWindows(
            ZarrFields(path, array, part, None, padding, metric, scaling), inputs, outputs, stride, step
        )
        for split, part in parts.items()
    }
