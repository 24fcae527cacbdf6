"""Rollouts on meshes in one HDF5 file that ParaView opens: VTK's arrays are views of those of the rollout.

The group ``VTKHDF`` holds virtual arrays over the frames, so nothing is stored twice and the file is written,
checked and continued like any other. Offsets of frames that are not written yet lead to values that
are nan: ParaView shows the planned times from the beginning. Writing a frame changes numbers alone, no
metadata, so the file can be opened at any moment. See
https://docs.vtk.org/en/latest/vtk_file_formats/vtkhdf_file_format/index.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neuralop_irno.data.cells import Cells
from neuralop_irno.data.readers.vtkhdf import VERSION
from neuralop_irno.errors import expected
from neuralop_irno.rollouts.hdf5_storage import HDF5Storage, items_of
from neuralop_irno.rollouts.place import POINTS, XYZ, Place
from neuralop_irno.rollouts.storage import STATE, NewArray

ROOT, STEPS = "VTKHDF", "VTKHDF/Steps"


class VTKHDFStorage(HDF5Storage):
    """One file, on a mesh of one topology, with one part: the meshes of all samples beside each other."""

    def check(self, place: Place) -> None:
        refuse_points(place, ".vtkhdf")

    def describe(self, group: Any, arrays: Mapping[str, NewArray]) -> list[str]:
        super().describe(group, arrays)
        frames = {name: new for name, new in arrays.items() if new.rows is not None and new.dims}
        steps, nodes = next((new.shape[0], new.dims.index("node")) for new in frames.values())
        count = next(iter(frames.values())).shape[nodes]
        root = group.create_group(ROOT)
        root.attrs["Version"] = np.asarray(VERSION)
        root.attrs["Type"] = np.bytes_("UnstructuredGrid")
        on = "Cell" if POINTS[0] in arrays else "Point"
        data, start = root.create_group(f"{on}Data"), group.create_group(STEPS)
        offsets = start.create_group(f"{on}DataOffsets")
        _add_mesh(group, root, arrays, frames, steps, count)
        for name in frames:
            if name in ("face", *XYZ):
                continue
            view(data, name, group[name], count)
            offsets[name] = np.full(steps, steps * count)  # behind the frames: nan
        for name in {"batch", "measure"} & (arrays.keys() - frames.keys()):
            data[name], offsets[name] = arrays[name].values, np.zeros(steps, dtype=np.int64)
        times = arrays["time"].values if "time" in arrays and arrays["time"].values.ndim == 1 else None
        start.attrs["NSteps"] = steps
        start["Values"] = np.arange(1.0, steps + 1) if times is None else times.astype(np.float64)
        start["NumberOfParts"] = np.ones(steps, dtype=np.int64)
        for name in ("PartOffsets", "PointOffsets"):
            start[name] = np.zeros(steps, dtype=np.int64)
        for name in ("CellOffsets", "ConnectivityIdOffsets"):
            start[name] = np.zeros((steps, 1), dtype=np.int64)
        return items_of(group)

    def written(self, group: Any, index: int) -> None:
        self._find(group, slice(index, index + 1))

    def show(self, group: Any, path: Path, count: int) -> None:
        self._find(group, slice(0, count))

    def _find(self, group: Any, rows: slice) -> None:
        """Lead VTK to frames."""
        root, start = group[ROOT], group[STEPS]
        places = np.arange(rows.start, rows.stop)
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


def view(group: Any, name: str, source: Any, nodes: int) -> None:
    """A virtual array of a row for each node and frame, with nan for one more frame.

    Args:
        group: to add it to.
        name: of the array.
        source: ``(steps, N)`` or ``(steps, N, C)``. Two channels get a third, 0, to form a vector.
        nodes: N.
    """
    import h5py

    channels = source.shape[2:]
    wide = () if channels in ((), (1,)) else (3,) if channels == (2,) else channels
    rows = source.shape[0] * nodes
    layout = h5py.VirtualLayout((rows + nodes, *wide), source.dtype)
    layout[(slice(0, rows), *(slice(0, size) for size in channels if wide))] = h5py.VirtualSource(source)
    if wide and channels == (2,):
        # Never written: it takes no space.
        zeros = group.file[STATE].require_dataset("zeros", (rows,), source.dtype)
        layout[:rows, 2] = h5py.VirtualSource(zeros)
    group.create_virtual_dataset(name, layout, fillvalue=np.nan)


def refuse_points(place: Place, suffix: str) -> None:
    """Raise ValueError unless frames are on a mesh with cells."""
    if not place.on_mesh or not {"face", "x"} <= place.constants.keys():
        got = "points without cells" if place.on_mesh else "a grid"
        hint = "a path that ends in .zarr or .h5"
        wanted = f"a graph of triangles or tetrahedra, with pos and face, for {suffix}"
        raise ValueError(expected(wanted, got, hint))


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
    cells = Cells(arrays["face"].values, arrays["cell_type"].values)
    if axes[0] in frames:
        layout = h5py.VirtualLayout((steps * count, 3), arrays["x"].values.dtype)
        for axis, name in enumerate(axes):
            layout[:, axis] = h5py.VirtualSource(group[name])
        root.create_virtual_dataset("Points", layout, fillvalue=0)
    else:
        points = np.stack([arrays[name].values for name in axes], 1)
        root["Points"] = np.pad(points, ((0, 0), (0, 3 - len(axes))))
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
    nodes = count if axes[0] in frames else len(root["Points"])
    sizes = {"Points": nodes, "Cells": len(cells.types), "ConnectivityIds": len(cells.connectivity)}
    for name, size in sizes.items():
        root[f"NumberOf{name}"] = np.asarray([size])
