"""Read arrays from pickles without running code in them.

Unpickling calls any function that the file names. Here only the names used for arrays, sparse matrices and
dicts are admitted, and each is replaced by a container of the stored data.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuralop_irno.errors import DamageError, expected, one_line

LARGEST = 2**28
"""Maximum entries of a dense matrix, about 20 times PubMed's features: a small file can claim any shape."""


class Stored:
    """The stored data of an object: its constructor arguments and its state."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Dtype(Stored):
    pass


class _Array(Stored):
    pass


class _Sparse(Stored):
    pass


def _default_dict(*factory: Any) -> dict[Any, Any]:
    return {}


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1")


ADMITTED = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("collections", "defaultdict"): _default_dict,
    ("_codecs", "encode"): _latin1,
    **{(module, "bytes"): bytes for module in ("builtins", "__builtin__")},  # how Python 3 stores b""
    **{(module, "list"): Stored for module in ("builtins", "__builtin__")},
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"scipy.sparse.{module}", "csr_matrix"): _Sparse for module in ("csr", "_csr")},
}
"""Admitted names by module and name, as written by Python 2 and 3."""


# The Python unpickler, not the C one, which allocates memory for any memo index in the file.
class Unpickler(pickle._Unpickler):
    """Unpickles content that names nothing but what is admitted.

    Attributes:
        admitted: what stands for each admitted name.
    """

    admitted: ClassVar[Mapping[tuple[str, str], Any]] = ADMITTED

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.admitted:
            raise pickle.UnpicklingError(f"a pickle that names {module}.{name}, which could run code")
        return self.admitted[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("a reference to another file")


def read_matrix(path: Path) -> NDArray[np.float32]:
    """A matrix of numbers, stored as a numpy array or a scipy sparse matrix.

    Raises:
        ValueError: the file holds something else, is damaged, or names functions.
    """
    try:
        content = _read(path)
        return (_dense(content) if isinstance(content, _Sparse) else array_of(content)).astype(np.float32)
    except DAMAGE as error:
        raise damaged(path, "a matrix of numbers", error) from error


def read_entry(path: Path, name: str) -> NDArray[Any]:
    """The array of an entry of a dict; other entries may hold anything that is admitted.

    Raises:
        ValueError: as for `read_matrix`.
    """
    try:
        content = _read(path)
        if not isinstance(content, dict) or name not in content:
            raise DamageError(f"a {type(content).__name__.strip('_')} without it")
        return array_of(content[name])
    except DAMAGE as error:
        raise damaged(path, f"an array {name!r}", error) from error


def read_neighbours(path: Path) -> NDArray[np.int64]:
    """The pairs (node, neighbour) of a dict of lists, ``(2, pairs)``.

    Raises:
        ValueError: as for `read_matrix`.
    """
    try:
        content = _read(path)
        if not isinstance(content, dict):
            raise DamageError(f"a {type(content).__name__}")
        # A list can be stored once and referenced often; bound the total, as each stored entry takes a byte.
        if sum(len(neighbours) for neighbours in content.values()) > path.stat().st_size:
            raise DamageError("more neighbours than the file has bytes")
        rows = [node for node, neighbours in content.items() for _ in neighbours]
        columns = [other for neighbours in content.values() for other in neighbours]
        if not all(type(node) is int for node in [*rows, *columns]):
            raise DamageError("nodes that are not whole numbers")
        return np.array([rows, columns], dtype=np.int64)
    except DAMAGE as error:
        raise damaged(path, "lists of neighbours", error) from error


DAMAGE = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError,
    MemoryError, RecursionError, AssertionError,
)  # fmt: skip
"""Exceptions raised by damaged pickles."""


def _read(path: Path) -> Any:
    return Unpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()


def damaged(path: Path, wanted: str, error: BaseException) -> ValueError:
    """The error of a file that does not hold what is wanted."""
    return ValueError(expected(f"{wanted} in {path.name}", one_line(error), "downloading it again"))


def array_of(stored: Any) -> NDArray[Any]:
    """The array from the state (version, shape, dtype, Fortran order, bytes)."""
    if not isinstance(stored, _Array):
        raise DamageError(f"a {type(stored).__name__.strip('_')}")
    _, shape, kind, fortran, content = stored.state
    content = _latin1(content) if isinstance(content, str) else content
    kind_of_number = kind.arguments[0]
    order = kind.state[1] if kind.state else "|"
    dtype = np.dtype(f"{order if order in '<>' else ''}{kind_of_number}")
    if not isinstance(kind, _Dtype) or dtype.kind not in "biuf" or any(type(n) is not int for n in shape):
        raise DamageError(f"entries of the kind {kind_of_number!r}")
    if len(content) != prod(shape) * dtype.itemsize:
        raise DamageError(f"{len(content)} bytes for an array {tuple(shape)} of {kind_of_number}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _dense(stored: _Sparse) -> NDArray[np.float32]:
    """A dense matrix from CSR: row i has data[indptr[i] : indptr[i + 1]] at these indices."""
    state = stored.state
    rows, columns = (int(n) for n in state.get("_shape", state.get("shape")))
    starts, places, values = (array_of(state[name]) for name in ("indptr", "indices", "data"))
    whole = starts.dtype.kind in "iu" and places.dtype.kind in "iu" and len(starts) == rows + 1
    if not whole or not 0 < rows * columns <= LARGEST or len(places) != len(values):
        raise DamageError(f"a sparse matrix {(rows, columns)} with {len(values)} entries")
    lengths = np.diff(starts.astype(np.int64))
    if starts[0] != 0 or starts[-1] != len(values) or (lengths < 0).any():
        raise DamageError("rows of a sparse matrix that overlap")
    if len(places) and not 0 <= places.min() <= places.max() < columns:
        raise DamageError(f"a place outside {columns} columns")
    dense = np.zeros((rows, columns), dtype=np.float32)
    np.add.at(dense, (np.repeat(np.arange(rows), lengths.tolist()), places), values)
    return dense
