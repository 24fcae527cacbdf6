"""Arrays by name in one file of any format, read a few samples at a time where the format can."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.data.finite import finite
from neuralop_irno.data.readers.array_formats import stored_arrays
from neuralop_irno.errors import check_choice


class NamedArrays:
    """The arrays of a file.

    HDF5, NetCDF and Zarr files are read in parts, the others whole. Nothing is unpickled: ``.pt`` files may
    hold a tensor, which is called x, or a dict of tensors.

    Args:
        path: an ``.npz``, ``.safetensors``, ``.pt``, HDF5, NetCDF or Zarr file.
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
        found = stored_arrays(self.path)
        for name in names:
            check_choice(f"an array of {self.path.name}", name, found)
        chosen = names or [name for name in found if "/" not in name]
        self._stored = {name: found[name]() for name in chosen}
        self.shapes = {name: stored.shape for name, stored in self._stored.items()}

    def part(self, name: str, place: Any = (), precise: bool = False) -> Tensor:
        """A part of an array; real numbers become float32 unless they are integers or booleans.

        Args:
            name: of the array.
            place: index or slices.
            precise: whether numbers stored in double precision stay so.

        Raises:
            ValueError: it is damaged, or not finite.
        """
        stored = self._stored[name]
        plain = np.asarray(stored.read(place))
        if plain.dtype.kind == "f" or stored.packed:
            plain = stored.converted(plain, np.float64 if precise and stored.double else np.float32)
        return finite(torch.as_tensor(np.ascontiguousarray(plain)), f"{name} in {self.path.name}")
