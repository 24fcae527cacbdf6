"""NetCDF-3 files (classic and with 64-bit offsets), mapped into memory by scipy."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import netcdf_file

from neuralop_irno.data.readers.stored import Stored, described
from neuralop_irno.errors import expected, one_line

MAGIC = b"CDF"


def stored_arrays(path: str) -> dict[str, Callable[[], Stored]]:
    """The arrays of numbers of a file, by name, each opened when it is called for."""
    numeric = [name for name, found in _opened(path, os.getpid()).items() if found.typecode() != "c"]
    return {name: partial(_stored, path, name) for name in numeric}


def _stored(path: str, name: str) -> Stored:
    found = _opened(path, os.getpid())[name]
    dims, attributes = tuple(map(str, found.dimensions)), described(found._attributes)
    return Stored(tuple(found.data.shape), partial(_part, path, name), dims, attributes, found.data.dtype)


def _part(path: str, name: str, place: Any = ()) -> Any:
    """A part of an array as it is stored, in the byte order of this machine."""
    part = np.asarray(_opened(path, os.getpid())[name].data[place])
    return part.astype(part.dtype.newbyteorder("="))


@lru_cache(maxsize=32)
def _opened(path: str, process: int) -> Any:
    try:
        file: Any = netcdf_file(path, "r", mmap=True, maskandscale=False)
        variables = dict(file.variables)
        file._mm_buf = None  # the variables keep the map alive, of which closing the file would warn
        file.close()
        return variables
    except Exception as error:  # scipy raises various types on damaged headers
        wanted = f"NetCDF in {Path(path).name}"
        raise ValueError(expected(wanted, one_line(error), "downloading it again")) from error
