"""The trajectories of any data set that has time: the one notion of it, which ``irno rollout`` reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.data.flows import Flow, Flows, on_graph
from neuralop_irno.data.frames import FrameWindows
from neuralop_irno.data.graphs import GraphDataset
from neuralop_irno.data.joined import join_pairs, runs_of
from neuralop_irno.data.mesh_windows import MeshWindows
from neuralop_irno.data.trajectories import FramePairs
from neuralop_irno.errors import expected

TIMED = "turbulence, the_well, zarr, shallow_water, waves, ce_gauss or rigno_file"
"""Names of data sets that have time, for errors."""


def flows_of(data: Any, steps: int | None = None) -> Flows:
    """The trajectories of a data set.

    Args:
        data: windows of flows on a grid or sphere in memory (`FieldDataset`) or in files (`FrameWindows`: The
            Well, Zarr, own series), pairs of frames on points (`FramePairs`), series on meshes
            (`MeshWindows`), or graphs whose y holds the frames that follow x.
        steps: frames of each flow; shorter trajectories are left out. By default those of the longest, at
            most 20.

    Raises:
        TypeError: the data have no time.
        ValueError: no trajectory has as many frames.

    Example:
        >>> from neuralop_irno.data.fields import windows
        >>> flows = flows_of(windows(torch.randn(3, 9, 16), inputs=2, fields=["w"], step=0.1))
        >>> flows
        Flows(3 of 7 frames of w)
        >>> flows[0].start.shape, flows[0].frames.shape
        (torch.Size([1, 2, 1, 16]), torch.Size([1, 7, 1, 16]))
    """
    for kind, source in SOURCES.items():
        if isinstance(data, kind) and getattr(data, "in_time", data) is not None:
            return source(data, steps)
    wanted = f"data with trajectories in time, such as {TIMED}"
    raise TypeError(
        expected(wanted, f"{data!r}, whose samples have no time", "windows(..), FrameWindows(..)")
    )


class _Joined(Flows):
    """Windows in memory, joined where one continues the other."""

    def __init__(self, data: FieldDataset, steps: int | None) -> None:
        known = data.in_time
        assert known is not None
        count = len(known.fields)
        _, lengths = runs_of(data, count, known.inputs)
        super().__init__(known.fields, known.inputs, known.outputs, lengths.tolist(), steps)
        self.given = {} if data.resolution.sphere is None else {"sphere": data.resolution.sphere}
        self._found = join_pairs(data, self.steps, count, known.inputs)
        self._times = _equidistant(self.steps, known.step)
        self._rows = {trajectory: row for row, trajectory in enumerate(self._long)}

    def _flow(self, trajectory: int) -> Flow:
        row = self._rows[trajectory]
        found, here = self._found, slice(row, row + 1)
        static = None if found.static is None else found.static[here]
        return Flow(found.start[here], static, None, found.frames[here], self._times)


class _Read(Flows):
    """Trajectories on a grid that stay on disk."""

    def __init__(self, data: FrameWindows, steps: int | None) -> None:
        self._data = data
        lengths = [(length - 1) // data.step + 1 - data.inputs for length in data.frames.lengths]
        super().__init__(data.fields, data.inputs, data.outputs, lengths, steps, data.scaling)
        self.units, self.coordinates = data.frames.units, data.frames.coordinates
        self.attributes = data.frames.attributes
        known = {"measure": data.frames.measure, "sphere": data.resolution.sphere}
        self.given = {name: value for name, value in known.items() if value is not None}

    def _flow(self, trajectory: int) -> Flow:
        data, inputs = self._data, self.inputs
        frames = data.frames.read(trajectory, range(0, (inputs + self.steps) * data.step, data.step))
        if self.scaling is not None:
            frames = self.scaling.undo(frames)
        static, forcing = self._known(trajectory)
        return Flow(frames[None, :inputs], static, forcing, frames[None, inputs:], self._times(trajectory))

    def _known(self, trajectory: int) -> tuple[Tensor | None, Tensor | None]:
        """The further channels of x: constant in time, or those of the call that predicts each frame."""
        each = [
            self._data.frames.known(trajectory, self._places(ahead))
            for ahead in range(0, self.steps, self.outputs)
        ]
        known = [channels for channels in each if channels is not None]
        if not known:
            return None, None
        if all(torch.equal(channels, known[0]) for channels in known):
            return known[0][None], None
        if self.outputs > 1:
            wanted = "channels of x besides the frames that do not change in time, for outputs > 1"
            raise ValueError(expected(wanted, f"others in {self._data!r}", "outputs=1, or scalars=False"))
        return None, torch.stack(known)[None]

    def _places(self, ahead: int) -> range:
        """The input frames of the call that predicts frame ``ahead``."""
        step = self._data.step
        return range(ahead * step, (ahead + self.inputs) * step, step)

    def _times(self, trajectory: int) -> Tensor | None:
        times = self._ahead(trajectory)
        return None if times is None else times[None, : self.steps + 1]

    def _ahead(self, trajectory: int) -> Tensor | None:
        """The times of the last given frame, and of all that follow."""
        times = self._data.frames.times(trajectory)
        return None if times is None else times[:: self._data.step][self.inputs - 1 :]

    def times(self) -> Tensor | None:
        return self._ahead(self._long[0])


class _OnPoints(Flows):
    """Trajectories on points, every shortest lead of the data."""

    def __init__(self, data: FramePairs, steps: int | None) -> None:
        self._data, self._lead = data.trajectories, min(data.leads)
        count = self._data.frame(0, 0).shape[1]
        fields = self._data.fields or tuple(f"u{place}" for place in range(count))
        self._every = range(0, len(self._data.times), self._lead)
        super().__init__(fields, 1, 1, [len(self._every) - 1] * len(self._data), steps)

    def _flow(self, trajectory: int) -> Flow:
        data, places = self._data, self._every[: self.steps + 1]
        frames = torch.stack([data.frame(trajectory, place) for place in places], 1)
        each = [data.coefficients(trajectory, place) for place in places[:-1]]
        known = [channels for channels in each if channels is not None]
        graph = data.graph(trajectory, 0, self._lead)
        static, forcing = None, None
        if known and all(torch.equal(channels, known[0]) for channels in known):
            static = known[0]
        elif known:
            forcing = torch.stack(known, 1)
        times = data.times[torch.tensor(places)][None].double()
        return on_graph(graph, frames[:, :1], static, forcing, frames[:, 1:], times)


class _OnMeshes(Flows):
    """Trajectories on meshes."""

    def __init__(self, data: MeshWindows, steps: int | None) -> None:
        self._parts = data.trajectories
        lengths = [length - data.inputs for length in self._parts.lengths]
        super().__init__(data.fields, data.inputs, data.outputs, lengths, steps)
        self.vectors = self._parts.vectors

    def _flow(self, trajectory: int) -> Flow:
        graph = self._parts.part(trajectory, range(self.inputs + self.steps))
        times, static = getattr(graph, "times", None), getattr(graph, "static", None)
        start, frames = graph.x[:, : self.inputs], graph.x[:, self.inputs :]
        ahead = None if times is None else times[None, self.inputs - 1 :]
        return on_graph(graph, start, static, None, frames, ahead)

    def times(self) -> Tensor | None:
        times = self._parts.times(self._long[0])
        return None if times is None else times[self.inputs - 1 :]


class _OnGraphs(Flows):
    """Graphs whose y holds the frames that follow x."""

    def __init__(self, data: GraphDataset, steps: int | None) -> None:
        known = data.in_time
        assert known is not None
        self._data, self._known = data, known
        super().__init__(known.fields, known.inputs, known.outputs, [known.outputs] * len(data), steps)
        self._times = _equidistant(self.steps, known.step)

    def _flow(self, trajectory: int) -> Flow:
        graph, count = self._data[trajectory], len(self.fields)
        start, static = graph.x[:, : self._known.channels], graph.x[:, self._known.channels :]
        return on_graph(
            graph,
            start.unflatten(1, (self.inputs, count)),
            static if static.shape[1] else None,
            None,
            graph.y.unflatten(1, (self.outputs, count))[:, : self.steps],
            self._times,
        )


SOURCES: Mapping[type, Callable[[Any, int | None], Flows]] = {
    FieldDataset: _Joined,
    FrameWindows: _Read,
    FramePairs: _OnPoints,
    MeshWindows: _OnMeshes,
    GraphDataset: _OnGraphs,
}
"""Kinds of data sets that may have time."""


def _equidistant(steps: int, step: float) -> Tensor:
    """The times of the start and of the frames that follow, ``(1, 1 + steps)``."""
    return torch.arange(steps + 1, dtype=torch.float64)[None] * step
