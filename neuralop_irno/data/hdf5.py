"""HDF5 files that stay open: one handle for each file in each process."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import h5py

from neuralop_irno.errors import expected

OPEN_FILES = 128
"""So many are kept open; beyond that, the one that was not used for longest is closed."""


def opened(path: str | os.PathLike[str]) -> h5py.File:
    """The file, open for reading. Whoever asks again in the same process gets the same handle.

    A reader that keeps the path and asks for the handle holds no handle itself: it can be handed to the
    workers of a ``DataLoader``, each of which opens files of its own.
    """
    return _opened(str(path), os.getpid())


@lru_cache(maxsize=OPEN_FILES)
def _opened(path: str, process: int) -> h5py.File:
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(expected("a data file", f"no file at {source}", "another path"))
    try:
        return h5py.File(source, "r")
    except OSError as error:
        got = str(error).partition("\n")[0]
        raise ValueError(expected(f"HDF5 in {source.name}", got, "downloading it again")) from error


def files_in(folder: str | os.PathLike[str]) -> list[Path]:
    """The HDF5 files of a folder, by name."""
    found = sorted(path for path in Path(folder).glob("*") if path.suffix in (".h5", ".hdf5"))
    if not found:
        raise FileNotFoundError(expected(f"HDF5 files in {folder}", "none", "another folder"))
    return found
