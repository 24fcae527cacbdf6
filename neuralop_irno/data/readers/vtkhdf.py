"""Series of fields on meshes in VTKHDF files, which ParaView opens with a time slider.

One HDF5 file holds all frames; the mesh is stored once, or once a frame if it changes. See
https://docs.vtk.org/en/latest/vtk_file_formats/vtkhdf_file_format/index.html.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.data.cells import cells_of
from neuralop_irno.data.readers.mesh_files import checked_field, paraview_columns
from neuralop_irno.errors import expected

VERSION = (2, 0)

Frames = Tensor | Iterable[Tensor]
"""All frames of a field, ``(N, T, C)``, or one after the other, ``(N, C)`` each."""


def write_vtkhdf(
    path: str | os.PathLike[str],
    graph: Any,
    fields: Mapping[str, Frames],
    times: Sequence[float] | Tensor | None = None,
) -> Path:
    """Write a series of fields on a mesh to a VTKHDF file.

    The file gets its name when it is complete. Frames are taken one by one, so that series which do not fit
    in memory can be written.

    Args:
        path: the file, ``run.vtkhdf``.
        graph: a graph with nodes ``pos`` and cells, ``face`` or ``cells``; a sequence of them, one for each
            frame, if the mesh moves or changes. If its nodes are the cells of a mesh, fields are written on
            these.
        fields: the frames of each field by name, in which ``/`` becomes ``_``. Two channels get a third, 0,
            to form a vector.
        times: the time of each frame, increasing; by default 0, 1, 2, ...

    Shapes:
        - fields: ``(N, T, C)``, as the frames of a rollout, or iterables of T frames ``(N, C)``
        - times: ``(T,)``

    Example:
        >>> import tempfile
        >>> from torch_geometric.data import Data
        >>> graph = Data(pos=torch.rand(3, 2), face=torch.tensor([[0], [1], [2]]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_vtkhdf(f"{folder}/run.vtkhdf", graph, {"heat": torch.rand(3, 5, 1)}).name
        'run.vtkhdf'
    """
    import h5py

    if not fields:
        raise ValueError(expected("at least one field", "none", "fields={'u': run.frames}"))
    names = [_plain(name) for name in fields]
    if len(set(names)) < len(names):
        raise ValueError(expected("a name of its own for each field", names, "fields={'u': ..., 'v': ...}"))
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        with h5py.File(temporary, "x") as file:
            root = file.create_group("VTKHDF")
            root.attrs["Version"] = np.asarray(VERSION)
            root.attrs["Type"] = np.bytes_("UnstructuredGrid")
            series = _Series(root, None if times is None else _as_times(times))
            for index, frame in enumerate(_frames(fields)):
                series.add(_mesh_of(graph, index), frame)
            series.finish()
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return target


class _Series:
    """The group of a file, to which frames are added."""

    def __init__(self, root: Any, times: list[float] | None) -> None:
        self._root, self._times, self._mesh = root, times, None
        self._on = "Point"  # where fields are
        self._parts: list[int] = []  # the number of the mesh of each frame
        self._starts: list[tuple[int, int, int]] = []  # of the points, cells and corners of each mesh
        self._data: dict[str, list[int]] = {}

    def add(self, mesh: Any, frame: Mapping[str, Tensor]) -> None:
        """Add a frame, and its mesh unless it is that of the last frame."""
        if mesh is not self._mesh:
            self._add_mesh(mesh)
        self._parts.append(len(self._starts) - 1)
        for name, values in frame.items():
            checked_field(name, values, len(mesh.pos))
            held = self._root.require_group(f"{self._on}Data")
            start = _append(held, _plain(name), paraview_columns(values))
            self._data.setdefault(_plain(name), []).append(start)

    def finish(self) -> None:
        """Write what is known at the end: the times, and the places of each frame in the arrays."""
        count = len(self._parts)
        times = list(map(float, range(count))) if self._times is None else self._times
        if len(times) != count or not count:
            raise ValueError(expected(f"a time for each of {count} frames", len(times), "times=range(T)"))
        steps = self._root.create_group("Steps")
        steps.attrs["NSteps"] = count
        steps["Values"] = np.asarray(times)
        steps["PartOffsets"] = np.asarray(self._parts)
        steps["NumberOfParts"] = np.ones(count, dtype=np.int64)
        starts = np.asarray(self._starts)[self._parts]
        steps["PointOffsets"] = starts[:, 0]
        steps["CellOffsets"], steps["ConnectivityIdOffsets"] = starts[:, 1:2], starts[:, 2:]
        offsets = steps.create_group(f"{self._on}DataOffsets")
        for name, each in self._data.items():
            offsets[name] = np.asarray(each)

    def _add_mesh(self, mesh: Any) -> None:
        cells = cells_of(mesh)
        points = mesh.pos.detach().cpu().double().numpy() if cells.points is None else cells.points
        self._on = "Point" if cells.points is None else "Cell"
        points = np.pad(points, ((0, 0), (0, 3 - points.shape[1])))
        self._starts.append(
            (
                _append(self._root, "Points", points),
                _append(self._root, "Types", cells.types),
                _append(self._root, "Connectivity", cells.connectivity),
            )
        )
        _append(self._root, "Offsets", cells.offsets)
        sizes = {"Points": points, "Cells": cells.types, "ConnectivityIds": cells.connectivity}
        for name, array in sizes.items():
            _append(self._root, f"NumberOf{name}", np.asarray([len(array)]))
        self._mesh = mesh


def _plain(name: str) -> str:
    """A name that HDF5 does not take for a path: VTK would not find its field."""
    return name.replace("/", "_")


def _append(group: Any, name: str, rows: Any) -> int:
    """Append rows to an array of a group; returns the number of rows before them."""
    if name not in group:
        group.create_dataset(name, data=rows, maxshape=(None, *rows.shape[1:]), chunks=rows.shape)
        return 0
    array = group[name]
    start = len(array)
    if array.shape[1:] != rows.shape[1:]:
        wanted = f"{name} of {array.shape[1:] or 'one'} channels in every frame"
        raise ValueError(expected(wanted, rows.shape[1:], "frames of one shape"))
    array.resize(start + len(rows), axis=0)
    array[start:] = rows
    return int(start)


def _frames(fields: Mapping[str, Frames]) -> Iterator[dict[str, Tensor]]:
    """The fields of one frame after the other."""
    series = {}
    for name, frames in fields.items():
        if isinstance(frames, Tensor) and frames.dim() != 3:
            wanted = f"frames of {name} of shape (N, T, C)"
            raise ValueError(expected(wanted, tuple(frames.shape), "frames.unsqueeze(-1) for one channel"))
        series[name] = frames.unbind(1) if isinstance(frames, Tensor) else frames
    for index, values in enumerate(zip_longest(*series.values())):
        frame = dict(zip(series, values, strict=True))
        short = [name for name, value in frame.items() if value is None]
        if short:
            wanted = f"as many frames of {short[0]} as of the other fields"
            raise ValueError(expected(wanted, index, "series of one length"))
        yield frame


def _mesh_of(graph: Any, index: int) -> Any:
    """The mesh of a frame."""
    if isinstance(graph, Sequence) and not hasattr(graph, "pos"):
        if index >= len(graph):
            wanted = "one graph, or one for each frame"
            raise ValueError(expected(wanted, f"{len(graph)} graphs for more frames", "graphs of all frames"))
        graph = graph[index]
    if getattr(graph, "pos", None) is None:
        raise ValueError(expected("a graph with the positions of its nodes", "no pos", "graph.pos = ..."))
    return graph


def _as_times(times: Sequence[float] | Tensor) -> list[float]:
    values = torch.as_tensor(times, dtype=torch.float64).cpu()
    if values.dim() != 1 or not values.isfinite().all() or not (values.diff() > 0).all():
        wanted = "increasing times, one for each frame"
        raise ValueError(expected(wanted, f"{values.tolist()}"[:80], "times=[0.0, 0.1, 0.2]"))
    return [float(value) for value in values]
