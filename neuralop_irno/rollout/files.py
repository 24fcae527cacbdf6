"""Rollouts in HDF5 and Zarr files, written as they are computed; see `frame_file` for what is in them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neuralop_irno.errors import expected
from neuralop_irno.rollout.frame_file import FrameFile, Mode
from neuralop_irno.rollout.sink import Callback, Memory, Sink


class HDF5(FrameFile):
    """A rollout in one HDF5 file.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from neuralop_irno.rollout.rollout import rollout
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = HDF5(f"{folder}/run.h5")
        ...     _ = rollout(lambda u: 0.5 * u, torch.ones(1, 1, 4), steps=3, to=file)
        ...     file.read().frames[0, :, 0, 0]
        tensor([0.5000, 0.2500, 0.1250])
    """

    def _open(self, path: Path, mode: Mode) -> Any:
        import h5py

        try:
            return h5py.File(path, mode)
        except OSError as error:
            raise ValueError(expected(f"an HDF5 file in {path.name}", str(error), "another path")) from error

    def _add(self, group: Any, name: str, values: np.ndarray[Any, Any], rows: int) -> None:
        # One block, all of it taken by the first row: later rows change no bookkeeping of the file's.
        group.create_dataset(name, (rows, *values.shape), values.dtype)[0] = values

    def _flush(self) -> None:
        self._file.flush()

    def _close(self, file: Any) -> None:
        file.close()


class Zarr(FrameFile):
    """A rollout in a Zarr folder, one compressed chunk a frame."""

    def _open(self, path: Path, mode: Mode) -> Any:
        try:
            import zarr
        except ImportError as error:
            raise ImportError(
                expected("zarr for Zarr files", "none", "pip install neuralop_irno[zarr]")
            ) from error
        try:
            return zarr.open_group(str(path), mode=mode)
        except (OSError, ValueError) as error:
            raise ValueError(expected(f"a Zarr group in {path.name}", str(error), "another path")) from error

    def _add(self, group: Any, name: str, values: np.ndarray[Any, Any], rows: int) -> None:
        shape, chunks = (rows, *values.shape), (1, *values.shape)
        group.create_array(name, shape=shape, chunks=chunks, dtype=values.dtype)[0] = values

    def _flush(self) -> None:
        """Every chunk is a file of its own, which appears when it is whole."""

    def _close(self, file: Any) -> None:
        file.store.close()


SUFFIXES: Mapping[str, type[FrameFile]] = {".h5": HDF5, ".hdf5": HDF5, ".zarr": Zarr}


def sink_of(to: Any) -> Sink:
    """Where frames go: nowhere but to memory (None), to a path by its suffix, a function, or a sink."""
    if to is None:
        return Memory()
    if isinstance(to, (str, os.PathLike)):
        suffix = Path(to).suffix
        if suffix not in SUFFIXES:
            raise ValueError(expected("a path that ends in .h5 or .zarr", repr(str(to)), "run.h5"))
        return SUFFIXES[suffix](to)
    if hasattr(to, "begin"):
        sink: Sink = to
        return sink
    if callable(to):
        return Callback(to)
    raise TypeError(expected("a path, a function or a sink", type(to).__name__, "to='run.h5'"))
