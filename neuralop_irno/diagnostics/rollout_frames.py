"""Frames in memory or in files, read one by one."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor


class Series(Protocol):
    """A tensor, or an array of numpy, h5py, Zarr, Dask or xarray, ``(B, T, C, *S)`` or ``(N, T, C)``."""

    @property
    def shape(self) -> Any:
        """The lengths of its axes."""

    def __getitem__(self, place: Any, /) -> Any: ...


def frame_of(series: Series, index: int) -> Tensor:
    """A frame, ``(B, C, *S)`` or ``(N, C)``; nothing else is read.

    Example:
        >>> frame_of(np.arange(6.0, dtype=">f4").reshape(1, 3, 2), 1)
        tensor([[2., 3.]])
    """
    if isinstance(series, Tensor):
        return series[:, index]
    values = np.asarray(series[:, index])
    # Files may have another order of bytes than this machine.
    return torch.from_numpy(np.array(values, dtype=values.dtype.newbyteorder("=")))
