"""Samples on meshes from files: pairs of fields, and trajectories, of which what fits stays in memory."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from neuralop_irno.data.cells import MESHIO_NAMES
from neuralop_irno.data.in_time import REGULAR
from neuralop_irno.data.mesh_windows import OF_TRAJECTORIES, MeshTrajectories, Vectors
from neuralop_irno.data.readers.mesh_files import Mesh, mesh_of, read_mesh
from neuralop_irno.data.readers.mesh_graphs import POSITION
from neuralop_irno.data.readers.mesh_series import Series, files_of
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.errors import expected
from neuralop_irno.recently_used import RecentlyUsed

KEPT_BYTES = 2 * 2**30
"""Memory for samples and frames of a data set that were read last; the others are read again."""

SAME_BOX = 0.05
"""Boxes around meshes are one domain if their sides differ by less than this share of the longest one."""

SAME_NODES = 1e-6
"""Nodes are at one place if they differ by less than this share of the size of the mesh."""


@dataclass(frozen=True)
class Wanted:
    """What is read of a mesh.

    Attributes:
        x: fields of the input.
        y: fields of the target; none for trajectories.
        static: fields that are constant in time, further channels of the input.
        tags: sets and groups, each a channel of 0 and 1.
        boundary: whether there is such a channel for the boundary.
        on: where fields are, ``nodes`` or ``cells``; None if their names decide.
        neighbours: edges to each point of a file without cells.
        precise: whether fields stored in double precision are read so, and not in single precision.
    """

    x: tuple[str, ...]
    y: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    boundary: bool = False
    on: str | None = None
    neighbours: int = 0
    precise: bool = False

    @property
    def inputs(self) -> str:
        """The names of the input, for summaries."""
        more = [*self.static, *self.tags, *(["boundary"] if self.boundary else [])]
        return ", ".join(self.x) + (f"; static {', '.join(more)}" if more else "")

    def place(self, mesh: Mesh, truth: bool = True) -> str:
        """Where the fields are; with ``truth`` also those of the target."""
        return mesh.place_of([*self.x, *(self.y if truth else ()), *self.static], self.on)

    def input(self, mesh: Mesh, like: Any = None) -> Any:
        """A graph without targets: x, then what is constant in time.

        Args:
            mesh: with the fields.
            like: a graph on the same mesh, whose edges are used again.
        """
        place = self.place(mesh, truth=False)
        graph = mesh.skeleton(place, self.neighbours) if like is None else copy.copy(like)
        graph.x = torch.cat([mesh.columns(self.x, place, self.precise), self.constant(mesh, place)], 1)
        return graph

    def pair(self, mesh: Mesh) -> Any:
        """A graph with x and y."""
        place = self.place(mesh)
        graph = self.input(mesh)
        graph.y = mesh.columns(self.y, place, self.precise)
        return graph

    def constant(self, mesh: Mesh, place: str) -> Tensor:
        """The channels that are constant in time."""
        parts = [mesh.columns(self.static, place, self.precise)] if self.static else []
        return torch.cat([*parts, mesh.flags(self.tags, self.boundary, place)], 1)

    def channels(self, mesh: Mesh, names: Sequence[str]) -> tuple[str, ...]:
        """The names of the channels of fields: ``u``, or ``v_0``, ``v_1`` of a vector."""
        return tuple(channel for each in self.components(mesh, names).values() for channel in each)

    def vectors(self, mesh: Mesh, names: Sequence[str]) -> list[tuple[int, ...]]:
        """The channels that are the components of a vector, for each vector among some fields."""
        places = {channel: place for place, channel in enumerate(self.channels(mesh, names))}
        parts = self.components(mesh, names).values()
        return [tuple(places[each] for each in part) for part in parts if len(part) > 1]

    def components(self, mesh: Mesh, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The names of the channels of each field."""
        widths = zip(names, mesh.widths(names, self.place(mesh)), strict=True)
        return {
            name: (name,) if width == 1 else tuple(f"{name}_{axis}" for axis in range(width))
            for name, width in widths
        }


class Seen:
    """What a summary says of the meshes of a data set."""

    def __init__(self) -> None:
        self.nodes: list[int] = []
        self.place = "nodes"
        self.kinds: Counter[str] = Counter()
        self.boxes: list[Any] = []

    def add(self, mesh: Mesh, graph: Any, place: str) -> None:
        """Count a mesh, whose fields are on its nodes or cells."""
        self.nodes.append(graph.num_nodes)
        self.place = place
        self.kinds.update({MESHIO_NAMES[int(kind)]: 1 for kind in np.unique(mesh.shape.types)})
        self.boxes.append(np.ptp(mesh.pos.numpy(), axis=0))
        if len(self.boxes[0]) != len(self.boxes[-1]):
            wanted = "meshes that all lie in the plane z = 0, or none"
            got = f"{len(self.boxes[-1])} coordinates in {mesh.name}, {len(self.boxes[0])} before"
            raise ValueError(expected(wanted, got, "moving them to one plane (ParaView: Transform)"))

    def __str__(self) -> str:
        low, high = min(self.nodes), max(self.nodes)
        kinds = ", ".join(self.kinds) or "points"
        return f"{low if low == high else f'{low} to {high}'} {self.place} ({kinds})"

    @property
    def resolution(self) -> Resolution:
        """One domain, if the boxes around the meshes have the same sides; else nothing is known."""
        sides = np.stack(self.boxes)
        alike = np.ptp(sides, axis=0).max() <= SAME_BOX * sides.max()
        return Resolution(extent="fixed" if alike else None)


class MeshPairs(Dataset[Any]):
    """Pairs of fields, one mesh file each.

    Args:
        paths: of the files.
        wanted: the fields.

    Attributes:
        fields: the names of the channels of y.
        vectors: for x and for y the channels that are the components of a vector, one tuple each.
        metric: VRMSE, since fields are in physical units and a relative error would depend on their zero.
        files: the files that are read.
        resolution: what is known of the meshes.
    """

    metric = "vrmse"

    def __init__(self, paths: Sequence[Path], wanted: Wanted) -> None:
        self.paths, self.wanted = list(paths), wanted
        self.files = tuple(dict.fromkeys(file for path in paths for file in files_of(path)))
        self._kept, self._seen = RecentlyUsed[Any](KEPT_BYTES), Seen()
        widths = set()
        for place, path in enumerate(self.paths):
            mesh = read_mesh(path)
            graph = self._keep(place, mesh)
            self._seen.add(mesh, graph, wanted.place(mesh))
            self.fields = wanted.channels(mesh, wanted.y)
            self.vectors: Vectors = (wanted.vectors(mesh, wanted.x), wanted.vectors(mesh, wanted.y))
            widths.add((graph.x.shape[1], graph.y.shape[1]))
            if len(widths) > 1:
                got = f"{' and '.join(map(str, sorted(widths)))} up to {path.name}"
                wish = "files whose fields have the same numbers of channels, (of x, of y)"
                raise ValueError(expected(wish, got, "vectors of one length in all files"))
        self.resolution = self._seen.resolution

    def __repr__(self) -> str:
        return f"MeshPairs({self.summary})"

    @property
    def summary(self) -> str:
        """One line on what was read."""
        return f"pairs: {len(self)}, x {self.wanted.inputs}; y {', '.join(self.wanted.y)}, on {self._seen}"

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        place = range(len(self))[index]
        found = self._kept.get(place)
        return self._keep(place, read_mesh(self.paths[place])) if found is None else found

    def _keep(self, place: int, mesh: Mesh) -> Any:
        try:
            graph = self.wanted.pair(mesh)
        except ValueError as error:
            error.add_note(f"in {self.paths[place].name}")
            raise
        for name in OF_TRAJECTORIES:
            if name in graph:
                delattr(graph, name)
        self._kept.put(place, graph, _bytes(graph))
        return graph


class SeriesTrajectories(MeshTrajectories):
    """Trajectories in files.

    Args:
        series: the files, a trajectory each.
        wanted: the fields of a frame, and what is constant in time.
        places: the frames of each series that are used; by default all.
    """

    def __init__(self, series: Sequence[Series], wanted: Wanted, places: range | None = None) -> None:
        self.series, self.wanted = list(series), wanted
        self._frames = [range(len(each)) if places is None else places for each in self.series]
        self.lengths = [len(places) for places in self._frames]
        self._meshes, self._kept = RecentlyUsed[Any](KEPT_BYTES), RecentlyUsed[Tensor](KEPT_BYTES)
        self.seen = Seen()
        names = set()
        for trajectory, each in enumerate(self.series):
            _ascending(each)
            mesh, graph = self._mesh(trajectory)
            self.seen.add(mesh, graph, wanted.place(mesh))
            self.fields = wanted.channels(mesh, wanted.x)
            components = wanted.components(mesh, wanted.x)
            self.vectors = {name: each for name, each in components.items() if len(each) > 1}
            names.add((self.fields, graph.static.shape[1] if "static" in graph else 0))
        if len(names) > 1:
            wish = "series whose fields have the same numbers of channels"
            raise ValueError(expected(wish, f"{sorted(names)}", "vectors of one length in all files"))

    @property
    def summary(self) -> str:
        """One line on what was read."""
        low, high = min(self.lengths), max(self.lengths)
        spans = sorted({_span(times) for each in self.series if (times := each.times)})
        time = f", times {spans[0]}" if len(spans) == 1 else ""
        frames = low if low == high else f"{low} to {high}"
        what = self.wanted.inputs
        return f"trajectories: {len(self)} of {frames} frames{time}, {what}, on {self.seen}"

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are read."""
        return tuple(dict.fromkeys(file for each in self.series for file in each.files))

    def part(self, trajectory: int, places: range) -> Any:
        mesh, skeleton = self._mesh(trajectory)
        own = self._frames[trajectory]
        numbers = [own[place] for place in places]
        frames = {number: self._kept.get((trajectory, number)) for number in numbers}
        missing = [number for number, frame in frames.items() if frame is None]
        if missing:
            read = self.series[trajectory].read(missing)
            for number, found in zip(missing, read, strict=True):
                frames[number] = self._frame(trajectory, number, mesh, found)
        graph, times = skeleton.clone(), self.series[trajectory].times
        graph.x = torch.stack([frame for frame in frames.values() if frame is not None], 1)
        if times is not None:
            graph.times = torch.tensor([times[number] for number in numbers], dtype=torch.float64)
        return graph

    def times(self, trajectory: int) -> Tensor | None:
        known = self.series[trajectory].times
        if known is None:
            return None
        return torch.tensor([known[number] for number in self._frames[trajectory]], dtype=torch.float64)

    def _mesh(self, trajectory: int) -> tuple[Mesh, Any]:
        """The mesh of a trajectory, that of its first frame, and its graph without frames."""
        known = self._meshes.get(trajectory)
        if known is not None:
            return known
        series, first = self.series[trajectory], self._frames[trajectory][0]
        (found,) = series.read([first])
        mesh = mesh_of(found, series.name)
        place = self.wanted.place(mesh)
        graph = mesh.skeleton(place, self.wanted.neighbours)
        static = self.wanted.constant(mesh, place)
        if static.shape[1]:
            graph.static = static
        self._keep(trajectory, first, mesh.columns(self.wanted.x, place, self.wanted.precise))
        self._meshes.put(trajectory, (mesh, graph), 3 * _bytes(graph))
        return mesh, graph

    def _frame(self, trajectory: int, number: int, first: Mesh, found: Any) -> Tensor:
        name = f"frame {number} of {self.series[trajectory].name}"
        mesh = mesh_of(found, name)
        _refuse_other_mesh(first, mesh, name, POSITION in self.wanted.x)
        place = self.wanted.place(mesh)
        for field in self.wanted.static:
            if field != POSITION and not torch.equal(
                mesh.columns([field], place), first.columns([field], place)
            ):
                hint = f"x: [{', '.join([*self.wanted.x, field])}]"
                raise ValueError(expected(f"{field} that is constant in time", f"another {name}", hint))
        return self._keep(trajectory, number, mesh.columns(self.wanted.x, place, self.wanted.precise))

    def _keep(self, trajectory: int, number: int, frame: Tensor) -> Tensor:
        self._kept.put((trajectory, number), frame, frame.nbytes)
        return frame


def _span(times: Sequence[float]) -> str:
    """The first and the last time, and the distances between frames if they differ."""
    gaps = np.diff(times)
    low, high = gaps.min(initial=np.inf), gaps.max(initial=0)
    regular = high <= (1 + REGULAR) * low
    return f"{times[0]:g} to {times[-1]:g}{'' if regular else f' at distances of {low:g} to {high:g}'}"


def _refuse_other_mesh(first: Mesh, mesh: Mesh, name: str, moving: bool) -> None:
    if len(first.pos) != len(mesh.pos) or not np.array_equal(first.shape.corners, mesh.shape.corners):
        hint = "frames moved to one mesh, as ParaView's filter Resample With Dataset does"
        raise ValueError(expected("one mesh in all frames", f"other cells in {name}", hint))
    if first.pos.shape != mesh.pos.shape:
        hint = "a first frame in space, or one with z = 0 in all frames"
        raise ValueError(
            expected("nodes in space, or in the plane z = 0, in all frames", f"others in {name}", hint)
        )
    size = float(np.ptp(first.pos.numpy(), axis=0).max())
    if not moving and (first.pos - mesh.pos).abs().max().item() > SAME_NODES * size:
        hint = f"x: [.., {POSITION}], which makes the coordinates a field; the edges stay those of the first"
        raise ValueError(expected("nodes that do not move", f"others in {name}", hint))


def _ascending(series: Series) -> None:
    times = series.times
    if times is not None and not all(a < b for a, b in itertools.pairwise(times)):
        wanted = f"ascending times in {series.name}"
        raise ValueError(expected(wanted, f"{list(times)[:6]}", "writing frames in the order of time"))


def _bytes(graph: Any) -> int:
    parts: Mapping[str, Any] = graph.to_dict()
    return sum(part.nbytes for part in parts.values() if isinstance(part, Tensor))
