"""Arrays in Zarr stores, opened once per process and checked for missing chunks.

Zarr reads a missing chunk as its fill value, mostly zeros, without an error.
"""

from __future__ import annotations

import os
from functools import lru_cache
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from neuralop_irno.data.finite import spelled, unrounded
from neuralop_irno.data.readers.hdf5 import LARGEST_CHUNK
from neuralop_irno.errors import check_choice, expected, from_extra, one_line

EMPTY = 2**64 - 1
"""Offset and size of an unwritten chunk in the index of a shard."""


def opened_array(path: str, name: str) -> Any:
    """An array of numbers in a store, open for reading.

    Raises:
        FileNotFoundError: nothing is at the path.
        ValueError: it is not a store, or the array or some of its chunks are missing.
    """
    return _opened(path, name, os.getpid())


def read_part(path: str, name: str, place: Any) -> Any:
    """A part of an array, in double precision if single precision would round it.

    Raises:
        ValueError: it is damaged, or not finite.
    """
    return unrounded(stored_part(path, name, place), f"{name}{spelled(place)} in {Path(path).name}")


def stored_part(path: str, name: str, place: Any = ()) -> Any:
    """A part of an array as it is stored.

    Raises:
        ValueError: it is damaged.
    """
    stored = opened_array(path, name)
    try:
        return np.asarray(stored[place])
    except Exception as error:  # zarr's decoders raise various types on damaged chunks
        raise _damaged(Path(path), error) from error


def array_names(path: str) -> list[str]:
    """The names of the arrays at the top of a store."""
    with from_extra("zarr for Zarr stores", "zarr"):
        import zarr
    source = Path(path)
    if not source.is_dir():
        hint = "the path of a .zarr folder"
        raise FileNotFoundError(expected("a Zarr store", f"no folder at {source}", hint))
    try:
        return sorted(zarr.open_group(path, mode="r").array_keys())
    except Exception as error:  # zarr raises various types on damaged metadata
        raise _damaged(source, error) from error


def files_of(path: str) -> tuple[Path, ...]:
    """All files of a store: metadata and chunks."""
    return tuple(sorted(file for file in Path(path).rglob("*") if file.is_file()))


@lru_cache(maxsize=128)
def _opened(path: str, name: str, process: int) -> Any:
    with from_extra("zarr for Zarr stores", "zarr"):
        import zarr
    source = Path(path)
    if not source.exists():
        hint = "the path of a .zarr folder"
        raise FileNotFoundError(expected("a Zarr store", f"nothing at {source}", hint))
    if not source.is_dir():
        raise ValueError(expected("a Zarr store as a folder", f"the file {source.name}", "unpacking it"))
    try:
        group = zarr.open_group(path, mode="r")
        names = sorted(group.array_keys())
        stored: Any = group[name] if name in names else None
    except Exception as error:  # zarr raises various types on damaged metadata
        raise _damaged(source, error) from error
    check_choice(f"an array of {source.name}", name, names)
    if stored.dtype.kind not in "biuf":
        wanted = f"{name} of {source.name} as numbers"
        hint = "the name of a numeric array"
        raise ValueError(expected(wanted, f"entries of the kind {stored.dtype}", hint))
    _check_chunks(stored, source / name)
    return stored


def _check_chunks(stored: Any, folder: Path) -> None:
    name = f"{folder.name} of {folder.parent.name}"
    block = stored.shards or stored.chunks
    if not 0 < prod(block) * stored.dtype.itemsize <= LARGEST_CHUNK:
        wanted = f"chunks of {name} of at most {LARGEST_CHUNK} bytes"
        raise ValueError(expected(wanted, block, "smaller chunks"))
    counts = [-(-n // size) for n, size in zip(stored.shape, block, strict=True)]
    there = {file.relative_to(folder).as_posix() for file in files_of(str(folder))}
    missing = prod(counts) - len(there)
    if missing <= 0:  # list the keys only now: a damaged shape could claim any number of chunks
        keys = {stored.metadata.encode_chunk_key(place) for place in product(*map(range, counts))}
        missing = len(keys - there)
        if not missing and stored.shards:
            missing = sum(_empty_in_shard(folder / key, prod(block) // prod(stored.chunks)) for key in keys)
    if missing > 0 or not prod(counts):
        hint = "writing them: zarr.config.set({'array.write_empty_chunks': True}) stores chunks of zeros too"
        wanted = f"all {prod(counts)} chunks of {name}" if prod(counts) else f"numbers in {name}"
        raise ValueError(expected(wanted, f"{missing} missing" if prod(counts) else stored.shape, hint))


def _empty_in_shard(path: Path, chunks: int) -> int:
    """Count the unwritten chunks of a shard, by the index at its end (16 bytes each, and a checksum)."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 16 * chunks - 4, 0))
        index = np.frombuffer(file.read(16 * chunks), dtype="<u8")
    return chunks - int((index.reshape(-1, 2)[:, 1] != EMPTY).sum()) if index.size == 2 * chunks else chunks


def _damaged(source: Path, error: Exception) -> ValueError:
    hint = "zarr.open_group(path), or copying it again"
    return ValueError(expected(f"a Zarr group in {source.name}", one_line(error), hint))
