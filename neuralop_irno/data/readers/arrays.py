"""Read arrays from .npz, .npy, .safetensors and .pt files without unpickling; sizes are checked first."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile, ZipFile, is_zipfile

import numpy as np
import torch
from numpy.lib import format as npy
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from neuralop_irno.errors import DamageError, expected, one_line

DEFLATE = 1100
"""Largest possible compression ratio of zip; entries that claim a higher one are zip bombs."""

DAMAGE = (
    BadZipFile, SafetensorError, EOFError, OSError, TypeError, ValueError, KeyError, MemoryError,
    OverflowError, RuntimeError, SyntaxError, zlib.error,
)  # fmt: skip
"""Exceptions raised by numpy, zipfile and safetensors on damaged files."""


def read_arrays(source: Path) -> dict[str, Tensor]:
    """The arrays of an ``.npz`` or ``.safetensors`` file, by name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: its suffix is not supported, it is damaged, or it holds anything but numbers.
    """
    if not source.is_file():
        hint = "the path of an .npz or .safetensors file"
        raise FileNotFoundError(expected("a data file", f"no file at {source}", hint))
    if source.suffix not in READERS:
        raise ValueError(expected("an .npz or .safetensors file", source.name, "np.savez(path, x=x, y=y)"))
    try:
        return READERS[source.suffix](source)
    except DAMAGE as error:
        hint = "np.savez(path, x=x, y=y)"
        raise ValueError(expected(f"arrays of numbers in {source.name}", one_line(error), hint)) from error


def read_numbers(source: Path) -> Any:
    """The numbers of an ``.npy`` file as a flat array in double precision, ``(n,)``.

    Raises:
        ValueError: as for `read_arrays`.
    """
    try:
        with source.open("rb") as file:
            return _array(file, source.stat().st_size).astype(np.float64).reshape(-1)
    except DAMAGE as error:
        hint = "np.save(path, values)"
        raise ValueError(expected(f"numbers in {source.name}", one_line(error), hint)) from error


def read_tensors(source: Path) -> dict[str, Tensor]:
    """The tensors of a ``.pt`` file by torch's loader of weights, which runs no code; one alone is called x.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or holds anything but tensors.
    """
    if not source.is_file():
        hint = "the path of a .pt file"
        raise FileNotFoundError(expected("a data file", f"no file at {source}", hint))
    hint = "torch.save({'x': x}, path)"
    try:
        found = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and pickle raise various types on damaged files
        raise ValueError(expected(f"tensors in {source.name}", one_line(error), hint)) from error
    named = {"x": found} if isinstance(found, Tensor) else found
    if not isinstance(named, dict) or not named or not all(isinstance(v, Tensor) for v in named.values()):
        got = type(found).__name__
        raise ValueError(expected(f"a tensor or a dict of tensors in {source.name}", got, hint))
    return {str(name): tensor for name, tensor in named.items()}


def _read_npz(source: Path) -> dict[str, Tensor]:
    if not is_zipfile(source):
        raise BadZipFile("no zip archive")  # numpy would treat it as a pickle
    found = {}
    with ZipFile(source) as archive:
        for entry in archive.infolist():
            if entry.file_size > DEFLATE * entry.compress_size:
                raise DamageError(f"{entry.file_size} bytes packed in {entry.compress_size}")
            with archive.open(entry) as file:
                name = entry.filename.removesuffix(".npy")
                found[name] = torch.from_numpy(_array(file, entry.file_size))
    return found


def _array(file: IO[bytes], size: int) -> Any:
    """The array in an open file of ``size`` bytes; numpy would allocate memory by the header unchecked."""
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise DamageError(f"a header of version {version}")
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = header(file)
    if dtype.kind not in "biufc" or min(shape, default=0) < 0:
        raise DamageError(f"entries of the kind {dtype}, shape {shape}")
    count = prod(shape) * dtype.itemsize
    if file.tell() + count != size:
        raise DamageError(f"a header for {shape} of {dtype}, {count} bytes, in {size}")
    content = np.frombuffer(file.read(count), dtype=dtype).reshape(shape, order="F" if fortran else "C")
    return np.array(content, dtype=dtype.newbyteorder("="), order="C")


READERS: dict[str, Callable[[Path], dict[str, Tensor]]] = {".npz": _read_npz, ".safetensors": load_file}
