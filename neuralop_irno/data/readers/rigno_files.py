"""The data sets published with RIGNO: netCDF (HDF5) files, read frame by frame."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from neuralop_irno.data.point_clouds import PointCloud
from neuralop_irno.data.readers.hdf5 import opened
from neuralop_irno.data.readers.published import PUBLISHED, Facts
from neuralop_irno.data.readers.rigno_layouts import layout_of
from neuralop_irno.data.sizes import three
from neuralop_irno.data.splits import parts_of
from neuralop_irno.data.trajectories import FramePairs, Solutions, Trajectories
from neuralop_irno.errors import check_choice, did_you_mean, expected
from neuralop_irno.registry import DATASETS


class RignoFile(Trajectories):
    """The trajectories in a file, in one of the layouts of `neuralop_irno.data.readers.rigno_layouts`.

    The file stays open (see `hdf5`), and only the requested frames are loaded.

    Args:
        path: the file.
        facts: metadata that is not in the file; by default that of the published data set of this name.
        samples: indices of the samples in the file; by default all.
        frames: indices of the frames in the file; by default all.

    Attributes:
        facts: the metadata.
        times: times of the frames; a single 0 for time-independent data.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        facts: Facts | None = None,
        samples: range | None = None,
        frames: range | None = None,
    ) -> None:
        self.path, self.files = Path(path), (Path(path),)
        if not self.path.is_file():
            hint = "the path of a .nc file"
            raise FileNotFoundError(expected("a data file", f"no file at {self.path}", hint))
        if facts is None and self.path.stem not in PUBLISHED:
            hint = f"facts=Facts(...), or {did_you_mean(self.path.stem, PUBLISHED)}"
            raise ValueError(expected("a file named like a published set", repr(self.path.name), hint))
        self.facts = facts or PUBLISHED[self.path.stem]
        self._layout = layout_of(opened(self.path), self.facts, self.path.name)
        self.samples = _within(samples, self._layout.samples, "samples")
        self.frames = _within(frames, self._layout.frames, "frames")
        start, end = self.facts.span or (0.0, 0.0)
        every = torch.linspace(start, end, self._layout.frames)
        self.times = every[torch.tensor(self.frames)]

    def __len__(self) -> int:
        return len(self.samples)

    def frame(self, sample: int, place: int) -> Tensor:
        at = self.frames[place]
        return self._layout.fields(opened(self.path), self.samples[sample], slice(at, at + 1))[0]

    def trajectory(self, sample: int) -> Tensor:
        places = slice(self.frames.start, self.frames.stop, self.frames.step)
        return self._layout.fields(opened(self.path), self.samples[sample], places)

    def coefficients(self, sample: int, place: int) -> Tensor | None:
        return self._layout.coefficients(opened(self.path), self.samples[sample], self.frames[place])

    def cloud(self, sample: int) -> PointCloud:
        return self._shared_cloud if self._layout.fixed else self._read_cloud(self.samples[sample])

    @cached_property
    def _shared_cloud(self) -> PointCloud:
        with torch.inference_mode(False):  # the cached tensors are also used in training
            return self._read_cloud(0)

    def _read_cloud(self, sample: int) -> PointCloud:
        return PointCloud(self._layout.points(opened(self.path), sample), self.facts.period)


def _within(places: range | None, count: int, name: str) -> range:
    """The given indices, checked to exist and ascend; all ``count`` by default."""
    if places is None:
        return range(count)
    if not places or places.step < 1 or places[0] < 0 or places[-1] >= count:
        wanted = f"ascending {name} from 0 to {count - 1}"
        raise ValueError(expected(wanted, places, f"{name}=range({count})"))
    return places


@DATASETS.register("rigno_file")
def rigno_file(
    path: str,
    samples: Sequence[int] = (512, 128, 256),
    leads: Sequence[int] = (1,),
    stride: int = 1,
    last: int | None = None,
    like: str | None = None,
) -> dict[str, FramePairs | Solutions]:
    """A published data set from its file, split as by RIGNO's authors.

    Training takes the first samples of the file, validation the next, and test the last. For
    time-dependent data x and y are frames, otherwise x holds the coefficients and y the solution.

    Args:
        path: the file.
        samples: numbers of training, validation and test samples.
        leads: frames between x and y.
        stride: use every ``stride``-th frame of the file.
        last: index in the file of the last frame used; by default the final one.
        like: name of the published data set; by default the file name.
    """
    counts = three("samples", samples, (512, 128, 256))
    if stride < 1:
        raise ValueError(expected("stride >= 1", stride, "stride=2"))
    facts = None
    if like is not None:
        check_choice("a published data set", like, PUBLISHED)
        facts = PUBLISHED[like]
    whole = RignoFile(path, facts)
    places = parts_of("samples", counts, len(whole))
    frames = range(0, len(whole.times) if last is None else last + 1, stride)
    parts = {split: RignoFile(path, facts, place, frames) for split, place in places.items()}
    if whole.facts.span is None:
        return {split: Solutions(part) for split, part in parts.items()}
    return {split: FramePairs(part, leads) for split, part in parts.items()}
