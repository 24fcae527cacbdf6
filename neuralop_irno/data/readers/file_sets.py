"""Data sets over files of fields: pairs of an input and a target, and trajectories."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.data.frames import Frames, GridPairs
from neuralop_irno.data.readers.field_file import FieldFile, Wanted
from neuralop_irno.data.readers.variables import EVERYTHING, Variable
from neuralop_irno.data.scaling import Scaling
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.errors import expected


class FileSet:
    """Files with the same variables on one grid, their samples one after the other.

    Args:
        paths: of the files.
        wanted: what is read of each.

    Attributes:
        parts: the files, opened.
        samples: the number of samples in all.
    """

    def __init__(self, paths: Sequence[Path], wanted: Wanted) -> None:
        self.wanted, self.parts = wanted, [FieldFile(path, wanted) for path in paths]
        first = self.parts[0]
        for file in self.parts[1:]:
            for what in ("grid", "input_grid"):
                ours, theirs = (getattr(part, what) for part in (first, file))
                if (ours.names, ours.shape, ours.sphere) != (theirs.names, theirs.shape, theirs.sphere):
                    wanted_grid = f"{file.path.name} on the grid of {first.path.name}, {ours}"
                    raise ValueError(expected(wanted_grid, theirs, "files of one grid"))
            if [each.channels for each in file.targets] != [each.channels for each in first.targets]:
                got = [each.channels for each in file.targets]
                wanted_fields = f"{file.path.name} with the channels of {first.path.name}"
                raise ValueError(expected(wanted_fields, got, "files of the same variables"))
        self._first = [0, *accumulate(part.samples for part in self.parts)]
        self.samples = self._first[-1]

    @property
    def resolution(self) -> Resolution:
        """What is known of the grid; of boxes of different sides, not the sides."""
        first, *others = (part.grid for part in self.parts)
        same = all(grid.lengths == first.lengths for grid in others)
        return (first if same else replace(first, lengths=None)).resolution

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that are read."""
        return tuple(file for part in self.parts for file in part.files)

    def where(self, sample: int) -> tuple[FieldFile, slice]:
        """The file of a sample, and its place in that file."""
        place = bisect_right(self._first, sample) - 1
        own = sample - self._first[place]
        return self.parts[place], slice(own, own + 1)

    def coordinates(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The coordinates of the grid as it is read, and the attributes of them and of time.

        What differs from file to file is left out.
        """
        grids = [part.coordinates for part in self.parts]
        clocks = [part.attributes_of_time for part in self.parts]
        first = grids[0]
        same = all(
            grid.keys() == first.keys()
            and all(np.array_equal(grid[name][0], first[name][0]) for name in first)
            for grid in grids
        )
        known = first if same else {}
        values = {name: found[0] for name, found in known.items()}
        said = {name: found[1] for name, found in known.items()}
        time = {"time": clocks[0]} if all(clock == clocks[0] for clock in clocks) else {}
        return values, {**said, **time}

    def entries(self, part: FieldFile) -> dict[str, Any]:
        """What a sample of a file says of its grid."""
        sphere = {} if part.grid.sphere is None else {"sphere": part.grid.sphere}
        return sphere if part.measure is None else {**sphere, "measure": part.measure}

    def listed(self, variables: Sequence[Variable]) -> str:
        """Variables with their units."""
        return ", ".join(
            f"{each.name}{f' [{each.stored.units}]' if each.stored.units else ''}"
            f"{f' of {len(each.channels)} channels' if len(each.channels) > 1 else ''}"
            for each in variables
        )

    def about(self, count: str, what: str, padding: tuple[str, ...] | None) -> str:
        """One line on what was read, and with which padding of each axis."""
        first = self.parts[0]
        static = f", static {', '.join(self.wanted.static)}" if self.wanted.static else ""
        mask = "" if self.wanted.mask is None else f", mask {self.wanted.mask}"
        inputs = "" if first.input_grid.shape == first.grid.shape else f", x on {first.input_grid}"
        return f"{count}, {what}{static}{mask}, on {replace(first.grid, padding=padding)}{inputs}"


class FilePairs(GridPairs):
    """Pairs of an input and a target, read from their files when they are indexed.

    x holds the fields of the input, its scalars as constant channels, and the static fields.

    Args:
        source: the files.
        places: indices of the samples; by default all.
    """

    metric = "vrmse"

    def __init__(self, source: FileSet, places: range | None = None) -> None:
        self.source, self.places = source, range(source.samples) if places is None else places
        first = source.parts[0]
        self.fields = tuple(name for each in first.targets for name in each.channels)
        self.scaling = Scaling.none(len(self.fields))
        self.files, self.resolution = source.files, source.resolution
        self.padding = first.grid.padding  # type: ignore[assignment]
        what = f"x {source.listed([*first.fields, *first.scalars])}; y {source.listed(first.targets)}"
        self.summary = source.about(f"pairs: {len(self)}", what, first.grid.padding)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> dict[str, Any]:
        part, place = self.source.where(self.places[index])
        pair = {"x": self._x(part, place)[0], "y": self._y(part, place)[0]}
        return {**pair, **self.source.entries(part)}

    def input(self, index: int) -> Tensor:
        """The x of a pair alone, ``(C, *S)``."""
        return self._x(*self.source.where(self.places[index]))[0]

    def _x(self, part: FieldFile, place: slice) -> Tensor:
        found = part.read([*part.fields, *part.scalars], part.input_grid, place)[:, 0]
        if not part.static:
            return found
        static = part.read(part.static, part.input_grid, EVERYTHING)[0, 0]
        return torch.cat([found, static.expand(len(found), *static.shape)], 1)

    def _y(self, part: FieldFile, place: slice) -> Tensor:
        return part.read(part.targets, part.grid, place)[:, 0]

    def loaded(self) -> FieldDataset | FilePairs:
        """The pairs in memory, unless cells have a measure, which `FieldDataset` has not."""
        if any(part.measure is not None for part in self.source.parts):
            return self
        if self.places == range(self.source.samples):
            whole = [(part, EVERYTHING) for part in self.source.parts]
        else:
            whole = [self.source.where(sample) for sample in self.places]
        x, y = (torch.cat([read(*where) for where in whole]) for read in (self._x, self._y))
        found = FieldDataset(x, y, self.files, resolution=self.resolution)
        found.padding, found.summary = self.padding, self.summary
        return found


class FileFrames(Frames):
    """Trajectories in files, read when a window is indexed.

    Args:
        source: the files.
        trajectories: indices of the trajectories; by default all.
        frames: the frames of each; by default all.
    """

    metric = "vrmse"

    def __init__(
        self, source: FileSet, trajectories: range | None = None, frames: range | None = None
    ) -> None:
        self.source = source
        self.trajectories = range(source.samples) if trajectories is None else trajectories
        self._start = 0 if frames is None else frames.start
        first = source.parts[0]
        self.lengths = [
            len(range(source.where(sample)[0].frames) if frames is None else frames)
            for sample in self.trajectories
        ]
        self.fields = tuple(name for each in first.targets for name in each.channels)
        self.scaling = Scaling.none(len(self.fields))
        self.files, self.resolution = source.files, source.resolution
        self.padding = first.grid.padding or ("replicate",) * len(first.grid.shape)
        self.measure = first.measure
        for part in source.parts[1:]:
            if not _same(part.measure, self.measure):
                wanted = f"{part.path.name} with the mask and the latitudes of {first.path.name}"
                raise ValueError(expected(wanted, "others", "trajectories of one grid"))
        stated = {name: each.stored.units for each in first.targets for name in each.channels}
        self.units = {name: units for name, units in stated.items() if units}
        self.coordinates, self.attributes = source.coordinates()
        self.summary = self._summary()

    def read(self, trajectory: int, places: range) -> Tensor:
        part, place = self._where(trajectory)
        return part.read(part.targets, part.grid, place, self._slice(places))[0]

    def known(self, trajectory: int, places: range) -> Tensor | None:
        part, place = self._where(trajectory)
        names = {each.name for each in part.targets}
        forcing = [each for each in (*part.fields, *part.scalars) if each.name not in names]
        blocks = []
        for each in forcing:  # what is constant in time once, what varies at the time of each frame of x
            blocks.append(part.read([each], part.grid, place, self._slice(places))[0].flatten(0, 1))
        if part.static:
            blocks.append(part.read(part.static, part.grid, EVERYTHING)[0, 0])
        return torch.cat(blocks) if blocks else None

    def times(self, trajectory: int) -> Tensor | None:
        part, place = self._where(trajectory)
        if part.times is None:
            return None
        own = part.times if part.times.ndim == 1 else part.times[place.start]
        return torch.from_numpy(own[self._start : self._start + self.lengths[trajectory]])

    def _summary(self) -> str:
        source, known = self.source, {each.name for each in self.source.parts[0].targets}
        first = source.parts[0]
        more = [each for each in (*first.fields, *first.scalars) if each.name not in known]
        frames = " to ".join(map(str, sorted({min(self.lengths), max(self.lengths)})))
        what = source.listed(first.targets) + (f"; further inputs {source.listed(more)}" if more else "")
        return source.about(f"trajectories: {len(self.trajectories)} of {frames} frames", what, self.padding)

    def _where(self, trajectory: int) -> tuple[FieldFile, slice]:
        return self.source.where(self.trajectories[trajectory])

    def _slice(self, places: range) -> slice:
        return slice(self._start + places.start, self._start + places.stop, places.step)


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other if one is None or other is None else torch.equal(one, other)
