"""HDF5 files kept open, one handle per file and process, and checks that arrays are completely stored."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neuralop_irno.data.finite import spelled, unrounded
from neuralop_irno.data.readers.file_names import in_natural_order
from neuralop_irno.errors import did_you_mean, expected

OPEN_FILES = 128
"""Maximum number of open files; beyond it the least recently used one is closed."""

LARGEST_CHUNK = 2**30
"""Maximum bytes of a chunk: reading any frame unpacks its whole chunk, and a few kB can unpack to GBs."""


def opened(path: str | os.PathLike[str]) -> h5py.File:
    """The file, open for reading; all calls in one process share the handle.

    A reader that stores the path and calls this function can be passed to the workers of a ``DataLoader``,
    each of which opens its own handle.
    """
    return _opened(str(path), os.getpid())


@lru_cache(maxsize=OPEN_FILES)
def _opened(path: str, process: int) -> h5py.File:
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(expected("a data file", f"no file at {source}", "the path of an HDF5 file"))
    with named_damage(source):
        return h5py.File(source, "r")


def files_in(folder: str | os.PathLike[str]) -> list[Path]:
    """The HDF5 files of a folder, in natural order."""
    found = in_natural_order(path for path in Path(folder).glob("*") if path.suffix in (".h5", ".hdf5"))
    if not found:
        hint = "the folder of the .h5 or .hdf5 files"
        raise FileNotFoundError(expected(f"HDF5 files in {folder}", "none", hint))
    return found


@contextmanager
def named_damage(source: Path) -> Iterator[None]:
    """Turn errors of h5py on damaged files into a ValueError that names the file."""
    try:
        yield
    except (OSError, RuntimeError, MemoryError, OverflowError, UnicodeDecodeError, KeyError) as error:
        got = " ".join(str(error).partition("\n")[0].split()) or type(error).__name__
        raise ValueError(expected(f"HDF5 in {source.name}", got, "downloading it again")) from error


def member(group: h5py.Group, path: str) -> Any:
    """A group or an array by its path in a group; links to other files are refused.

    Raises:
        ValueError: it is missing, or a part of the path is a soft or external link.
    """
    for name in path.strip("/").split("/"):
        file = Path(group.file.filename).name
        with named_damage(Path(file)):
            link = group.get(name, getlink=True) if isinstance(group, h5py.Group) else None
            if link is None:
                names = list(group) if isinstance(group, h5py.Group) else []
                raise ValueError(expected(f"{path} in {file}", f"no {name}", did_you_mean(name, names)))
            if not isinstance(link, h5py.HardLink):
                # An external link could read any file that this user has access to.
                got = f"a {type(link).__name__} to {link.path!r}"
                raise ValueError(expected(f"{path} in {file} itself", got, "copying it into the file"))
            group = group[name]
    return group


def array(group: h5py.Group, path: str) -> h5py.Dataset:
    """An array of numbers that is completely stored in this file.

    HDF5 reads zeros for missing sources of a virtual array and for chunks that were never written. Both are
    refused.

    Raises:
        ValueError: it is not an array of numbers, or some of its numbers are in another file or missing.
    """
    found = member(group, path)
    file = Path(group.file.filename)
    with named_damage(file):
        problem = _problem(found)
    if problem:
        wanted = f"an array of numbers, all stored in the file, at {path} of {file.name}"
        raise ValueError(expected(wanted, *problem))
    return found


def _problem(found: Any) -> tuple[str, str] | None:
    """What is wrong with an array, and a hint; None if nothing is."""
    again, copied = "downloading the file again", "copying the array: file['new'] = file['old'][...]"
    if not isinstance(found, h5py.Dataset):
        return "a group", again
    if found.dtype.kind not in "biuf":
        return f"entries of the kind {found.dtype}", again
    size = prod(found.shape) if found.shape is not None else 0
    if not size:
        return f"no numbers, shape {found.shape}", again
    if found.is_virtual:
        return "a virtual array", copied
    if found.external:
        return f"numbers in the file {found.external[0][0]!r}", copied
    if found.chunks is None:
        stored = found.id.get_storage_size()
        whole = stored >= size * found.dtype.itemsize
        return None if whole else (f"{stored} bytes for {found.shape}", again)
    if prod(found.chunks) * found.dtype.itemsize > LARGEST_CHUNK:
        return f"blocks of {found.chunks}, above {LARGEST_CHUNK} bytes", "chunks=True"
    blocks = prod(-(-n // block) for n, block in zip(found.shape, found.chunks, strict=True))
    stored = found.id.get_num_chunks()
    return None if stored == blocks else (f"{stored} of {blocks} blocks, the others not written", again)


def numbers(dataset: h5py.Dataset, place: Any = ()) -> Any:
    """A part of an array in single precision.

    Raises:
        ValueError: it is damaged, or not finite.
    """
    return numbers_as_stored(dataset, place).astype(np.float32, copy=False)


def numbers_as_stored(dataset: h5py.Dataset, place: Any = ()) -> Any:
    """A part of an array, in double precision if single precision would round it.

    Raises:
        ValueError: it is damaged, or not finite.
    """
    file = Path(dataset.file.filename)
    with named_damage(file):
        values = np.asarray(dataset[place])
    return unrounded(values, f"{dataset.name.strip('/')}{spelled(place)} in {file.name}")


def stored_part(path: str, name: str, place: Any = ()) -> Any:
    """A part of an array as it is stored, from the path of its file; links and missing blocks are refused."""
    with named_damage(Path(path)):
        return np.asarray(_checked(path, name, os.getpid())[place])


@lru_cache(maxsize=OPEN_FILES)
def _checked(path: str, name: str, process: int) -> h5py.Dataset:
    return array(opened(path), name)
