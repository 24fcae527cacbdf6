"""Rollouts in one HDF5 file that ParaView opens: VTK's arrays are views of those of the rollout.

The group ``VTKHDF`` holds virtual arrays over the frames, so nothing is stored twice and the file is written,
checked and continued like any other. Offsets of frames that are not written yet lead to values that
are nan: ParaView shows the planned times from the beginning. Writing a frame changes numbers alone, no
metadata, so the file can be opened at any moment. See
https://docs.vtk.org/en/latest/vtk_file_formats/vtkhdf_file_format/index.html.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuralop_irno.data.cells import Cells
from neuralop_irno.data.readers.vtkhdf import VERSION
from neuralop_irno.errors import expected
from neuralop_irno.rollouts.hdf5_storage import HDF5Storage, items_of
from neuralop_irno.rollouts.place import POINTS, XYZ, Array, Place
from neuralop_irno.rollouts.storage import NewArray
from neuralop_irno.rollouts.vectors import drawn, width_of
from neuralop_irno.rollouts.vtk_grid import check_drawn
from neuralop_irno.rollouts.vtkhdf_grid import add_grids, lead_to, zeros_of
from neuralop_irno.rollouts.vtu_frames import vertices

ROOT, STEPS = "VTKHDF", "VTKHDF/Steps"


class VTKHDFStorage(HDF5Storage):
    """One file: a mesh or points, all samples beside each other in one part; or grids, see `vtkhdf_grid`."""

    def check(self, place: Place, shape: tuple[int, ...]) -> None:
        grid = check_drawn(place, shape, ".vtkhdf")
        if grid is not None and not grid.uniform:
            wanted = "a grid of equal steps along each axis for .vtkhdf"
            raise ValueError(expected(wanted, "others", "a path that ends in .pvd"))

    def describe(self, group: Any, arrays: Mapping[str, NewArray]) -> list[str]:
        super().describe(group, arrays)
        frames = {name: new for name, new in arrays.items() if new.rows is not None and new.dims}
        root = group.create_group(ROOT, track_order=True)
        root.attrs["Version"] = np.asarray(VERSION)
        steps = next(iter(frames.values())).shape[0]
        times = arrays["time"].values if "time" in arrays and arrays["time"].values.ndim == 1 else None
        values = np.arange(1.0, steps + 1) if times is None else times.astype(np.float64)
        if any("node" in new.dims for new in frames.values()):
            _add_series(group, root, arrays, frames, values)
        else:
            add_grids(group, root, arrays, frames, values)
        return items_of(group)

    def written(self, group: Any, index: int) -> None:
        self._find(group, slice(index, index + 1))

    def show(self, group: Any, path: Path, count: int) -> None:
        self._find(group, slice(0, count))

    def _find(self, group: Any, rows: slice) -> None:
        """Lead VTK to frames."""
        root = group[ROOT]
        places = np.arange(rows.start, rows.stop)
        if "Points" not in root:
            lead_to(root, rows)
            return
        start = group[STEPS]
        on = "Point" if "PointData" in root else "Cell"
        nodes = int(root[f"NumberOf{on}s"][0])
        for name, offsets in start[f"{on}DataOffsets"].items():
            if root[f"{on}Data"][name].is_virtual:
                offsets[rows] = places * nodes
        if root["Points"].is_virtual:
            start["PointOffsets"][rows] = places * nodes
        if root["Connectivity"].is_virtual:
            corners = int(root["NumberOfConnectivityIds"][0])
            start["ConnectivityIdOffsets"][rows] = places[:, None] * corners


def _add_series(
    group: Any,
    root: Any,
    arrays: Mapping[str, NewArray],
    frames: Mapping[str, NewArray],
    times: Array,
) -> None:
    """Frames on a mesh or on points."""
    some = next(new for new in frames.values() if "node" in new.dims)
    steps, count = some.shape[0], some.shape[some.dims.index("node")]
    root.attrs["Type"] = np.bytes_("UnstructuredGrid")
    on = "Cell" if POINTS[0] in arrays else "Point"
    data, start = root.create_group(f"{on}Data"), root.create_group("Steps")
    offsets = start.create_group(f"{on}DataOffsets")
    _add_mesh(group, root, arrays, frames, steps, count)
    shown = {name: new.attributes for name, new in frames.items() if name not in ("face", *XYZ)}
    for name, parts in drawn(shown).items():
        view(data, name, [group[each] for each in parts], count)
        offsets[name] = np.full(steps, steps * count)  # behind the frames: nan
    for name in {"batch", "measure"} & (arrays.keys() - frames.keys()):
        data[name], offsets[name] = arrays[name].values, np.zeros(steps, dtype=np.int64)
    start.attrs["NSteps"] = steps
    start["Values"] = times
    start["NumberOfParts"] = np.ones(steps, dtype=np.int64)
    for name in ("PartOffsets", "PointOffsets"):
        start[name] = np.zeros(steps, dtype=np.int64)
    for name in ("CellOffsets", "ConnectivityIdOffsets"):
        start[name] = np.zeros((steps, 1), dtype=np.int64)


def view(group: Any, name: str, sources: Sequence[Any], nodes: int) -> None:
    """A virtual array of a row for each node and frame, with nan for one more frame.

    Args:
        group: to add it to.
        name: of the array.
        sources: one, ``(steps, N)`` or ``(steps, N, C)``, or one for each component, ``(steps, N)``. Two
            components get a third, 0, to form a vector.
        nodes: N.
    """
    import h5py

    source = sources[0]
    channels = len(sources) if source.ndim == 2 else source.shape[2]
    width, rows = width_of(channels), source.shape[0] * nodes
    layout = h5py.VirtualLayout((rows + nodes, *((width,) if width > 1 else ())), source.dtype)
    if source.ndim == 3 and channels > 1:
        layout[:rows, :channels] = h5py.VirtualSource(source)
    else:
        for column, each in enumerate(sources):
            layout[(slice(0, rows), column) if width > 1 else slice(0, rows)] = h5py.VirtualSource(each)
    if width > channels:
        layout[:rows, channels] = h5py.VirtualSource(zeros_of(group, (rows,), source.dtype))
    group.create_virtual_dataset(name, layout, fillvalue=np.nan)


def _add_mesh(
    group: Any,
    root: Any,
    arrays: Mapping[str, NewArray],
    frames: Mapping[str, NewArray],
    steps: int,
    count: int,
) -> None:
    """Points and cells: stored, or views of those of all frames."""
    import h5py

    axes = [name for name in (POINTS if POINTS[0] in arrays else XYZ) if name in arrays]
    points = len(arrays[axes[0]].values)
    cells = vertices(points)
    if "face" in arrays:
        cells = Cells(arrays["face"].values, arrays["cell_type"].values)
    if axes[0] in frames:
        layout = h5py.VirtualLayout((steps * count, 3), arrays["x"].values.dtype)
        for axis, name in enumerate(axes):
            layout[:, axis] = h5py.VirtualSource(group[name])
        root.create_virtual_dataset("Points", layout, fillvalue=0)
    else:
        corners = np.stack([arrays[name].values for name in axes], 1)
        root["Points"] = np.pad(corners, ((0, 0), (0, 3 - len(axes))))
    if "face" in frames:
        if (cells.corners < 0).any():
            wanted = "cells of one type where they change from frame to frame"
            raise ValueError(expected(wanted, "several types", "a path that ends in .pvd"))
        layout = h5py.VirtualLayout((steps * cells.corners.size,), cells.corners.dtype)
        layout[:] = h5py.VirtualSource(group["face"])
        root.create_virtual_dataset("Connectivity", layout, fillvalue=0)
    else:
        root["Connectivity"] = cells.connectivity
    root["Offsets"], root["Types"] = cells.offsets, cells.types
    sizes = {"Points": points, "Cells": len(cells.types), "ConnectivityIds": len(cells.connectivity)}
    for name, size in sizes.items():
        root[f"NumberOf{name}"] = np.asarray([size])
