"""Frames to start rollouts from, without a truth: in files of arrays, or as fields on meshes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from neuralop_irno.data.flows import Flow, Flows, on_graph
from neuralop_irno.data.readers.array_formats import SUFFIXES
from neuralop_irno.data.readers.mesh_files import read_mesh
from neuralop_irno.data.readers.named_arrays import NamedArrays
from neuralop_irno.errors import expected

TRUTH = "y"
"""An array that is not read, so that files of training can be given."""


def starts_of(path: str | os.PathLike[str], like: Flows, steps: int, names: Sequence[str] = ()) -> Flows:
    """Flows without frames, from the formats that `predict` reads.

    x holds the frames as channels, the oldest first and in the units of the data's files, and then the
    constant channels, as samples of the data do.

    Args:
        path: a file of arrays with x, ``(n, channels, *S)``; a mesh with fields at its nodes, or a folder of
            such meshes.
        like: flows of the data that the model was trained on: the names of fields, windows and scaling.
        steps: frames to predict.
        names: of the fields of meshes that are the channels of x, in this order; by default all.
    """
    source = Path(path)
    if source.suffix in SUFFIXES:
        if names:
            raise ValueError(expected("no names of fields, for arrays", list(names), "a mesh, or no names"))
        return _Arrays(source, like, steps)
    inside = sorted(file for file in source.iterdir() if file.is_file()) if source.is_dir() else [source]
    if not inside:
        raise FileNotFoundError(expected(f"meshes in {source}", "an empty folder", "the folder of the files"))
    return _Meshes(inside, like, steps, names)


class _Starts(Flows):
    """Flows of one frame each or more, and none that follow."""

    def __init__(self, count: int, like: Flows, steps: int) -> None:
        super().__init__(like.fields, like.inputs, like.outputs, [steps] * count, steps, like.scaling)
        self.units, self.given = like.units, like.given

    def _frames(self, channels: int, name: str) -> int:
        """The number of channels that are frames, checked."""
        wanted = self.inputs * len(self.fields)
        if channels < wanted:
            what = (
                f"x of {wanted} channels or more in {name}, {self.inputs} frames of {', '.join(self.fields)}"
            )
            raise ValueError(expected(what, channels, "all frames as channels, the oldest first"))
        return wanted


class _Arrays(_Starts):
    def __init__(self, path: Path, like: Flows, steps: int) -> None:
        self._arrays = NamedArrays(path)
        shapes = {name: shape for name, shape in self._arrays.shapes.items() if name != TRUTH}
        shape = shapes.pop("x", ())
        if len(shape) < 3 or not shape[0] or shapes:
            wanted, got = f"x (n, channels, *S) alone in {path.name}", dict(self._arrays.shapes)
            raise ValueError(expected(wanted, got, "irno.rollout(model, start, steps, given=..) in Python"))
        super().__init__(shape[0], like, steps)
        self._count = self._frames(shape[1], path.name)

    def _flow(self, trajectory: int) -> Flow:
        x = self._arrays.part("x", slice(trajectory, trajectory + 1))
        static = x[:, self._count :]
        start = x[:, : self._count].unflatten(1, (self.inputs, len(self.fields)))
        return Flow(start, static if static.shape[1] else None)


class _Meshes(_Starts):
    def __init__(self, paths: Sequence[Path], like: Flows, steps: int, names: Sequence[str]) -> None:
        super().__init__(len(paths), like, steps)
        self._paths, self._names = paths, names

    def _flow(self, trajectory: int) -> Flow:
        path = self._paths[trajectory]
        graph = read_mesh(path).graph(self._names)
        count = self._frames(graph.x.shape[1], path.name)
        start = graph.x[:, :count].unflatten(1, (self.inputs, len(self.fields)))
        static = graph.x[:, count:]
        return on_graph(graph, start, static if static.shape[1] else None)
