"""Rollouts as a ``.pvd`` file, which ParaView opens, over a folder with a file for each frame.

The files are ``.vtu`` on meshes and points; on grids ``.vti`` or ``.vtr``, one for each sample. The folder
also has ``state.hdf``: all of a rollout file except the frames. The ``.pvd`` lists the frames that are
synchronised with the disk; it is written again from ``state.hdf`` and holds nothing of its own.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neuralop_irno.checkpoint import sync_folder
from neuralop_irno.errors import expected, from_extra
from neuralop_irno.rollouts.hdf5_storage import HDF5Storage
from neuralop_irno.rollouts.place import Array, Place
from neuralop_irno.rollouts.storage import STATE, Mode, NewArray, Rows, sync_file
from neuralop_irno.rollouts.vti_frames import GridFrames
from neuralop_irno.rollouts.vtk_grid import check_drawn
from neuralop_irno.rollouts.vtu_frames import VTUFrames

STATE_FILE = "state.hdf"
FRAME = re.compile(r"frame_\d{6,}(_\d+)?\.(vtu|vti|vtr)")
MARK = "<!-- frames of a rollout of neuralop_irno -->"


class PVDStorage(HDF5Storage):
    """A folder, ``run.vtus`` beside ``run.pvd``."""

    def check(self, place: Place, shape: tuple[int, ...]) -> None:
        if check_drawn(place, shape, ".pvd") is None:
            with from_extra("meshio for mesh files", "meshes"):
                import meshio  # noqa: F401

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
        frames = frames_of(group)
        targets = frame_paths(group, frames, index)
        temporary = [target.with_name(f"{target.name}.{uuid.uuid4().hex}.partial") for target in targets]
        try:
            frames.write(temporary, values)
            for whole, target in zip(temporary, targets, strict=True):
                whole.replace(target)
        except BaseException:
            for each in temporary:
                each.unlink(missing_ok=True)
            raise

    def show(self, group: Any, path: Path, count: int) -> None:
        times = np.asarray(group["time"]) if "time" in group else None
        if times is None or times.ndim > 1:
            times = np.arange(1.0, count + 1)
        frames = frames_of(group)
        lines = [
            f'<DataSet timestep="{float(time)!r}" group="" part="{part}" file="{path.name}/{name}"/>'
            for index, time in enumerate(times[:count])
            for part, name in enumerate(frame_names(frames, index))
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
            written = {row for name, row in rows if row is not None and "/" not in name}
            frames = frames_of(group)
            files = {file for row in written for file in frame_paths(group, frames, row)}
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
    """An array whose rows are in the files of the frames."""

    def __init__(self, group: Any, name: str) -> None:
        self._group, self._name = group, name
        self._frames = frames_of(group)
        self.shape, self.dtype = group[name].shape, group[name].dtype

    def has(self, index: int) -> bool:
        """Whether there are the files of a frame."""
        paths = frame_paths(self._group, self._frames, index)
        return all(path.is_file() and not path.is_symlink() for path in paths)

    def __getitem__(self, key: Any) -> Array:
        index, *rest = key if isinstance(key, tuple) else (key,)
        values = self._frames.read(frame_paths(self._group, self._frames, index), self._name)
        return values.astype(self.dtype, copy=False)[tuple(rest)]


def frames_of(group: Any) -> VTUFrames | GridFrames:
    """The kind of files of frames."""
    on_grid = "node" not in json.loads(group.attrs["layout"])["dims"]
    return GridFrames(group) if on_grid else VTUFrames(group)


def frame_names(frames: VTUFrames | GridFrames, index: int) -> list[str]:
    """The names of the files of a frame: one, or one for each sample on a grid."""
    if frames.pieces == 1:
        return [f"frame_{index:06d}{frames.suffix}"]
    digits = len(str(frames.pieces - 1))
    return [f"frame_{index:06d}_{piece:0{digits}d}{frames.suffix}" for piece in range(frames.pieces)]


def frame_paths(group: Any, frames: VTUFrames | GridFrames, index: int) -> list[Path]:
    """The files of a frame."""
    folder = Path(group.file.filename).parent
    return [folder / name for name in frame_names(frames, index)]


def _of_frames(name: str, by_row: bool) -> bool:
    """Whether an array is in the files of frames."""
    return by_row and not name.startswith(f"{STATE}/")
