"""Rollout files as data sets of xarray: named dimensions, times and fields, read frame by frame."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuralop_irno.errors import expected, from_extra
from neuralop_irno.rollouts.contents import ENDINGS
from neuralop_irno.rollouts.files import HDF5, Zarr
from neuralop_irno.rollouts.frame_file import FrameFile

AXES = {0: (), 1: ("x",), 2: ("y", "x"), 3: ("z", "y", "x")}
"""The names of the axes of a grid."""


def open_rollout(path: str | os.PathLike[str], fields: Sequence[str] = ()) -> Any:
    """A rollout file as a data set of xarray, whose frames are read when they are used.

    Every frame that is read is checked against its digest. Of a rollout that is still written, the frames
    that are synchronised with the disk are there. Files need not be closed: each is opened for one read.

    Args:
        path: an HDF5 file or a Zarr folder.
        fields: a name for each channel, which then becomes a variable of its own; by default one variable
            ``frames`` has all channels.

    Returns:
        an ``xarray.Dataset``. On a grid its frames have the dimensions ``step, sample, channel, y, x``,
        on graphs ``step, node, channel``; ``start`` has ``start_step`` in place of ``step``. ``lasted``
        and ``ending`` (``completed``, ``not_finite``, ``untrusted``) are of each sample. With a clock,
        ``time`` is a coordinate.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: it is not a rollout, or is damaged; ``fields`` are not its channels.
        ImportError: xarray is not installed.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from neuralop_irno.rollouts.rollout import rollout
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = rollout(lambda u: 0.5 * u, torch.ones(1, 2, 8), steps=3, to=f"{folder}/run.h5")
        ...     data = open_rollout(f"{folder}/run.h5", fields=["u", "v"])
        ...     data.u.dims, float(data.u.isel(step=2).mean())
        (('step', 'sample', 'x'), 0.125)
    """
    with from_extra("xarray for labelled rollouts", "xarray"):
        import xarray
    source = Path(path)
    file = (Zarr if source.is_dir() else HDF5)(source)
    with file.contents() as contents:
        first, start, times = contents.frame(0), contents.start, contents.times
        count, lasted, codes = contents.complete, contents.lasted, contents.codes
        belongs = {"format": contents.format, "samples": contents.samples, "steps": contents.steps}
    on_grid = first.ndim > 2
    rows = "sample" if on_grid else "node"
    axes = AXES.get(first.ndim - 2, tuple(f"axis_{axis}" for axis in range(first.ndim - 2)))
    frames = xarray.Variable(
        ("step", rows, "channel", *axes), _lazy(file, (count, *first.shape), first.dtype)
    )
    before = xarray.Variable((rows, "start_step", "channel", *axes), start)
    names = list(fields) or ["frames"]
    if fields and (len(names) != first.shape[1] or len(set(names)) != len(names)):
        wanted = f"a name for each of {first.shape[1]} channels"
        raise ValueError(expected(wanted, names, f"fields={[f'u{k}' for k in range(first.shape[1])]}"))
    variables = {}
    for channel, name in enumerate(names):
        part = {"channel": channel} if fields else {}
        variables[name], variables[f"start_{name}" if fields else "start"] = frames[part], before[part]
    ended = lasted < count
    variables["lasted"] = xarray.Variable(("sample",), np.where(ended, lasted, count))
    endings = [ENDINGS[code].name.lower() for code in np.where(ended, codes, 0)]
    variables["ending"] = xarray.Variable(("sample",), np.asarray(endings))
    coordinates = {}
    if times is not None:
        dims = ("step",) if times.ndim == 1 else ("sample", "step")
        coordinates["time"] = (dims, times[..., :count])
    return xarray.Dataset(variables, coordinates, belongs)


def _lazy(file: FrameFile, shape: tuple[int, ...], dtype: Any) -> Any:
    """The frames of a file as an array that xarray reads in parts."""
    from xarray.backends import BackendArray
    from xarray.core import indexing

    class Frames(BackendArray):
        """Reads the frames that a slice selects, and of them the part that it selects."""

        def __init__(self) -> None:
            self.shape, self.dtype = shape, dtype

        def __getitem__(self, key: Any) -> Any:
            return indexing.explicit_indexing_adapter(
                key, self.shape, indexing.IndexingSupport.BASIC, self._read
            )

        def _read(self, key: tuple[Any, ...]) -> Any:
            steps, *rest = key
            with file.contents() as contents:
                if isinstance(steps, slice):
                    chosen = range(*steps.indices(shape[0]))
                    parts = [contents.frame(step)[tuple(rest)] for step in chosen]
                    if parts:
                        return np.stack(parts)
                    return np.empty(shape, dtype)[:0][(slice(None), *rest)]
                return contents.frame(int(steps))[tuple(rest)]

    return indexing.LazilyIndexedArray(Frames())
