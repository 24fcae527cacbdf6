"""Frames on meshes and on points as ``.vtu`` files, by meshio."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neuralop_irno.data.cells import Cells
from neuralop_irno.data.readers.meshio_files import by_meshio
from neuralop_irno.rollouts.place import POINTS, XYZ, Array
from neuralop_irno.rollouts.vectors import drawn_of, width_of


class VTUFrames:
    """The file of each frame.

    Args:
        group: the file of the rollout's other arrays.
    """

    pieces = 1
    suffix = ".vtu"

    def __init__(self, group: Any) -> None:
        self._group = group
        self._on_cells = POINTS[0] in group

    def write(self, targets: list[Path], values: Mapping[str, Array]) -> None:
        """Write a frame, with its mesh."""
        import meshio

        group = self._group
        corners = POINTS if self._on_cells else XYZ
        mesh = {name: values.get(name, group[name]) for name in (*corners, "face") if name in group}
        points = np.stack([np.asarray(mesh[name]) for name in corners if name in mesh], 1)
        points = np.pad(points, ((0, 0), (0, 3 - points.shape[1])))
        blocks = self._cells(mesh, len(points)).blocks()
        data = {name: _columns([values[each] for each in parts]) for name, parts in drawn_of(group).items()}
        for name in ("batch", "measure"):
            if name in group:
                data[name] = np.asarray(values.get(name, group[name]))
        ends = np.cumsum([len(block) for _, block in blocks])[:-1]
        held: dict[str, Any] = {"point_data": data}
        if self._on_cells:
            held = {"cell_data": {name: np.split(each, ends) for name, each in data.items()}}
        meshio.write(targets[0], meshio.Mesh(points, blocks, **held), file_format="vtu")

    def read(self, paths: list[Path], name: str) -> Array:
        """An array of a frame."""
        found, shape = by_meshio(paths[0]), self._group[name].shape[1:]
        if name in XYZ:
            values = found.points[:, XYZ.index(name)]
        elif name == "face":
            values = np.concatenate([block.data for block in found.cells])
        else:
            held = {
                each: (array, k)
                for array, parts in drawn_of(self._group).items()
                for k, each in enumerate(parts)
            }
            array, column = held.get(name, (name, 0))
            parts = found.cell_data[array] if self._on_cells else [found.point_data[array]]
            values = np.concatenate(parts)
            width = int(np.prod(shape[1:]))
            values = values.reshape(len(values), -1)[:, column : column + width]
        return values.reshape(shape)

    def _cells(self, mesh: Mapping[str, Any], points: int) -> Cells:
        """The cells; of points alone a vertex for each."""
        if "face" not in mesh:
            return vertices(points)
        return Cells(np.asarray(mesh["face"]), np.asarray(self._group["cell_type"]))


def vertices(points: int) -> Cells:
    """A cell for each point."""
    return Cells.of_blocks([("vertex", np.arange(points)[:, None])])


def _columns(parts: list[Array]) -> Array:
    """VTK's columns: no axis for one channel, three for two."""
    values = parts[0] if len(parts) == 1 else np.stack(parts, 1)
    values = values[:, None] if values.ndim == 1 else values
    values = np.pad(values, ((0, 0), (0, width_of(values.shape[1]) - values.shape[1])))
    return values[:, 0] if values.shape[1] == 1 else values
