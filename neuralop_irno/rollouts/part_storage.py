"""A Zarr folder that several processes write, each the frames of its own samples, or its tile of a sample.

    u, v, ..    the fields of all samples, a chunk (or more) for each sample and frame
    time, x, .. the coordinates that samples share, and the mesh of a sample in tiles
    parts/RANK  for each process a rollout file of its samples, whose fields are the rows of those above, or
                of its tile, with the coordinates of the tile

No two processes write one chunk or one file, so that they need not wait for each other. Each process has its
own digests, and its own number of complete frames. The first one creates the fields and the coordinates; the
others compare them with theirs.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from neuralop_irno.checkpoint import sync_folder
from neuralop_irno.errors import expected
from neuralop_irno.rollouts.hold import remove
from neuralop_irno.rollouts.labels import Labels
from neuralop_irno.rollouts.of_process import RolloutPart
from neuralop_irno.rollouts.place import Array, Place
from neuralop_irno.rollouts.recording import dims_of, parts_of, shards_of
from neuralop_irno.rollouts.storage import STATE, Mode, NewArray, Rows, readable, sync_file
from neuralop_irno.rollouts.tiles import Tile, axis_of_tiles, rows_of
from neuralop_irno.rollouts.zarr_storage import ZarrStorage

PARTS = "parts"
"""The folder of what each process writes for itself."""

KIND = "neuralop_irno.rollout.parts"


class PartStorage(ZarrStorage):
    """The part of one process.

    Args:
        root: the folder of all.
        part: the samples, or the tile.
    """

    def __init__(self, root: Path, part: RolloutPart) -> None:
        self._root, self._part = root, part

    def share(self, place: Place, shape: tuple[int, ...], labels: Labels) -> Tile:
        """Take what all processes share, and return what this one writes of its samples.

        Args:
            place: of the frames of these samples, whole, with the names of a file.
            shape: of these frames.
            labels: the options of the file.

        Raises:
            ValueError: they cannot be written in parts, or the folder has other parts.
        """
        count = self._part.rows.stop - self._part.rows.start
        if place.on_mesh and (self._part.samples > 1 or "batch" in place.constants):
            wanted = "grids, or one graph that processes write in tiles, beside part="
            got = f"{self._part.samples} samples on graphs" if self._part.samples > 1 else "several graphs"
            raise ValueError(expected(wanted, got, "a path of its own for each graph"))
        if not place.on_mesh and shape[0] != count:
            wanted = f"the {count} samples of process {self._part.rank} of {self._part.world}"
            raise ValueError(expected(wanted, shape[0], "start[part.rows]"))
        parts = parts_of(place, labels, shape, {})
        dims, shards = dims_of(place.dims, parts.named), shards_of(place, labels, parts)
        sizes, chunks = (
            dict(zip(dims, each, strict=True))
            for each in (parts.array_shape, parts.chunks or parts.array_shape)
        )
        files = chunks if shards is None else dict(zip(dims, shards, strict=True))
        if not place.on_mesh:
            sizes["sample"], chunks["sample"], files["sample"] = self._part.samples, 1, 1
        self._sizes, self._chunk, self._file = (tuple(each.values()) for each in (sizes, chunks, files))
        self._constants = place.constants
        dim = axis_of_tiles(dims)
        tile = Tile(dim, rows_of(self._part, dim, sizes[dim], files[dim]))
        if not _about_to_be_written(self._root):
            check_root(self._root, self._part.samples, self._part.world)
        return tile

    def open(self, path: Path, mode: Mode) -> Any:
        return _Own(super().open(path, mode), self._root)

    def add(self, group: Any, name: str, new: NewArray) -> None:
        if _of_frames(name, new.rows is not None):
            group.fields = (*group.fields, name)
        else:
            super().add(group, name, new)

    def describe(self, group: Any, arrays: Mapping[str, NewArray]) -> list[str]:
        own = Path(group.store.root)
        temporary = own.with_name(f".{uuid.uuid4().hex}.{self._part.name}")  # a name that `Hold` removes
        try:
            self._create(temporary, arrays)
            _merge(temporary, self._root)
            _compare(temporary, self._root)
        finally:
            remove(temporary)
        return super().describe(group, arrays)

    def array(self, group: Any, name: str) -> Any:
        if name in group.fields:
            return _Box.of(super().array(group.root, name), self._part)
        return super().array(group, name)

    def sync(self, group: Any, path: Path, rows: Rows | None) -> None:
        if rows is None:
            super().sync(group, path, None)
            fields: Rows = {(name, 0) for name in group.fields}
        else:
            fields = {(name, row) for name, row in rows if name in group.fields}
            super().sync(group, path, rows - fields)
        files = [file for name, row in fields for file in self._chunks(self.array(group, name), row)]
        for file in sorted(files):
            sync_file(file)
        for folder in sorted({file.parent for file in files}):
            sync_folder(folder)

    def fault(self, group: Any, name: str, rows: bool) -> str:
        return super().fault(group.root if name in group.fields else group, name, rows)

    def _chunks(self, array: Any, row: int | None) -> Iterator[Path]:
        if not isinstance(array, _Box):
            yield from super()._chunks(array, row)
            return
        whole = array.whole
        sizes = (whole.shards or whole.chunks)[1:]
        inside = [
            range(side.start // each, -(-side.stop // each))
            for side, each in zip(array.box, sizes, strict=True)
        ]
        for place in product(range(whole.shape[0]) if row is None else [row], *inside):
            yield Path(whole.store.root, whole.path, whole.metadata.encode_chunk_key(place))

    def _create(self, path: Path, arrays: Mapping[str, NewArray]) -> None:
        """What all processes share, without numbers in the fields."""
        part, group = self._part, super().open(path, "w")
        frames = {name: new for name, new in arrays.items() if _of_frames(name, new.rows is not None)}
        shared = {dim for new in frames.values() for dim in new.dims}
        for name, new in arrays.items():
            if name in frames:
                self.create(group, name, self._of_all(new))
            elif name in self._constants:
                known = self._constants[name]
                super().add(group, name, NewArray(known.values, known.dims, attributes=known.attributes))
            elif name in shared:
                super().add(group, name, new)
        steps = next(iter(frames.values())).shape[0]
        group.attrs.update({"kind": KIND, "samples": part.samples, "world": part.world, "steps": steps})
        super().settle(group)
        self.close(group)

    def _of_all(self, new: NewArray) -> NewArray:
        """The field of all samples, in chunks and files of one sample."""
        values = np.broadcast_to(np.zeros((), new.values.dtype), self._sizes)
        shards = None if new.shards is None else self._file
        return replace(new, values=values, chunks=self._chunk, shards=shards)


def _about_to_be_written(root: Path) -> bool:
    """Whether a folder is missing, or has nothing but the parts of processes; one look, as it may grow."""
    try:
        held = {each.name for each in root.iterdir()}
    except FileNotFoundError:
        return not root.is_symlink()
    except NotADirectoryError:
        return False
    return "zarr.json" not in held and (not held or PARTS in held)


def check_root(root: Path, samples: int, world: int) -> None:
    """Raise ValueError unless a folder has the parts of so many samples and processes."""
    group = ZarrStorage().open(root, "r")
    try:
        found = {name: group.attrs.get(name) for name in ("kind", "samples", "world")}
    finally:
        group.store.close()
    if found != {"kind": KIND, "samples": samples, "world": world}:
        got = (
            f"{found['samples']} and {found['world']}" if found["kind"] == KIND else "another kind of folder"
        )
        wanted = f"the rollouts of {samples} samples by {world} processes in {root.name}"
        raise ValueError(expected(wanted, got, "as many processes as began it, or another path"))


class _Own:
    """The group of a process, with the fields of all."""

    def __init__(self, own: Any, root: Path) -> None:
        self._own, self._place = own, root
        self.attrs, self.store = own.attrs, own.store
        self.create_group, self.create_array = own.create_group, own.create_array
        self.fields: tuple[str, ...] = ()
        if isinstance(known := own.attrs.get("layout"), str):
            with readable("the layout of a part"):
                self.fields = tuple(map(str, json.loads(known)["fields"]))

    @cached_property
    def root(self) -> Any:
        """The group of all, which may not exist before the first frame."""
        return ZarrStorage().open(self._place, "r+")

    def __contains__(self, name: str) -> bool:
        return name in self._own or (name in self.fields and name in self.root)

    def __getitem__(self, name: str) -> Any:
        return (self.root if name in self.fields else self._own)[name]


class _Box:
    """Part of each frame of an array.

    Args:
        whole: the array.
        box: the part, of all axes but the first.
    """

    def __init__(self, whole: Any, box: tuple[slice, ...]) -> None:
        self.whole, self.box = whole, box
        self.shape = (whole.shape[0], *(side.stop - side.start for side in box))
        self.dtype = whole.dtype

    @classmethod
    def of(cls, whole: Any, part: RolloutPart) -> _Box:
        """What a process writes of a field."""
        dims, sizes = whole.metadata.dimension_names[1:], whole.shards or whole.chunks
        box = {dim: slice(0, size) for dim, size in zip(dims, whole.shape[1:], strict=True)}
        if "sample" in box:
            box["sample"] = part.rows
        dim = axis_of_tiles(dims)
        box[dim] = rows_of(part, dim, box[dim].stop, sizes[1 + dims.index(dim)])
        return cls(whole, tuple(box.values()))

    def __getitem__(self, key: Any) -> Array:
        if not isinstance(key, tuple):
            return np.asarray(self.whole[(key, *self.box)])
        index, *inside = key
        pairs = zip(self.box, inside, strict=True)
        own = (slice(side.start + each.start, side.start + each.stop) for side, each in pairs)
        return np.asarray(self.whole[(index, *own)])

    def __setitem__(self, index: int, values: Array) -> None:
        self.whole[(index, *self.box)] = values


def _of_frames(name: str, by_row: bool) -> bool:
    """Whether an array is one of the fields."""
    return by_row and not name.startswith(f"{STATE}/")


def _merge(new: Path, root: Path) -> None:
    """Move what is missing to the folder of all; its own metadata come last: with them it is whole."""
    for place in sorted(new.iterdir()):
        if place.is_dir() and not (root / place.name / "zarr.json").exists():
            _moved(place, root / place.name)
    sync_folder(root)
    if not (root / "zarr.json").exists():
        temporary = root / PARTS / f".{uuid.uuid4().hex}.{new.name.rpartition('.')[2]}"
        temporary.write_bytes((new / "zarr.json").read_bytes())
        temporary.replace(root / "zarr.json")
        sync_folder(root)


def _moved(place: Path, target: Path) -> None:
    """Rename a copy of a folder, unless another process was faster; the folder itself is compared later."""
    copy = place.with_name(f"{place.name}.copy")
    shutil.copytree(place, copy)
    try:
        copy.rename(target)
    except OSError:
        if not (target / "zarr.json").exists():
            raise
        remove(copy)


def _compare(new: Path, root: Path) -> None:
    """Raise ValueError if the folder of all has other fields or coordinates."""
    for place in sorted(new.rglob("*")):
        if place.is_file() and place.read_bytes() != (root / place.relative_to(new)).read_bytes():
            wanted = f"the fields, steps, coordinates and chunks that {root.name} was begun with"
            got = f"another {place.relative_to(new).as_posix()}"
            raise ValueError(expected(wanted, got, "the same call in all processes, or another path"))
