"""Arrays by name in one file of any format, read a few samples at a time where the format can."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import torch
from torch import Tensor

from neuralop_irno.data.finite import finite
from neuralop_irno.data.readers import hdf5, zarr_store
from neuralop_irno.data.readers.arrays import READERS, read_arrays
from neuralop_irno.errors import check_choice, expected, one_line

HDF5, ZARR, TORCH = (".h5", ".hdf5"), (".zarr",), (".pt", ".pth")
SUFFIXES = (*READERS, *TORCH, *HDF5, *ZARR)
"""Of the files that are read."""

Read = Callable[[Any], Any]
"""The part of an array at a place."""


class NamedArrays:
    """The arrays of a file.

    HDF5 files and Zarr folders are read in parts, the others whole. Nothing is unpickled: ``.pt`` files may
    hold a tensor, which is called x, or a dict of tensors.

    Args:
        path: an ``.npz``, ``.safetensors``, ``.pt``, HDF5 or Zarr file.
        names: of the arrays to read; by default all at the top of the file.

    Attributes:
        shapes: of the arrays, by name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: its suffix is not supported, it is damaged, or lacks one of the names.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/fields.npz", x=np.ones((5, 1, 8)), tau=np.arange(5.0))
        ...     arrays = NamedArrays(f"{folder}/fields.npz")
        ...     arrays.shapes, arrays.part("tau", slice(1, 3))
        ({'x': (5, 1, 8), 'tau': (5,)}, tensor([1., 2.]))
    """

    def __init__(self, path: str | os.PathLike[str], names: Sequence[str] = ()) -> None:
        self.path = Path(path)
        found = _arrays(self.path)
        for name in names:
            check_choice(f"an array of {self.path.name}", name, found)
        chosen = names or list(found)
        self._reads = {name: found[name][1] for name in chosen}
        self.shapes = {name: found[name][0] for name in chosen}

    def part(self, name: str, place: Any = ()) -> Tensor:
        """A part of an array; real numbers become float32 unless they are integers or booleans.

        Raises:
            ValueError: it is damaged, or not finite.
        """
        values = torch.as_tensor(self._reads[name](place))
        if values.is_floating_point():
            values = values.float()
        return finite(values, f"{name} in {self.path.name}")


def _arrays(path: Path) -> Mapping[str, tuple[tuple[int, ...], Read]]:
    """The shapes of all arrays of a file, and how to read them."""
    if path.suffix not in SUFFIXES:
        hint = f"a file that ends in one of {', '.join(SUFFIXES)}"
        raise ValueError(expected("a file of arrays", path.name, hint))
    if path.suffix in HDF5:
        file = hdf5.opened(path)
        with hdf5.named_damage(path):
            names = [name for name in file if file.get(name, getclass=True) is h5py.Dataset]
        stored = {name: hdf5.array(file, name) for name in names}
        return {name: (array.shape, _reader(hdf5.numbers, array)) for name, array in stored.items()}
    if path.suffix in ZARR:
        names = zarr_store.array_names(str(path))
        shapes = {name: tuple(zarr_store.opened_array(str(path), name).shape) for name in names}
        return {
            name: (shape, _reader(zarr_store.read_part, str(path), name)) for name, shape in shapes.items()
        }
    whole = _tensors(path) if path.suffix in TORCH else read_arrays(path)
    return {name: (tuple(array.shape), array.__getitem__) for name, array in whole.items()}


def _reader(read: Callable[..., Any], *where: Any) -> Read:
    return lambda place: read(*where, place)


def _tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.pt`` file, by torch's loader of weights, which runs no code."""
    if not path.is_file():
        hint = "the path of a .pt file"
        raise FileNotFoundError(expected("a data file", f"no file at {path}", hint))
    hint = "torch.save({'x': x}, path)"
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and pickle raise various types on damaged files
        raise ValueError(expected(f"tensors in {path.name}", one_line(error), hint)) from error
    named = {"x": found} if isinstance(found, Tensor) else found
    if not isinstance(named, dict) or not named or not all(isinstance(v, Tensor) for v in named.values()):
        raise ValueError(
            expected(f"a tensor or a dict of tensors in {path.name}", type(found).__name__, hint)
        )
    return {str(name): tensor for name, tensor in named.items()}
