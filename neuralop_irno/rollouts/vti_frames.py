"""Frames on grids as VTK's XML files with raw numbers: ``.vti`` for equal steps, ``.vtr`` for others.

The text before the numbers follows from the grid and the fields, so that it is compared and not parsed. See
https://docs.vtk.org/en/latest/vtk_file_formats/vtkxml_file_format.html.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neuralop_irno.errors import expected
from neuralop_irno.rollouts.place import CHANNEL, Array
from neuralop_irno.rollouts.vectors import drawn_of, width_of
from neuralop_irno.rollouts.vtk_grid import grid_among

TYPES = {"f4": "Float32", "f8": "Float64"}
"""VTK's names of the types of numbers."""

END = b"\n</AppendedData>\n</VTKFile>\n"


class GridFrames:
    """The files of each frame, one for each sample.

    Args:
        group: the file of the rollout's other arrays.
    """

    def __init__(self, group: Any) -> None:
        self._group = group
        layout = json.loads(group.attrs["layout"])
        dims, fields = list(layout["dims"]), list(layout["fields"])
        self._channel = None if layout["named"] else dims.index(CHANNEL) - 1
        inside = [dim for dim in dims if dim != CHANNEL or not layout["named"]]
        shape = group[fields[0]].shape[1:]
        known = {name: np.asarray(group[name]) for name in dims if name in layout["constants"]}
        self._grid = grid_among(inside, shape, known)
        self._dtype = group[fields[0]].dtype.newbyteorder("<")
        channels = 1 if self._channel is None else shape[self._channel + 1]
        self._drawn = drawn_of(group)
        self._widths = {name: width_of(len(parts) * channels) for name, parts in self._drawn.items()}
        self.pieces = int(shape[0])
        self.suffix = ".vti" if self._grid.uniform else ".vtr"

    def write(self, targets: list[Path], values: Mapping[str, Array]) -> None:
        """Write the samples of a frame."""
        head, axes = self._head(), [] if self._grid.uniform else list(self._grid.on_axes)
        for sample, target in enumerate(targets):
            fields = [
                self._columns([values[each][sample] for each in parts], self._widths[name])
                for name, parts in self._drawn.items()
            ]
            with target.open("wb") as file:
                file.write(head)
                for each in (*(self._rising(axis) for axis in axes), *fields):
                    file.write(np.asarray(each.nbytes, dtype="<u8").tobytes())
                    file.write(np.ascontiguousarray(each).data)
                file.write(END)

    def read(self, paths: list[Path], name: str) -> Array:
        """An array of a frame."""
        return np.stack([self._read(path, name) for path in paths]).reshape(self._group[name].shape[1:])

    def _read(self, path: Path, name: str) -> Array:
        """An array of a sample, ``(*S)`` or ``(C, *S)``."""
        head, sizes = self._head(), self._grid.sizes[::-1]
        array, column = next((a, p.index(name)) for a, p in self._drawn.items() if name in p)
        width = self._widths[array]
        start = len(head) + 8 + self._offsets()[array]
        with path.open("rb") as file:
            if file.read(len(head)) != head:
                wanted = f"the grid and the fields of the rollout in {path.name}"
                raise ValueError(expected(wanted, "others", "a backup copy of the file"))
            file.seek(start)
            values = np.fromfile(file, self._dtype, int(np.prod(sizes)) * width)
        found = self._grid.restored(values.reshape(*sizes, width))
        if self._channel is None:
            return found[..., column]
        return np.moveaxis(found[..., : self._group[name].shape[2 + self._channel]], -1, self._channel)

    def _columns(self, parts: list[Array], width: int) -> Array:
        """Components of every point, ``(z, y, x, width)``."""
        channel = self._channel
        values = np.stack(parts, -1) if channel is None else np.moveaxis(parts[0], channel, -1)
        values = self._grid.ordered(values).astype(self._dtype, copy=False)
        return np.pad(values, (*[(0, 0)] * 3, (0, width - values.shape[-1])))

    def _rising(self, axis: Array) -> Array:
        return np.sort(axis).astype("<f8")

    def _offsets(self) -> dict[str, int]:
        """The place of each array behind the head; those of axes are named by their numbers."""
        points = int(np.prod(self._grid.sizes))
        sizes = {} if self._grid.uniform else {str(n): 8 * size for n, size in enumerate(self._grid.sizes)}
        sizes |= {name: points * width * self._dtype.itemsize for name, width in self._widths.items()}
        places = np.cumsum([0, *(8 + size for size in sizes.values())])
        return dict(zip(sizes, places.tolist(), strict=False))

    def _head(self) -> bytes:
        """The text before the numbers."""
        grid, offsets = self._grid, self._offsets()
        extent = " ".join(f"0 {size - 1}" for size in grid.sizes)
        said = f'WholeExtent="{extent}"'
        axes: list[str] = []
        if grid.uniform:
            origin = tuple(min(axis[0], axis[-1]) for axis in grid.on_axes)
            said += f' Origin="{_numbers(origin)}" Spacing="{_numbers(grid.spacing)}"'
        else:
            axes = [_array("Float64", "xyz"[n], 1, offsets[str(n)]) for n in range(3)]
            axes = ["<Coordinates>", *axes, "</Coordinates>"]
        kind = "ImageData" if grid.uniform else "RectilinearGrid"
        number = TYPES.get(self._dtype.str[1:])
        if number is None:
            hint = "a path that ends in .zarr or .h5"
            raise ValueError(expected("real frames for .pvd", self._dtype, hint))
        data = [_array(number, name, width, offsets[name]) for name, width in self._widths.items()]
        lines = [
            '<?xml version="1.0"?>',
            f'<VTKFile type="{kind}" version="1.0" byte_order="LittleEndian" header_type="UInt64">',
            f"<{kind} {said}>",
            f'<Piece Extent="{extent}">',
            *axes,
            *("<PointData>", *data, "</PointData>"),
            *("</Piece>", f"</{kind}>"),
            '<AppendedData encoding="raw">',
            "_",
        ]
        return "\n".join(lines).encode()


def _array(number: str, name: str, width: int, offset: int) -> str:
    """The description of an array."""
    said = f'type="{number}" Name="{name}" NumberOfComponents="{width}"'
    return f'<DataArray {said} format="appended" offset="{offset}"/>'


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(repr(float(value)) for value in values)
