"""Rollouts on meshes as a ``.pvd`` file, which ParaView opens, over a folder with a ``.vtu`` file a frame.

The folder also has ``state.hdf``: all of a rollout file except the frames. The ``.pvd`` lists the frames that
are synchronised with the disk; it is written again from ``state.hdf`` and holds nothing of its own.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neuralop_irno.checkpoint import sync_folder
from neuralop_irno.data.cells import Cells
from neuralop_irno.data.readers.meshio_files import by_meshio
from neuralop_irno.errors import expected, from_extra
from neuralop_irno.rollouts.hdf5_storage import HDF5Storage
from neuralop_irno.rollouts.place import POINTS, XYZ, Array, Place
from neuralop_irno.rollouts.storage import STATE, Mode, NewArray, Rows, sync_file
from neuralop_irno.rollouts.vtkhdf_storage import refuse_points

STATE_FILE = "state.hdf"
FRAME = re.compile(r"frame_\d{6,}\.vtu")
MARK = "<!-- frames of a rollout of neuralop_irno -->"


class PVDStorage(HDF5Storage):
    """A folder, ``run.vtus`` beside ``run.pvd``."""

    def check(self, place: Place) -> None:
        with from_extra("meshio for mesh files", "meshes"):
            import meshio  # noqa: F401
        refuse_points(place, ".pvd")

    def open(self, path: Path, mode: Mode) -> Any:
        if mode == "w":
            path.mkdir()
        elif not (path / STATE_FILE).is_file() or (path / STATE_FILE).is_symlink():
            wanted = f"a folder with a rollout, {STATE_FILE} and frames, at {path.name}"
            raise ValueError(expected(wanted, f"no {STATE_FILE} in it", "another path"))
        return super().open(path / STATE_FILE, mode)

    def add(self, group: Any, name: str, new: NewArray) -> None:
        if not _of_frames(name, new.rows is not None):
            super().add(group, name, new)
            return
        array = group.create_dataset(name, new.shape, new.values.dtype)  # never written: it takes no space
        for key, value in new.attributes.items():
            array.attrs[key] = value

    def array(self, group: Any, name: str) -> Any:
        array = group[name]
        by_row = array.id.get_storage_size() == 0 and array.size
        return _Rows(group, name) if _of_frames(name, bool(by_row)) else array

    def write(self, group: Any, arrays: Mapping[str, Any], index: int, values: Mapping[str, Array]) -> None:
        import meshio

        target = frame_path(group, index)
        on_cells = POINTS[0] in group
        corners = POINTS if on_cells else XYZ
        mesh = {name: values.get(name, group[name]) for name in (*corners, "face") if name in group}
        points = np.stack([np.asarray(mesh[name]) for name in corners if name in mesh], 1)
        points = np.pad(points, ((0, 0), (0, 3 - points.shape[1])))
        cells = Cells(np.asarray(mesh["face"]), np.asarray(group["cell_type"]))
        data = {name: _columns(each) for name, each in values.items() if name not in mesh}
        for name in ("batch", "measure"):
            if name in group and name not in values:
                data[name] = np.asarray(group[name])
        blocks = cells.blocks()
        ends = np.cumsum([len(block) for _, block in blocks])[:-1]
        held: dict[str, Any] = {"point_data": data}
        if on_cells:
            held = {"cell_data": {name: np.split(each, ends) for name, each in data.items()}}
        temporary = target.with_name(f"{target.name}.{uuid.uuid4().hex}.partial")
        try:
            meshio.write(temporary, meshio.Mesh(points, blocks, **held), file_format="vtu")
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def show(self, group: Any, path: Path, count: int) -> None:
        times = np.asarray(group["time"]) if "time" in group else None
        if times is None or times.ndim > 1:
            times = np.arange(1.0, count + 1)
        lines = [
            f'<DataSet timestep="{float(time)!r}" group="" part="0" file="{path.name}/{frame_name(index)}"/>'
            for index, time in enumerate(times[:count])
        ]
        content = "\n".join(
            [
                '<?xml version="1.0"?>',
                MARK,
                '<VTKFile type="Collection" version="0.1" byte_order="LittleEndian">',
                "<Collection>",
                *lines,
                "</Collection>",
                "</VTKFile>\n",
            ]
        )
        # Under a name that `Hold` removes after a kill.
        temporary = path.with_name(f".{uuid.uuid4().hex}.{path.name}")
        temporary.write_text(content)
        sync_file(temporary)
        temporary.replace(path.with_suffix(".pvd"))
        sync_folder(path.parent)

    def sync(self, group: Any, path: Path, rows: Rows | None) -> None:
        if rows is None:
            files = {file for file in path.iterdir() if FRAME.fullmatch(file.name)}
        else:
            files = {frame_path(group, row) for name, row in rows if row is not None and "/" not in name}
        for file in sorted(files):
            sync_file(file)
        group.flush()
        sync_file(path / STATE_FILE)
        sync_folder(path)

    def fault(self, group: Any, name: str, rows: bool) -> str:
        if not _of_frames(name, rows):
            return super().fault(group, name, rows)
        if (found := self._linked(group, name)) or group[name].dtype.kind not in "biuf":
            return found or f"an array of {group[name].dtype}"
        return "" if group[name].id.get_storage_size() == 0 else "an array that is not in its frames"

    def missing(self, array: Any, row: int | None) -> bool:
        return isinstance(array, _Rows) and not array.has(row or 0)

    def foreign(self, group: Any, path: Path) -> str:
        for place in sorted(path.iterdir()):
            ours = place.name == STATE_FILE or FRAME.fullmatch(place.name)
            if place.is_symlink() or not place.is_file() or not ours:
                return place.name
        return super().foreign(group, path)


class _Rows:
    """An array whose rows are in the ``.vtu`` files of the frames."""

    def __init__(self, group: Any, name: str) -> None:
        self._group, self._name = group, name
        self.shape, self.dtype = group[name].shape, group[name].dtype

    def has(self, index: int) -> bool:
        """Whether there is a file of a frame."""
        path = frame_path(self._group, index)
        return path.is_file() and not path.is_symlink()

    def __getitem__(self, key: Any) -> Array:
        index, *rest = key if isinstance(key, tuple) else (key,)
        found = by_meshio(frame_path(self._group, index))
        shape = self.shape[1:]
        if self._name in XYZ:
            values = found.points[:, XYZ.index(self._name)]
        elif self._name == "face":
            values = np.concatenate([block.data for block in found.cells])
        else:
            on_cells = POINTS[0] in self._group
            values = found.cell_data[self._name] if on_cells else [found.point_data[self._name]]
            values = np.concatenate(values)
            values = values.reshape(len(values), -1)[:, : int(np.prod(shape[1:]))]
        return values.reshape(shape).astype(self.dtype, copy=False)[tuple(rest)]


def frame_name(index: int) -> str:
    """The name of the file of a frame."""
    return f"frame_{index:06d}.vtu"


def frame_path(group: Any, index: int) -> Path:
    """The file of a frame."""
    return Path(group.file.filename).parent / frame_name(index)


def _of_frames(name: str, by_row: bool) -> bool:
    """Whether an array is in the files of frames."""
    return by_row and not name.startswith(f"{STATE}/")


def _columns(values: Array) -> Array:
    """VTK's columns: no axis for one channel, three for two."""
    if values.ndim == 2 and values.shape[1] == 1:
        return values[:, 0]
    return np.pad(values, ((0, 0), (0, 1))) if values.ndim == 2 and values.shape[1] == 2 else values
