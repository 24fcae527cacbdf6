"""Rollout files in other forms."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuralop_irno.errors import expected
from neuralop_irno.rollouts.contents import ENDINGS, Contents
from neuralop_irno.rollouts.files import file_of, sink_of
from neuralop_irno.rollouts.frame_file import FrameFile
from neuralop_irno.rollouts.labelled import HIDDEN
from neuralop_irno.rollouts.layouts import FORMAT
from neuralop_irno.rollouts.parts import tensor
from neuralop_irno.rollouts.place import Place, Variable
from neuralop_irno.rollouts.sink import Plan, Step

OF_FILES = (*HIDDEN, "mesh", "location")
"""Attributes by which a file refers to its own arrays."""


def convert_rollout(
    path: str | os.PathLike[str], to: str | os.PathLike[str] | FrameFile, fields: Sequence[str] = ()
) -> Path:
    """Write the frames of a rollout file to a file of another kind, such as one for ParaView.

    Frames are read, checked and written one by one. The new file holds the frames that are synchronised with
    the disk, and cannot be continued by a call of `rollout`.

    Args:
        path: a rollout file of format 3.
        to: a new file, ``.vtkhdf``, ``.pvd``, ``.h5`` or ``.zarr``, or one of these with options.
        fields: the names of channels in the new file, if ``to`` is a path; by default those of the old one.

    Returns:
        the path of the new file.

    Raises:
        ValueError: the file is of an older format or damaged, or its frames do not fit the new one.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from neuralop_irno.rollouts.rollout import rollout
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = rollout(lambda u: 0.5 * u, torch.ones(1, 2, 4), steps=3, to=f"{folder}/run.zarr")
        ...     convert_rollout(f"{folder}/run.zarr", f"{folder}/run.h5", fields=["u", "v"]).name
        'run.h5'
    """
    with file_of(path).contents() as contents:
        if contents.format < FORMAT:
            wanted = f"a rollout of format {FORMAT}, which holds its mesh, to convert"
            hint = "read(), and irno.write_vtkhdf"
            raise ValueError(expected(wanted, f"format {contents.format}", hint))
        sink = to if isinstance(to, FrameFile) else _labelled(contents, sink_of(to), fields)
        sink.begin(_plan(contents))
        try:
            for step in _steps(contents):
                sink.write(step)
        finally:
            sink.finish()
    return sink.path


def _labelled(contents: Contents, file: Any, fields: Sequence[str]) -> FrameFile:
    """A new file with the names and attributes of the old one."""
    old = contents.parts.fields
    names = list(fields) or (list(old) if contents.parts.named else [])
    said = {new: _said(contents, one) for new, one in zip(names or old, old, strict=False)}
    said |= {} if contents.times is None else {"time": _said(contents, "time")}
    made: FrameFile = type(file)(file.path, fields=names, attributes=said)
    return made


def _plan(contents: Contents) -> Plan:
    """A rollout of the frames of a file."""
    moving = contents.arrays(0) if contents.parts.moving else {}
    values = {**contents.constants, **{name: moving[name] for name in contents.parts.moving}}
    axes = contents.layout.axes
    constants = {name: Variable(values[name], dims, _said(contents, name)) for name, dims in axes.items()}
    times = None if contents.times is None else tensor(contents.times[..., : contents.complete])
    return Plan(
        tensor(contents.start),
        contents.samples,
        contents.complete,
        contents.block,
        times,
        lambda count: {"converted from": contents.belongs},
        Place(contents.layout.dims, constants),
    )


def _steps(contents: Contents) -> Iterator[Step]:
    """The frames of a file."""
    ended = contents.lasted < contents.complete
    lasted = np.where(ended, contents.lasted, contents.complete)
    endings = tuple(ENDINGS[code] for code in np.where(ended, contents.codes, 0))
    for index in range(contents.complete):
        arrays = contents.arrays(index)
        moved = {name: tensor(arrays[name]) for name in contents.parts.moving}
        frame = tensor(contents.parts.join(arrays))
        yield Step(index, None, frame, tensor(lasted), endings, {}, moved)


def _said(contents: Contents, name: str) -> dict[str, Any]:
    """The CF attributes of an array, without those that a new file gets itself."""
    return {key: value for key, value in contents.attributes(name).items() if key not in OF_FILES}
