"""Rollout files as data sets of xarray: named dimensions, coordinates and fields, read chunk by chunk."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuralop_irno.errors import expected, from_extra
from neuralop_irno.rollouts.contents import ENDINGS, Contents
from neuralop_irno.rollouts.files import file_of
from neuralop_irno.rollouts.frame_file import FrameFile
from neuralop_irno.rollouts.place import AXES, CHANNEL

HIDDEN = ("CLASS", "NAME", "REFERENCE_LIST", "DIMENSION_LIST", "coordinates")
"""Attributes by which files refer to dimensions; xarray has them as such."""


def open_rollout(path: str | os.PathLike[str], fields: Sequence[str] = ()) -> Any:
    """A rollout file as a data set of xarray, whose frames are read when they are used.

    What is read is checked against its digests: of a file with ``chunks``, only the chunks that are used. Of
    a rollout that is still written, the frames that are synchronised with the disk are there. Files need not
    be closed: each is opened for one read.

    Args:
        path: an HDF5 file, a Zarr folder, a ``.vtkhdf`` or a ``.pvd`` file.
        fields: a name for each channel, which then becomes a variable of its own; by default those of the
            file, or one variable ``frames`` of all channels.

    Returns:
        an ``xarray.Dataset``. On a grid its frames have the dimensions ``time, sample, channel, y, x``
        (``lat, lon`` on a sphere), on graphs ``time, node, channel``; fields with names have no ``channel``.
        ``start`` has ``start_step`` in place of ``time``. Without a clock, with one that differs from sample
        to sample, and in files up to format 2, the first dimension is ``step``. ``lasted`` and ``ending``
        (``completed``, ``not_finite``, ``untrusted``) are of each sample. Times, the coordinates of the grid
        or of the nodes, and the cells and the measure of a mesh are coordinates.

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
    file = file_of(path)
    with file.contents() as contents:
        known = _Known(contents, fields)
        variables = known.frames(file)
        coordinates = known.coordinates(file)
        variables |= known.starts()
        count, lasted, codes = contents.complete, contents.lasted, contents.codes
        belongs = {"format": contents.format, "samples": contents.samples, "steps": contents.steps}
    ended = lasted < count
    variables["lasted"] = ("sample",), np.where(ended, lasted, count)
    endings = [ENDINGS[code].name.lower() for code in np.where(ended, codes, 0)]
    variables["ending"] = ("sample",), np.asarray(endings)
    return xarray.Dataset(variables, coordinates, belongs)


class _Known:
    """The variables of an open file.

    Args:
        contents: of the file.
        fields: the names of channels; none for those of the file.
    """

    def __init__(self, contents: Contents, fields: Sequence[str]) -> None:
        self._contents, self._parts = contents, contents.parts
        shape = self._parts.shape
        self._axes = contents.layout.axes
        self._dims = contents.layout.dims or _old_dims(len(shape))
        channels = shape[self._parts.channel]
        if fields and (len(fields) != channels or len(set(fields)) != len(fields)):
            wanted = f"a name for each of {channels} channels"
            raise ValueError(expected(wanted, list(fields), f"fields={[f'u{k}' for k in range(channels)]}"))
        self._named = bool(fields) or self._parts.named
        self._fields = list(fields) or list(self._parts.fields)
        shared = contents.times is not None and contents.times.ndim == 1
        self._first = "time" if shared and contents.format > 2 else "step"

    def frames(self, file: FrameFile) -> dict[str, Any]:
        """The fields."""
        import xarray

        if self._parts.named:
            dims = (self._first, *self._without_channel())
            return {
                new: xarray.Variable(dims, self._lazy(file, old), self._said(old))
                for new, old in zip(self._fields, self._parts.fields, strict=True)
            }
        only = self._parts.fields[0]
        whole = xarray.Variable((self._first, *self._dims), self._lazy(file, only), self._said(only))
        if not self._named:
            return {only: whole}
        return {name: whole[{CHANNEL: k}] for k, name in enumerate(self._fields)}

    def starts(self) -> dict[str, Any]:
        """The frames that the rollout began with."""
        import xarray

        start = xarray.Variable((self._dims[0], "start_step", *self._dims[1:]), self._contents.start)
        if not self._named:
            return {"start": start}
        return {f"start_{name}": start[{CHANNEL: k}] for k, name in enumerate(self._fields)}

    def coordinates(self, file: FrameFile) -> dict[str, Any]:
        """Times, points and the mesh."""
        import xarray

        held: dict[str, Any] = {}
        for name, values in self._contents.constants.items():
            if name == "time":
                dims = ("sample", self._first)[2 - values.ndim :]
                held[name] = xarray.Variable(dims, values[..., : self._contents.complete], self._said(name))
            elif name != "start":
                held[name] = xarray.Variable(self._axes[name], values, self._said(name))
        for name in self._parts.moving:
            axes = (self._first, *self._axes[name])
            held[name] = xarray.Variable(axes, self._lazy(file, name), self._said(name))
        return held

    def _without_channel(self) -> tuple[str, ...]:
        return tuple(dim for dim in self._dims if dim != CHANNEL)

    def _said(self, name: str) -> Mapping[str, Any]:
        said = self._contents.attributes(name) if self._contents.format > 2 else {}
        return {key: value for key, value in said.items() if key not in HIDDEN}

    def _lazy(self, file: FrameFile, name: str) -> Any:
        shape = (self._contents.complete, *self._parts.shape_of(name))
        return _lazy(file, name, shape, self._contents.dtype(name))


def _old_dims(axes: int) -> tuple[str, ...]:
    """The axes of a frame in files up to format 2."""
    if axes == 2:
        return ("node", CHANNEL)
    inside = AXES.get(axes - 2, tuple(f"axis_{axis}" for axis in range(axes - 2)))
    return ("sample", CHANNEL, *inside)


def _lazy(file: FrameFile, name: str, shape: tuple[int, ...], dtype: Any) -> Any:
    """An array with a row for each frame, which xarray reads in parts."""
    from xarray.backends import BackendArray
    from xarray.core import indexing

    class Rows(BackendArray):
        """Reads the chunks around a selection."""

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
                    parts = [contents.part(step, name, tuple(rest)) for step in chosen]
                    if parts:
                        return np.stack(parts)
                    return np.empty(shape, dtype)[:0][(slice(None), *rest)]
                return contents.part(int(steps), name, tuple(rest))

    return indexing.LazilyIndexedArray(Rows())
