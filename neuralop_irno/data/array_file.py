"""Write arrays to one file, a few samples at a time; the file gets its name when it is complete."""

from __future__ import annotations

import io
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from neuralop_irno.checkpoint import write_bytes
from neuralop_irno.errors import expected, from_extra

IN_MEMORY = (".npz", ".safetensors", ".pt")
SUFFIXES = (*IN_MEMORY, ".h5", ".hdf5", ".zarr")
"""Of the files that are written; the first are collected in memory."""


class ArrayFile:
    """A file of arrays whose first axis grows; a context manager.

    An error inside leaves no file.

    Args:
        path: a new ``.npz``, ``.safetensors``, ``.pt``, HDF5 or Zarr file.

    Raises:
        ValueError: the suffix is not supported.
        FileExistsError: there is something at the path.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with ArrayFile(f"{folder}/answers.npz") as file:
        ...         file.append({"y": torch.ones(2, 3)})
        ...         file.append({"y": torch.zeros(1, 3)})
        ...     np.load(f"{folder}/answers.npz")["y"].sum(1).tolist()
        [3.0, 3.0, 0.0]
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if self.path.suffix not in SUFFIXES:
            raise ValueError(
                expected(f"a path that ends in one of {', '.join(SUFFIXES)}", self.path.name, "answers.npz")
            )
        if os.path.lexists(self.path):
            raise FileExistsError(expected("a new file", f"{self.path.name}, which exists", "another path"))
        self._parts: dict[str, list[Tensor]] = {}
        self._temporary = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}")
        self._group: Any = None

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.suffix in IN_MEMORY:
            return self
        if self.path.suffix == ".zarr":
            with from_extra("zarr for Zarr files", "zarr"):
                import zarr
            self._group = zarr.open_group(str(self._temporary), mode="w")
        else:
            import h5py

            self._group = h5py.File(self._temporary, "x")
        return self

    def append(self, rows: Mapping[str, Tensor]) -> None:
        """Add rows to the arrays, which are the same in every call."""
        for name, values in rows.items():
            values = values.detach().cpu().contiguous()
            if self._group is None:
                self._parts.setdefault(name, []).append(values)
            else:
                _append(self._group, name, values.numpy())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if hasattr(self._group, "close"):
            self._group.close()
        if self._group is None and kind is None:
            write_bytes(self.path, _packed(self.path.suffix, self._parts))
        elif kind is None:
            self._temporary.rename(self.path)
        elif self._temporary.is_dir():
            shutil.rmtree(self._temporary)
        else:
            self._temporary.unlink(missing_ok=True)


def _append(group: Any, name: str, rows: Any) -> None:
    if name not in group:
        shape = (0, *rows.shape[1:])
        chunks = (1, *rows.shape[1:]) if rows.ndim > 1 else (max(len(rows), 1),)
        if hasattr(group, "create_array"):
            group.create_array(
                name, shape=shape, chunks=chunks, dtype=rows.dtype, config={"write_empty_chunks": True}
            )
        else:
            group.create_dataset(name, shape, rows.dtype, chunks=chunks, maxshape=(None, *rows.shape[1:]))
    array = group[name]
    start = array.shape[0]
    array.resize((start + len(rows), *rows.shape[1:]))
    array[start:] = rows


def _packed(suffix: str, parts: Mapping[str, list[Tensor]]) -> bytes:
    arrays = {name: torch.cat(rows) for name, rows in parts.items()}
    if suffix == ".safetensors":
        return save(arrays)
    buffer = io.BytesIO()
    if suffix == ".npz":
        plain: dict[str, Any] = {name: array.numpy() for name, array in arrays.items()}
        np.savez(buffer, **plain)
    else:
        torch.save(arrays, buffer)
    return buffer.getvalue()
