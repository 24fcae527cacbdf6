"""Rollouts in HDF5 and Zarr files, written as they are computed; see `frame_file` for the layout."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuralop_irno.errors import expected
from neuralop_irno.rollouts.frame_file import FrameFile
from neuralop_irno.rollouts.sink import Callback, Memory, Sink
from neuralop_irno.rollouts.storage import HDF5Storage, ZarrStorage


class HDF5(FrameFile):
    """A rollout in one HDF5 file.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from neuralop_irno.rollouts.rollout import rollout
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = HDF5(f"{folder}/run.h5")
        ...     _ = rollout(lambda u: 0.5 * u, torch.ones(1, 1, 4), steps=3, to=file)
        ...     file.read().frames[0, :, 0, 0]
        tensor([0.5000, 0.2500, 0.1250])
    """

    storage = HDF5Storage()


class Zarr(FrameFile):
    """A rollout in a Zarr folder, one compressed chunk a frame."""

    storage = ZarrStorage()


SUFFIXES: Mapping[str, type[FrameFile]] = {".h5": HDF5, ".hdf5": HDF5, ".zarr": Zarr}


def sink_of(to: Any) -> Sink:
    """The sink of an argument ``to``: None for memory, a path to a file, a function, or a sink."""
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


def check_file(path: str | os.PathLike[str]) -> list[str]:
    """The faults of a rollout file; empty if it is sound. The file is only read; no code in it is run.

    Every number is compared with its SHA-256 digest; in files of format 1, which have none, only impossible
    values are found. An unfinished rollout is sound.

    Args:
        path: an HDF5 file or a Zarr folder.

    Returns:
        a sentence for each problem.
    """
    source = Path(path)
    file = (Zarr if source.is_dir() else HDF5)(source)
    try:
        with file.contents() as contents:
            return contents.problems()
    except (ValueError, FileNotFoundError) as error:
        return [str(error)]
