"""Trajectories on a grid that stay on disk: frames are read when a pair is indexed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from neuralop_irno.data.scaling import Scaling
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.errors import expected


class GridPairs(Dataset[dict[str, Any]], ABC):
    """Base class of data sets of pairs x, y with metadata.

    Attributes:
        fields: the names of the channels of y; of one frame, if y holds several.
        padding: padding mode of each axis: ``circular``, ``zero``, ``replicate``, ...
        metric: the name of the metric in which results on this data are reported.
        scaling: from the units of the file to those of y.
        files: the files that the pairs are read from.
        resolution: what is known of the grid.
        summary: one line on what was read, for the user.
    """

    fields: tuple[str, ...]
    padding: tuple[str, ...]
    metric: str
    scaling: Scaling
    files: tuple[Path, ...] = ()
    resolution: Resolution = Resolution()
    summary: str = ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} pairs, fields {', '.join(self.fields)})"

    @abstractmethod
    def __len__(self) -> int:
        """The number of pairs."""

    @abstractmethod
    def __getitem__(self, index: int) -> dict[str, Any]:
        """One pair: x and y, each ``(channels, *S)``; ``sphere`` and ``measure`` where the grid has them."""


class Frames(ABC):
    """Trajectories of fields on one grid.

    Attributes:
        fields: the names of the channels of a frame.
        padding: padding mode of each axis: ``circular``, ``zero``, ``replicate``, ...
        metric: the name of the metric in which results on this data are reported.
        scaling: from the units of the file to those of the frames.
        lengths: number of frames of each trajectory.
        files: the files that the frames are read from.
        resolution: what is known of the grid.
        measure: of the cells, which broadcasts with ``S``; None if all count alike.
        units: of the fields, by name, where the files state them.
        coordinates: along the axes of the grid, by name, in their order; empty if they are not known.
        attributes: of ``time`` and of the coordinates, by name, as CF has them.
        summary: one line on what was read, for the user.
    """

    fields: tuple[str, ...]
    padding: tuple[str, ...]
    metric: str
    scaling: Scaling
    lengths: Sequence[int]
    files: tuple[Path, ...] = ()
    resolution: Resolution = Resolution()
    measure: Tensor | None = None
    units: Mapping[str, str] = MappingProxyType({})
    coordinates: Mapping[str, Any] = MappingProxyType({})
    attributes: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    summary: str = ""

    @abstractmethod
    def read(self, trajectory: int, places: range) -> Tensor:
        """Some frames of a trajectory, scaled, ``(T, C, *S)``."""

    def known(self, trajectory: int, places: range) -> Tensor | None:
        """Further input channels for the given frames, ``(channels, *S)``; None by default."""
        return None

    def times(self, trajectory: int) -> Tensor | None:
        """The times of all frames of a trajectory, ascending, ``(T,)``; None, the default, if not known."""
        return None


class FrameWindows(GridPairs):
    """Pairs cut from trajectories: x holds some frames, y those that follow.

    x holds frames as channels, the oldest first and all fields of a frame together, then the channels of
    `Frames.known`; y holds the frames that follow.

    Args:
        frames: the trajectories.
        inputs: frames in x.
        outputs: frames in y.
        stride: frames between the starts of two windows.
        step: stored frames from one frame of a window to the next.

    Shapes:
        - x: ``(inputs * C [+ known], *S)``; y: ``(outputs * C, *S)``

    Example:
        >>> class Counting(Frames):
        ...     fields, padding, metric, scaling = ("u",), ("circular",), "vrmse", Scaling.none(1)
        ...     lengths = (5, 4)
        ...     def read(self, trajectory, places):
        ...         return torch.tensor([10.0 * trajectory + place for place in places]).reshape(-1, 1, 1)
        >>> pairs = FrameWindows(Counting(), inputs=2)
        >>> [(pair["x"].flatten().tolist(), pair["y"].item()) for pair in (pairs[2], pairs[3])]
        [([2.0, 3.0], 4.0), ([10.0, 11.0], 12.0)]
    """

    def __init__(
        self, frames: Frames, inputs: int = 1, outputs: int = 1, stride: int = 1, step: int = 1
    ) -> None:
        for name, value in (("inputs", inputs), ("outputs", outputs), ("stride", stride), ("step", step)):
            if value < 1:
                raise ValueError(expected(f"{name} >= 1", value, f"{name}=1"))
        self.frames, self.inputs, self.outputs, self.stride, self.step = frames, inputs, outputs, stride, step
        self.fields, self.padding, self.metric = frames.fields, frames.padding, frames.metric
        self.scaling, self.files, self.resolution = frames.scaling, frames.files, frames.resolution
        self.summary = frames.summary
        span = step * (inputs + outputs - 1) + 1
        if min(frames.lengths, default=0) < span:
            got = f"one of {min(frames.lengths, default=0)}"
            raise ValueError(expected(f"trajectories of at least {span} frames", got, "fewer outputs"))
        # The index of the first pair of each trajectory, and the total number of pairs.
        self._first = [0, *accumulate((length - span) // stride + 1 for length in frames.lengths)]

    def __repr__(self) -> str:
        pairs = f"{len(self)} pairs of {len(self.frames.lengths)} trajectories"
        return f"FrameWindows({pairs}: {self.inputs} to {self.outputs} frames of {', '.join(self.fields)})"

    def __len__(self) -> int:
        return self._first[-1]

    @property
    def groups(self) -> Tensor:
        """The trajectory of each pair, ``(pairs,)``."""
        first = torch.tensor(self._first)
        return torch.arange(len(first) - 1).repeat_interleave(first.diff())

    def __getitem__(self, index: int) -> dict[str, Any]:
        place = range(len(self))[index]
        trajectory = bisect_right(self._first, place) - 1
        start = (place - self._first[trajectory]) * self.stride
        count = self.inputs + self.outputs
        places = range(start, start + (count - 1) * self.step + 1, self.step)
        frames = self.frames.read(trajectory, places)
        x, y = frames[: self.inputs].flatten(0, 1), frames[self.inputs :].flatten(0, 1)
        known = self.frames.known(trajectory, places[: self.inputs])
        pair = {"x": x if known is None else torch.cat([x, known]), "y": y}
        grid, measure = self.resolution.sphere, self.frames.measure
        on_grid = {} if grid is None else {"sphere": grid}
        return {**pair, **on_grid} if measure is None else {**pair, **on_grid, "measure": measure}
