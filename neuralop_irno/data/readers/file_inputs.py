"""The inputs of a model in a file of named variables, and the names under which its answers are written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.data.array_file import Labels
from neuralop_irno.data.readers.field_file import FieldFile, Wanted
from neuralop_irno.data.readers.file_sets import FileFrames, FilePairs, FileSet
from neuralop_irno.data.readers.files import wanted_of
from neuralop_irno.errors import expected

NAMES = ("x", "y", "static", "mask", "time", "layout")
GRID = ("periodic", "padding", "sphere")
"""The options of `neuralop_irno.data.readers.files.files` that name what is read, and that state the grid."""


class FileInputs:
    """The inputs of a file, as in the training on `files`, without their targets.

    Of a series these are windows of its frames that follow each other by the frames of an answer; the last
    answer may go beyond the end of the file.

    Args:
        path: of the file.
        options: those of the data set in training.
        x: the variables of the input; by default those of training.
        y: the names of the answer; by default those of training.

    Attributes:
        file: the file, opened.
        names: of the variables of the answer.
        series: whether the file is a series in time.
        alone: whether it is one trajectory, without an axis of samples.
        rows: the inputs of each row of the written arrays: one for each sample of pairs; for each
            trajectory, those of its windows.
    """

    def __init__(
        self, path: Path, options: Mapping[str, Any], x: Sequence[str] = (), y: Sequence[str] = ()
    ) -> None:
        stated = {name: options[name] for name in (*NAMES, *GRID) if options.get(name) is not None}
        wanted = wanted_of(**{**stated, **({"x": list(x)} if x else {})})
        self.series, self.names = wanted.order.series, tuple(y or wanted.y)
        self._stated = bool(y)
        known: Wanted = replace(wanted, alone=False, y=wanted.y if self.series else (), precise=True)
        self._set = FileSet([path], known)
        self.file: FieldFile = self._set.parts[0]
        self.inputs, self.outputs, self.step = (
            int(options.get(name, 1)) for name in ("inputs", "outputs", "step")
        )
        self._pairs, self._frames = FilePairs(self._set), FileFrames(self._set) if self.series else None
        if self.series and self.file.frames < self.step * (self.inputs - 1) + 1:
            wanted_frames = f"{self.inputs} frames in {path.name}, as in training"
            raise ValueError(expected(wanted_frames, self.file.frames, "a longer series"))
        fields = self.file.targets or self.file.fields
        self.alone = self.series and not any("B" in each.roles for each in fields)
        self.rows = [self._starts(sample) for sample in range(self.file.samples)]

    def _starts(self, sample: int) -> list[tuple[int, int]]:
        last = self.file.frames - self.step * (self.inputs - 1)
        ahead = self.step * self.outputs
        return [(sample, start) for start in range(0, last, ahead)] if self.series else [(sample, 0)]

    def batches(self, size: int) -> Iterator[dict[str, Any]]:
        """The arguments of each call, with up to ``size`` inputs."""
        places = [place for row in self.rows for place in row]
        for start in range(0, len(places), size):
            x = torch.stack([self._x(*place) for place in places[start : start + size]])
            yield {"x": x, **self._set.entries(self.file)}

    def __len__(self) -> int:
        return sum(map(len, self.rows))

    def _x(self, sample: int, start: int) -> Tensor:
        if self._frames is None:
            return self._pairs.input(sample)
        places = range(start, start + self.step * self.inputs, self.step)
        frames, known = self._frames.read(sample, places).flatten(0, 1), self._frames.known(sample, places)
        return frames if known is None else torch.cat([frames, known])

    def written(self, answer: Tensor, squeezed: bool) -> dict[str, Tensor]:
        """The variables of an answer, in the order of rows of the file, with nan where the mask is 0.

        Args:
            answer: of a call.
            squeezed: whether variables of one channel have no axis of channels.

        Shapes:
            - answer: ``(n, C, *S)``, of series ``(n, outputs * C, *S)``
            - returns: ``(n, C, *S)``, of series ``(n, outputs, C, *S)``
        """
        grid, axis = self.file.grid, 2 if self.series else 1
        if self.file.mask is not None and answer.shape[2:] == grid.shape:
            answer = torch.where(self.file.mask > 0, answer, torch.nan)
        turned = [2 + axis for axis, flip in enumerate(grid.flipped) if flip]
        answer = answer.flip(turned) if turned else answer
        answer = answer.unflatten(1, (self.outputs, -1)) if self.series else answer
        sizes = self._channels(answer.shape[axis])
        if len(sizes) != len(self.names) and self._stated:
            wanted = f"a name for each of {len(sizes)} variables of the answer"
            raise ValueError(expected(wanted, list(self.names), "names in the order of y"))
        names = self.names if len(sizes) == len(self.names) else ("y",)
        parts = dict(zip(names, answer.split(sizes, axis), strict=True))
        alone = [name for name, size in zip(names, sizes, strict=True) if squeezed and size == 1]
        return {name: part.squeeze(axis) if name in alone else part for name, part in parts.items()}

    def _channels(self, count: int) -> list[int]:
        """The channels of each variable of an answer of ``count`` channels."""
        of_frame = [len(each.channels) for each in self.file.targets]
        if sum(of_frame) == count:
            return of_frame
        return [1] * count if len(self.names) == count else [count]

    def labels(self, answers: Mapping[str, Tensor]) -> Labels:
        """The axes, coordinates and units of variables, as in the input.

        Args:
            answers: variables of one batch, from `written`, or with a row for each input.
        """
        grid = self.file.grid
        row, time = self._axis("B", "sample"), self._axis("T", "time")
        front = (row, time) if self.series else (row,)
        axes: dict[str, tuple[str, ...]] = {}
        attributes = {}
        for name, values in answers.items():
            if values.dim() == 1:
                axes[name] = (row, "call") if self.series else (row,)
                continue
            own = values.dim() - len(front) - len(grid.shape)
            same = tuple(values.shape[-len(grid.shape) :]) == grid.shape
            space = grid.names if same else tuple(f"fine_{axis}" for axis in grid.names)
            axes[name] = (*front, *(f"{name}_channel",) * own, *space)
            attributes[name] = self.file.attributes_of(name)
        if self.alone:
            axes = {name: dims[1:] for name, dims in axes.items()}
        coordinates = {name: self.file.coordinate(name) for name in (*grid.names, row)}
        known = {name: found for name, found in coordinates.items() if found is not None}
        if self.series and self.file.times is not None:
            clock = self.file.coordinate(time) or self.file.coordinate(str(self.file.wanted.order.time))
            times = self.file.times if self.file.times.ndim == 1 else self.file.times[0]
            known[time] = (self._ahead(times), {} if clock is None else clock[1])
        return Labels(axes, known, attributes)

    def _axis(self, role: str, default: str) -> str:
        named = (self.file.targets or self.file.fields)[0]
        dim = named.stored.dims[named.roles.index(role)] if role in named.roles else None
        return dim or default

    def _ahead(self, times: Any) -> Any:
        """The times of the answers; beyond the end of the file at its last interval."""
        count = len(self.rows[0]) * self.outputs
        places = self.step * (self.inputs + np.arange(count))
        last = times[-1] - times[-2] if len(times) > 1 else 1.0
        beyond = np.maximum(places - (len(times) - 1), 0)
        return times[np.minimum(places, len(times) - 1)] + beyond * last
