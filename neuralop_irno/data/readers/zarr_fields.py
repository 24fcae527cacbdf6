"""Trajectories in a Zarr store: an array of frames, (trajectories, T, C, *S)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.data.frames import Frames, FrameWindows
from neuralop_irno.data.readers.zarr_store import files_of, opened_array, read_part
from neuralop_irno.data.scaling import Scaling
from neuralop_irno.data.sizes import three
from neuralop_irno.data.splits import parts_of
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.errors import expected
from neuralop_irno.registry import DATASETS


class ZarrFields(Frames):
    """Some trajectories of an array.

    The array may have the attributes ``fields``, the names of the channels, ``padding``, the padding mode of
    each axis, and ``sphere``, the grid of fields on a sphere. Only the chunks that contain the requested
    frames are read.

    Args:
        path: the store.
        array: name of the array in the store.
        trajectories: indices of the trajectories in the array; by default all.
        fields: names of the channels; by default those in the array's attributes.
        padding: padding mode of each axis; by default that in the array's attributes, or ``replicate``.
        metric: the name of the metric in which results are reported.
        scaling: from the units of the store; by default none.
        sphere: the grid of fields on a sphere; by default that in the array's attributes, or a flat one.
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
        sphere: str | None = None,
    ) -> None:
        self.path, self.array, self.metric = str(path), array, metric
        stored = opened_array(self.path, array)
        if len(stored.shape) < 4:
            wanted = f"{array} (trajectories, T, C, *S) in {Path(path).name}"
            raise ValueError(expected(wanted, stored.shape, "adding an axis of channels"))
        count, frames, channels = stored.shape[:3]
        self.places = range(count) if trajectories is None else trajectories
        if not self.places or min(self.places) < 0 or max(self.places) >= count:
            raise ValueError(expected(f"trajectories from 0 to {count - 1}", self.places, f"range({count})"))
        self.lengths = [frames] * len(self.places)
        axes = len(stored.shape) - 3
        self.fields = _names("fields", fields, stored, [f"field {c}" for c in range(channels)])
        grid = sphere or stored.attrs.get("sphere")
        if grid is not None:
            self.resolution = Resolution(extent="fixed", sphere=grid)
        default = self.resolution.padding or ["replicate"] * axes
        self.padding = _names("padding", padding, stored, default)
        self.scaling = scaling or Scaling.none(channels)
        self.files = files_of(self.path)

    def read(self, trajectory: int, places: range) -> Tensor:
        when = slice(places.start, places.stop, places.step)
        frames = read_part(self.path, self.array, (self.places[trajectory], when))
        return self.scaling.apply(torch.from_numpy(frames)).float()


def _names(name: str, given: Sequence[str] | None, stored: Any, default: Sequence[str]) -> tuple[str, ...]:
    """One string for each field or axis: as given, from the array's attributes, or by default."""
    names = given or stored.attrs.get(name) or default
    listed = isinstance(names, (list, tuple)) and all(isinstance(field, str) for field in names)
    if not listed or len(names) != len(default):
        got = list(names) if listed else repr(names)
        raise ValueError(expected(f"{len(default)} strings for {name}", got, f"{name}=[...]"))
    return tuple(names)


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
    sphere: str | None = None,
) -> dict[str, FrameWindows]:
    """Trajectories from a Zarr store: x holds some frames, y the next ones.

    Args:
        path: the store.
        trajectories: numbers for training (the first), validation (the next) and test (the last ones).
        array: name of the array, with axes (trajectories, T, C, *S).
        inputs: frames in x.
        outputs: frames in y.
        stride: frames between the starts of two windows.
        step: stored frames from one frame of a window to the next.
        mean: mean of each field, which is subtracted; by default 0.
        std: standard deviation of each field, by which it is divided; by default 1.
        padding: padding mode of each axis; by default that in the array's attributes.
        metric: the name of the metric in which results are reported.
        sphere: the grid of fields on a sphere, ``equiangular``, ``legendre-gauss`` or ``lobatto``, north pole
            first; by default that in the array's attributes.
    """
    whole = ZarrFields(path, array)
    counts = three("trajectories", trajectories, (64, 8, 16))
    parts = parts_of("trajectories", counts, len(whole.lengths))
    channels = len(whole.fields)
    scaling = Scaling(tuple(mean or [0.0] * channels), tuple(std or [1.0] * channels))
    return {
        split: FrameWindows(
            ZarrFields(path, array, part, None, padding, metric, scaling, sphere),
            inputs,
            outputs,
            stride,
            step,
        )
        for split, part in parts.items()
    }
