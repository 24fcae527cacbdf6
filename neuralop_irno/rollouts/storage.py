"""Named arrays in an HDF5 file or a Zarr folder: one interface to both libraries."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from neuralop_irno.checkpoint import sync_folder
from neuralop_irno.errors import expected, from_extra

Mode = Literal["r", "r+", "w"]
Array = np.ndarray[Any, Any]
Rows = set[tuple[str, int]]
"""(name of an array, row)."""

CARRIED = ("spent", "correction", "residuals")
ARRAYS = ("frames", "digests", "complete", "start", "times", "lasted", "endings", "seals")
NAMES = frozenset([*ARRAYS, "carry", *(f"carry/{name}" for name in CARRIED)])
"""The names of all arrays and groups of a rollout file."""


class Storage(Protocol):
    """Opens, writes and checks files of one kind."""

    def open(self, path: Path, mode: Mode) -> Any:
        """The file as a group of arrays.

        Raises:
            ValueError: it is another kind of file, or damaged.
        """

    def close(self, group: Any) -> None:
        """Close the file."""

    def add(self, group: Any, name: str, values: Array, rows: int) -> None:
        """A new array of ``rows`` rows, with the values in the first."""

    def array(self, group: Any, name: str) -> Any:
        """An array, to write rows to."""

    def flush(self, group: Any) -> None:
        """Pass the rows written so far to the operating system."""

    def sync(self, group: Any, path: Path, rows: Rows | None) -> None:
        """Synchronise rows of arrays with the disk; by default the whole file."""

    def fault(self, group: Any, name: str) -> str:
        """The difference of an array, or the group ``carry``, from the ones that we write; empty if none."""

    def missing(self, array: Any, row: int) -> bool:
        """Whether a row of an array is missing."""

    def foreign(self, group: Any, path: Path) -> str:
        """The name of an item in the file that is not part of a rollout; empty if there is none."""


class HDF5Storage(Storage):
    """One file."""

    def open(self, path: Path, mode: Mode) -> Any:
        import h5py

        try:
            # `Hold` locks out other writers. Readers need no lock, since no metadata changes.
            return h5py.File(path, mode, locking=False)
        except OSError as error:
            got = first_line(error)
            raise ValueError(expected(f"an HDF5 file in {path.name}", got, "another path")) from error

    def close(self, group: Any) -> None:
        group.close()

    def add(self, group: Any, name: str, values: Array, rows: int) -> None:
        # One contiguous block, allocated with the first row: later rows change no metadata of the file.
        group.create_dataset(name, (rows, *values.shape), values.dtype)[0] = values

    def array(self, group: Any, name: str) -> Any:
        return group[name]

    def flush(self, group: Any) -> None:
        group.flush()

    def sync(self, group: Any, path: Path, rows: Rows | None) -> None:
        group.flush()
        sync_file(path)

    def fault(self, group: Any, name: str) -> str:
        import h5py

        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            return "a link to another place"
        item = group[name]
        if isinstance(item, h5py.Group):
            return "" if name == "carry" else "a group"
        if item.is_virtual or item.external:
            return "an array that lies in another file"
        if item.dtype.kind not in "biufc":
            return f"an array of {item.dtype}"
        # HDF5 reads space that was never allocated as zeros.
        if item.chunks is not None or item.id.get_storage_size() != item.nbytes:
            return "an array that is not in one piece"
        return ""

    def missing(self, array: Any, row: int) -> bool:
        return False

    def foreign(self, group: Any, path: Path) -> str:
        names = [*group, *(f"carry/{name}" for name in group.get("carry", ()))]
        return next((name for name in names if name not in NAMES), "")


class ZarrStorage(Storage):
    """A folder, with a compressed file for each row of an array."""

    def open(self, path: Path, mode: Mode) -> Any:
        with from_extra("zarr for Zarr files", "zarr"):
            import zarr
        try:
            return zarr.open_group(str(path), mode=mode, use_consolidated=False)
        except (OSError, ValueError, KeyError, TypeError) as error:
            got = first_line(error)
            raise ValueError(expected(f"a Zarr group in {path.name}", got, "another path")) from error

    def close(self, group: Any) -> None:
        group.store.close()

    def add(self, group: Any, name: str, values: Array, rows: int) -> None:
        group.create_array(
            name,
            shape=(rows, *values.shape),
            chunks=(1, *values.shape),
            dtype=values.dtype,
            # All chunks in one folder: no folders for each axis of a frame.
            chunk_key_encoding={"name": "default", "separator": "."},
            # Rows of zeros are written too, so that a missing row can be detected.
            config={"write_empty_chunks": True},
        )[0] = values

    def array(self, group: Any, name: str) -> Any:
        import zarr

        with zarr.config.set({"array.write_empty_chunks": True}):
            return group[name]

    def flush(self, group: Any) -> None:
        """Nothing to do: every chunk is a file, written whole."""

    def sync(self, group: Any, path: Path, rows: Rows | None) -> None:
        if rows is None:
            files = [file for file in path.rglob("*") if file.is_file()]
        else:
            arrays = {name: group[name] for name in {name for name, _ in rows}}
            files = [self._chunk(arrays[name], row) for name, row in sorted(rows)]
        for file in files:
            sync_file(file)
        for folder in sorted({file.parent for file in files}):
            sync_folder(folder)

    def fault(self, group: Any, name: str) -> str:
        import zarr

        folder = Path(group.store.root) / name
        if any(place.is_symlink() for place in (folder, *folder.iterdir())):
            return "a link to another place"
        item = group[name]
        if isinstance(item, zarr.Group):
            return "" if name == "carry" else "a group"
        kinds = {type(codec).__name__ for codec in getattr(item.metadata, "codecs", ())}
        if item.metadata.zarr_format != 3 or not {"BytesCodec"} <= kinds <= {"BytesCodec", "ZstdCodec"}:
            return "an array with other codecs"
        if item.dtype.kind not in "biufc":
            return f"an array of {item.dtype}"
        if tuple(item.chunks) != (1, *item.shape[1:]):
            return "an array that is not stored row by row"
        return ""

    def missing(self, array: Any, row: int) -> bool:
        return not self._chunk(array, row).is_file()

    def foreign(self, group: Any, path: Path) -> str:
        for place in path.rglob("*"):
            inside = place.relative_to(path)
            name = CHUNK.sub("", inside.as_posix())
            if place.is_symlink() or (name and name not in NAMES):
                return inside.as_posix()
        return ""

    def _chunk(self, array: Any, row: int) -> Path:
        key = array.metadata.encode_chunk_key((row, *[0] * (len(array.shape) - 1)))
        return Path(array.store.root, array.path, key)


CHUNK = re.compile(r"(^|/)(zarr\.json|c([./]\d+)*)$")
"""Files in the folder of an array: its metadata, and chunks (in subfolders in format 1)."""


def sync_file(path: Path) -> None:
    """Synchronise a file with the disk."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Convert the errors of the libraries on damaged files into one ValueError.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        yield
    except (OSError, KeyError, IndexError, TypeError, AttributeError, RuntimeError, OverflowError) as error:
        hint = "a backup copy of the file"
        raise ValueError(expected(f"{what} to be readable", first_line(error), hint)) from error


def first_line(error: Exception) -> str:
    """The message of an error, in one line."""
    return [*str(error).splitlines(), type(error).__name__][0]
