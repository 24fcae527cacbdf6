"""One view of all formats of arrays: the arrays of a file by name, opened when they are used."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from torch import Tensor

from neuralop_irno.data.readers import hdf5_arrays, netcdf3, zarr_store
from neuralop_irno.data.readers.arrays import READERS, read_arrays, read_tensors
from neuralop_irno.data.readers.stored import Stored, described
from neuralop_irno.errors import expected

NETCDF, HDF5, ZARR, TORCH = (".nc", ".nc4", ".cdf"), (".h5", ".hdf5"), (".zarr",), (".pt", ".pth")
IN_MEMORY = (*READERS, *TORCH)
"""Files that are read whole; the others are read in parts."""

SUFFIXES = (*IN_MEMORY, *HDF5, *NETCDF, *ZARR)
"""Of the files that are read."""

DIMENSIONS = "_ARRAY_DIMENSIONS"
"""The attribute in which xarray names the axes of arrays of Zarr 2."""

NEVER_WRITTEN = 9.969209968386869e36
"""What NetCDF stores for real numbers that were never written, unless the file states another value."""

Openers = Mapping[str, Callable[[], Stored]]


def stored_arrays(path: str | os.PathLike[str]) -> Openers:
    """The arrays of a file by name; each is opened, and checked, when it is called for.

    Args:
        path: an ``.npz``, ``.safetensors``, ``.pt``, HDF5, NetCDF (3 or 4) or Zarr (2 or 3) file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: its suffix is not supported, or it is damaged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/fields.npz", x=np.ones((5, 1, 8)))
        ...     stored_arrays(f"{folder}/fields.npz")["x"]().shape
        (5, 1, 8)
    """
    source = Path(path)
    if source.suffix not in SUFFIXES:
        hint = f"a file that ends in one of {', '.join(SUFFIXES)}"
        raise ValueError(expected("a file of arrays", source.name, hint))
    if source.suffix in ZARR:
        names = zarr_store.array_names(str(source))
        return {name: partial(_in_zarr, str(source), name) for name in names}
    if source.suffix in (*HDF5, *NETCDF):
        classic = source.suffix in NETCDF and _starts_with(source, netcdf3.MAGIC)
        found = (netcdf3 if classic else hdf5_arrays).stored_arrays(str(source))
        return {
            name: partial(_filled, array) if source.suffix in NETCDF else array
            for name, array in found.items()
        }
    whole = read_tensors(source) if source.suffix in TORCH else read_arrays(source)
    return {name: partial(_in_memory, tensor) for name, tensor in whole.items()}


def files_of(path: Path) -> tuple[Path, ...]:
    """The files that belong to a path: itself, or all files of a Zarr store."""
    return zarr_store.files_of(str(path)) if path.suffix in ZARR else (path,)


def _starts_with(source: Path, magic: bytes) -> bool:
    if not source.is_file():
        return False
    with source.open("rb") as file:
        return file.read(len(magic)) == magic


def _filled(array: Callable[[], Stored]) -> Stored:
    """An array of NetCDF with its fill value."""
    stored = array()
    if stored.kind != "f" or "_FillValue" in stored.attributes:
        return stored
    return replace(stored, attributes={**stored.attributes, "_FillValue": NEVER_WRITTEN})


def _in_memory(tensor: Tensor) -> Stored:
    plain = tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor
    array = plain.detach().resolve_conj().resolve_neg().numpy()
    return Stored(array.shape, partial(np.ndarray.__getitem__, array), dtype=array.dtype)


@lru_cache(maxsize=1024)
def _in_zarr(path: str, name: str) -> Stored:
    array = zarr_store.opened_array(path, name)
    known = dict(array.attrs)
    dims = known.get(DIMENSIONS) or getattr(array.metadata, "dimension_names", None) or ()
    if not isinstance(dims, (list, tuple)) or not all(dim is None or isinstance(dim, str) for dim in dims):
        dims = ()
    fill = known.get("_FillValue")
    if isinstance(fill, str):  # xarray writes it as the bytes of a number in Zarr 3
        known["_FillValue"] = _number_of(fill)
    elif DIMENSIONS in known and fill is None:  # and as the array's own fill value in Zarr 2
        known["_FillValue"] = array.fill_value
    read = partial(zarr_store.stored_part, path, name)
    return Stored(tuple(array.shape), read, tuple(dims), described(known), array.dtype)


def _number_of(text: str) -> float | None:
    try:
        return float(np.frombuffer(base64.b64decode(text, validate=True), "<f8")[0])
    except (binascii.Error, ValueError, IndexError):
        return None
