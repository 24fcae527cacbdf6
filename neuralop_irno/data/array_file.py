"""Write arrays to one file, a few samples at a time; the file gets its name when it is complete."""

from __future__ import annotations

import io
import os
import shutil
import uuid
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from neuralop_irno.checkpoint import write_bytes
from neuralop_irno.errors import expected, from_extra

IN_MEMORY = (".npz", ".safetensors", ".pt")
SUFFIXES = (*IN_MEMORY, ".h5", ".hdf5", ".nc", ".zarr")
"""Of the files that are written; the first are collected in memory."""


NO_VALUES = "This is a netCDF dimension but not a netCDF variable."
"""The name by which NetCDF-4 marks a dimension without coordinates."""


LIKE = {".nc4": ".nc", ".cdf": ".nc", ".pth": ".pt"}
"""The endings that are written for those that are read only."""


def array_file_of(path: Path, folder: Path) -> Path:
    """The file in a folder for the answers to a file of arrays.

    Example:
        >>> array_file_of(Path("in/a.nc4"), Path("out")).as_posix()
        'out/a.nc'
    """
    return folder / path.with_suffix(LIKE.get(path.suffix, path.suffix)).name


def refuse_existing(path: Path) -> None:
    """Raise FileExistsError if something is at a path."""
    if os.path.lexists(path):
        raise FileExistsError(expected("a new file", f"{path.name}, which exists", "another path"))


@dataclass(frozen=True)
class Labels:
    """The names of axes, coordinates and attributes of arrays, for formats that hold them.

    Attributes:
        axes: of each array.
        coordinates: values and attributes, by the name of their axis.
        attributes: of each array, such as its units.
    """

    axes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    coordinates: Mapping[str, tuple[Any, Mapping[str, Any]]] = field(default_factory=dict)
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class ArrayFile:
    """A file of arrays whose first axis grows; a context manager.

    An error inside leaves no file.

    Args:
        path: a new ``.npz``, ``.safetensors``, ``.pt``, HDF5, NetCDF (4) or Zarr file.

    Attributes:
        labels: of the arrays, written to NetCDF and Zarr; to be set before the first rows.

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
        refuse_existing(self.path)
        self._parts: dict[str, list[Tensor]] = {}
        self._temporary = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}")
        self._group: Any = None
        self.labels = Labels()

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.suffix in IN_MEMORY:
            return self
        if self.path.suffix == ".zarr":
            with from_extra("zarr for Zarr files", "zarr"):
                import zarr
            self._group = zarr.open_group(str(self._temporary), mode="w")
        else:
            self._group = h5py.File(self._temporary, "x", track_order=True)
        return self

    def append(self, rows: Mapping[str, Tensor]) -> None:
        """Add rows to the arrays, which are the same in every call."""
        for name, values in rows.items():
            values = values.detach().cpu().contiguous()
            if self._group is None:
                self._parts.setdefault(name, []).append(values)
            else:
                _append(self._group, name, values.numpy(), _axes(name, values.dim(), rows, self.labels))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self.path.suffix == ".nc":
            _label(self._group, self.labels)
        if kind is None and self.path.suffix == ".zarr":
            _add_coordinates(self._group, self.labels)
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


def _axes(name: str, count: int, names: Collection[str], labels: Labels) -> list[str]:
    """The names of the axes of an array; a variable of the name of an axis would be its coordinate."""
    axes = labels.axes.get(name) or ["sample", *(f"{name}_{axis}" for axis in range(1, count))]
    return [f"{axis}_axis" if axis in names else axis for axis in axes]


def _append(group: Any, name: str, rows: Any, axes: list[str]) -> None:
    if name not in group:
        shape = (0, *rows.shape[1:])
        chunks = (1, *rows.shape[1:]) if rows.ndim > 1 else (max(len(rows), 1),)
        if hasattr(group, "create_array"):
            group.create_array(
                name,
                shape=shape,
                chunks=chunks,
                dtype=rows.dtype,
                dimension_names=axes,
                config={"write_empty_chunks": True},
            )
        else:
            group.create_dataset(name, shape, rows.dtype, chunks=chunks, maxshape=(None, *rows.shape[1:]))
    array = group[name]
    start = array.shape[0]
    array.resize((start + len(rows), *rows.shape[1:]))
    array[start:] = rows


def _label(file: Any, labels: Labels) -> None:
    """Name the axes of the arrays of an HDF5 file as NetCDF-4 does, by dimension scales."""
    names = list(file)
    for name in names:
        array = file[name]
        array.attrs.update(labels.attributes.get(name, {}))
        for axis, dim in enumerate(_axes(name, array.ndim, names, labels)):
            if dim not in file:
                _add_scale(file, dim, array.shape[axis], labels.coordinates.get(dim))
            array.dims[axis].attach_scale(file[dim])


def _add_coordinates(group: Any, labels: Labels) -> None:
    """The attributes of the arrays of a Zarr group, and the coordinates of their axes."""
    sizes: dict[str, int] = {}
    for name, array in list(group.arrays()):
        array.attrs.update(labels.attributes.get(name, {}))
        sizes |= dict(zip(array.metadata.dimension_names, array.shape, strict=True))
    for axis, (values, said) in labels.coordinates.items():
        if sizes.get(axis) == len(values):
            found = np.ascontiguousarray(values)
            group.create_array(axis, data=found, dimension_names=[axis]).attrs.update(said)
    import zarr

    with warnings.catch_warnings():  # Zarr 3 has no specification of it yet; xarray looks for it first
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(group.store)


def _add_scale(file: Any, name: str, size: int, coordinate: tuple[Any, Mapping[str, Any]] | None) -> None:
    if coordinate is None or len(coordinate[0]) != size:
        file.create_dataset(name, (size,), ">f4").make_scale(f"{NO_VALUES}{size:10d}")
    else:
        file.create_dataset(name, data=coordinate[0]).make_scale(name)
        file[name].attrs.update(coordinate[1])


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
