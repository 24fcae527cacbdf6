"""Frames to start rollouts from, without a truth: in files of arrays, or as fields on meshes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.data.flows import Flow, Flows, on_graph
from neuralop_irno.data.in_time import REGULAR, step_of
from neuralop_irno.data.readers import mesh_sets
from neuralop_irno.data.readers.array_formats import NETCDF, SUFFIXES
from neuralop_irno.data.readers.file_inputs import GRID, NAMES
from neuralop_irno.data.readers.file_sets import FileFrames, FileSet
from neuralop_irno.data.readers.files import wanted_of
from neuralop_irno.data.readers.mesh_inputs import MeshInputs
from neuralop_irno.data.readers.mesh_samples import SeriesTrajectories
from neuralop_irno.data.readers.named_arrays import NamedArrays
from neuralop_irno.errors import expected

TRUTH = "y"
"""An array that is not read, so that files of training can be given."""


def starts_of(
    path: str | os.PathLike[str],
    like: Flows,
    steps: int,
    names: Sequence[str] = (),
    data: Mapping[str, Any] | None = None,
    step: float | None = None,
) -> Flows:
    """Flows without frames, from the formats that `predict` reads.

    x holds the frames as channels, the oldest first and in the units of the data's files, and then the
    constant channels, as samples of the data do. Series of named fields start from their last frames.

    Args:
        path: a file of arrays with x, ``(n, channels, *S)``; a series of the fields that ``data`` names; a
            mesh with fields, or a folder of such meshes.
        like: flows of the data that the model was trained on: the names of fields, windows and scaling.
        steps: frames to predict.
        names: of the fields of meshes that are the channels of x, in order; by default those of ``data``.
        data: the options of the data set ``files`` or ``mesh_files`` that the model was trained on.
        step: the time between two frames; by default that of ``like``, at equal distances.

    Raises:
        ValueError: the times of ``like`` have other distances, and no step is given; the frames of a file
            have another distance than this step.
    """
    source, known = Path(path), data or {}
    if known.get("name") == "mesh_files" and not names:
        return _Series(source, like, steps, known, step)
    if source.suffix in SUFFIXES:
        if names:
            raise ValueError(expected("no names of fields, for arrays", list(names), "a mesh, or no names"))
        if source.suffix in NETCDF or known.keys() & set(NAMES):
            return _Named(source, like, steps, known, step)
        return _Arrays(source, like, steps, step)
    inside = mesh_sets.meshes_in(source) if source.is_dir() else [source]
    return _Meshes(inside, like, steps, names, step)


class _Starts(Flows):
    """Flows without frames that follow; their times begin at 0, with the step of the data."""

    def __init__(self, count: int, like: Flows, steps: int, step: float | None) -> None:
        super().__init__(like.fields, like.inputs, like.outputs, [steps] * count, steps, like.scaling)
        self.units, self.vectors, self.given = like.units, like.vectors, like.given
        times = None if step is not None else like.times()
        self._trained = None if times is None else step_of(times.tolist(), "the data of the model")
        self._step = self._trained if step is None else step

    def _times(self, start: float = 0.0) -> Tensor | None:
        """The times of the start and of the frames that follow."""
        if self._step is None:
            return None
        return start + self._step * torch.arange(self.steps + 1, dtype=torch.float64)[None]

    def _frames(self, channels: int, name: str) -> int:
        """The number of channels that are frames, checked."""
        wanted = self.inputs * len(self.fields)
        if channels < wanted:
            what = (
                f"x of {wanted} channels or more in {name}, {self.inputs} frames of {', '.join(self.fields)}"
            )
            raise ValueError(expected(what, channels, "all frames as channels, the oldest first"))
        return wanted

    def _check_distances(self, times: Tensor | None, name: str) -> None:
        """Raise ValueError if the frames to start from are not as far apart as in training."""
        if times is None or self._trained is None:
            return
        gaps = times.double().diff()
        if ((gaps - self._trained).abs() > REGULAR * self._trained).any():
            wanted = f"frames at distances of {self._trained:g} in time in {name}, as in training"
            got = ", ".join(f"{gap:g}" for gap in gaps.unique().tolist()[:6])
            raise ValueError(expected(wanted, got, f"step={gaps[-1]:g} if the file has other units of time"))

    def _check_lengths(self, lengths: Sequence[int], needed: int, name: str) -> None:
        if min(lengths) < needed:
            wanted = f"{needed} frames in {name}, to start from the last"
            raise ValueError(expected(wanted, min(lengths), "a longer series"))


class _Arrays(_Starts):
    """The samples of an array x."""

    def __init__(self, path: Path, like: Flows, steps: int, step: float | None) -> None:
        self._arrays = NamedArrays(path)
        shapes = {name: shape for name, shape in self._arrays.shapes.items() if name != TRUTH}
        shape = shapes.pop("x", ())
        if len(shape) < 3 or not shape[0] or shapes:
            wanted, got = f"x (n, channels, *S) alone in {path.name}", dict(self._arrays.shapes)
            raise ValueError(expected(wanted, got, "irno.rollout(model, start, steps, given=..) in Python"))
        super().__init__(shape[0], like, steps, step)
        self._count = self._frames(shape[1], path.name)

    def _flow(self, trajectory: int) -> Flow:
        x = self._arrays.part("x", slice(trajectory, trajectory + 1), precise=True)
        static = x[:, self._count :]
        start = x[:, : self._count].unflatten(1, (self.inputs, len(self.fields)))
        return Flow(start, static if static.shape[1] else None, times=self._times())


class _Named(_Starts):
    """The last frames of each series of named variables."""

    def __init__(
        self, path: Path, like: Flows, steps: int, data: Mapping[str, Any], step: float | None
    ) -> None:
        stated = {name: data[name] for name in (*NAMES, *GRID) if data.get(name) is not None}
        wanted = wanted_of(**stated)
        if not wanted.order.series:
            raise ValueError(expected("data whose config names an axis of time", stated, "time: t"))
        self._series = FileFrames(FileSet([path], replace(wanted, precise=True)))
        part = self._series.source.parts[0]
        changing = [each.name for each in (*part.fields, *part.scalars) if "T" in each.roles]
        forcing = [name for name in changing if name not in wanted.y]
        if forcing:
            hint = "irno.rollout(model, start, steps, forcing=..) in Python"
            raise ValueError(expected("inputs that do not change in time", forcing, hint))
        self._every = int(data.get("step", 1))
        super().__init__(len(self._series.lengths), like, steps, step)
        self._name = path.name
        self.coordinates, self.attributes = self._series.coordinates, self._series.attributes
        self._check_lengths(self._series.lengths, self._every * (self.inputs - 1) + 1, path.name)

    def _flow(self, trajectory: int) -> Flow:
        last = self._series.lengths[trajectory] - 1
        places = range(last - self._every * (self.inputs - 1), last + 1, self._every)
        start, known = self._series.read(trajectory, places), self._series.known(trajectory, places)
        times = self._series.times(trajectory)
        self._check_distances(None if times is None else times[places], self._name)
        now = 0.0 if times is None else float(times[last])
        return Flow(start[None], None if known is None else known[None], times=self._times(now))


class _Meshes(_Starts):
    """The fields of meshes, one trajectory for each file."""

    def __init__(
        self, paths: Sequence[Path], like: Flows, steps: int, names: Sequence[str], step: float | None
    ) -> None:
        super().__init__(len(paths), like, steps, step)
        self._paths, self._inputs = paths, MeshInputs({}, names)

    def _flow(self, trajectory: int) -> Flow:
        path = self._paths[trajectory]
        _, graph = next(self._inputs.frames(path))
        count = self._frames(graph.x.shape[1], path.name)
        start = graph.x[:, :count].unflatten(1, (self.inputs, len(self.fields)))
        static = graph.x[:, count:]
        return on_graph(graph, start, static if static.shape[1] else None, times=self._times())


class _Series(_Starts):
    """The last frames of each series on meshes, with the fields of training."""

    def __init__(
        self, path: Path, like: Flows, steps: int, data: Mapping[str, Any], step: float | None
    ) -> None:
        wanted = mesh_sets.wanted_of(**{name: data[name] for name in mesh_sets.NAMES if name in data})
        wanted = replace(wanted, precise=True)
        self._series = SeriesTrajectories(mesh_sets.sources_of(str(path), wanted), wanted)
        super().__init__(len(self._series), like, steps, step)
        self._name = path.name
        self._check_lengths(self._series.lengths, self.inputs, path.name)

    def _flow(self, trajectory: int) -> Flow:
        count = self._series.lengths[trajectory]
        graph = self._series.part(trajectory, range(count - self.inputs, count))
        times = getattr(graph, "times", None)
        self._check_distances(times, self._name)
        now = 0.0 if times is None else float(times[-1])
        return on_graph(graph, graph.x, getattr(graph, "static", None), times=self._times(now))
