"""The inputs of a model in mesh files, and files of its answers on the same cells."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from neuralop_irno.data.cells import Cells
from neuralop_irno.data.readers.mesh_files import mesh_of, write_fields
from neuralop_irno.data.readers.mesh_graphs import Mesh
from neuralop_irno.data.readers.mesh_samples import Wanted
from neuralop_irno.data.readers.mesh_series import found_in, series_of
from neuralop_irno.data.readers.mesh_sets import NAMES, wanted_of
from neuralop_irno.data.readers.vtkhdf import write_vtkhdf
from neuralop_irno.data.readers.vtkhdf_files import SUFFIX
from neuralop_irno.errors import expected


class MeshInputs:
    """What is read of mesh files for a model, and the names of its answers.

    Args:
        options: those of the data set `mesh_files` in training; none for models trained on other data.
        x: the fields of the input; by default those of training.
        y: the names of the answer's channels; by default the fields of training, or ``y0, y1, ..``.
    """

    def __init__(self, options: Mapping[str, Any], x: Sequence[str] = (), y: Sequence[str] = ()) -> None:
        if options.get("inputs", 1) != 1:
            got, hint = f"a model with inputs: {options['inputs']}", "irno rollout"
            raise ValueError(expected("a model that is called with one frame", got, hint))
        if not x and "x" not in options:
            raise ValueError(expected("the fields of the input", "none", "--fields T,q"))
        stated = {name: options[name] for name in NAMES if name in options}
        known = wanted_of(**{**stated, **({"x": list(x)} if x else {})})
        known = replace(known, precise=True)
        self.wanted: Wanted = known if "x" in stated else replace(known, y=())
        self._names, self._trained = tuple(y), "x" in stated

    def frames(self, path: Path) -> Iterator[tuple[Mesh, Any]]:
        """The meshes of a file, and their graphs with the input as x."""
        series = series_of(path)
        read = iter([found_in(path)]) if series is None else series.read(range(len(series)))
        first: tuple[Mesh, Any] | None = None
        for found in read:
            mesh = mesh_of(found, path.name)
            if first is None or not mesh.on_same(first[0]):
                first = mesh, self.wanted.input(mesh)
                yield first
            else:
                yield mesh, self.wanted.input(mesh, first[1])

    def named(self, mesh: Mesh, answer: Tensor) -> dict[str, Tensor]:
        """The fields of an answer by name: those of training, with their numbers of channels if known."""
        channels = answer.shape[1]
        if self._names:
            names, widths = self._names, [1] * len(self._names)
        else:
            names = (self.wanted.y or self.wanted.x) if self._trained else ()
            widths = self._widths(mesh, names, channels)
        if sum(widths) != channels:
            if not self._names:
                return {f"y{channel}": part for channel, part in enumerate(answer.split(1, 1))}
            wanted = f"a name for each of {channels} channels of the answer"
            raise ValueError(expected(wanted, list(names), "names=['T', 'p']"))
        return dict(zip(names, answer.split(widths, 1), strict=True))

    def _widths(self, mesh: Mesh, names: Sequence[str], channels: int) -> list[int]:
        place = self.wanted.place(mesh, truth=False)
        known = mesh.fields if place == "nodes" else mesh.cell_fields
        if all(name in known for name in names):
            return mesh.widths(names, place)
        return [channels] if len(names) == 1 else [1] * len(names)


def target_of(path: Path, to: Path) -> Path:
    """The file for the answers to those of a folder: a series becomes a ``.vtkhdf`` file."""
    return to / (path.name if series_of(path) is None else f"{path.stem}{SUFFIX}")


def check_target(path: Path, target: Path) -> None:
    """Raise ValueError if the answers to a series would not be written to a ``.vtkhdf`` file."""
    if series_of(path) is not None and target.suffix.lower() != SUFFIX:
        wanted = f"a {SUFFIX} file for the answers to the series {path.name}"
        raise ValueError(expected(wanted, target.name, target.with_suffix(SUFFIX).name))


def write_answers(
    path: Path, target: Path, graphs: Sequence[Any], answers: Sequence[Mapping[str, Tensor]]
) -> None:
    """Write answers on the cells of their file; at points alone, on a vertex for each.

    Args:
        path: the input; times of a series are kept.
        target: the new file.
        graphs: of each frame; the mesh is written once if they share their positions.
        answers: fields of each frame.
    """
    drawn = [_with_cells(graph) for graph in graphs]
    if target.suffix.lower() != SUFFIX:
        write_fields(target, drawn[0], answers[0])
        return
    series = series_of(path)
    times = None if series is None else series.times
    mesh = drawn[0] if all(graph.pos is drawn[0].pos for graph in drawn) else drawn
    write_vtkhdf(target, mesh, {name: [each[name] for each in answers] for name in answers[0]}, times)


def _with_cells(graph: Any) -> Any:
    if "face" in graph or "cells" in graph:
        return graph
    drawn = copy.copy(graph)
    drawn.cells = Cells.of_blocks([("vertex", np.arange(len(graph.pos))[:, None])])
    return drawn
