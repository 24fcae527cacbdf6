"""Grids in VTKHDF files: ImageData for each sample, whose arrays are views of those of the rollout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from neuralop_irno.rollouts.place import CHANNEL, Array
from neuralop_irno.rollouts.storage import STATE, NewArray
from neuralop_irno.rollouts.vectors import drawn, width_of
from neuralop_irno.rollouts.vtk_grid import VTKGrid, grid_among


def add_grids(
    group: Any, root: Any, arrays: Mapping[str, NewArray], frames: Mapping[str, NewArray], times: Array
) -> None:
    """Describe the frames of a rollout to VTK.

    Args:
        group: the file.
        root: the group of VTK.
        arrays: of the file, with the coordinates of axes.
        frames: those with a row for each frame.
        times: of the frames.
    """
    import h5py

    some = next(iter(frames.values()))
    samples = some.shape[some.dims.index("sample")]
    known = {name: each.values for name, each in arrays.items() if name in some.dims}
    grid = grid_among(some.dims, some.shape, known)
    parts = drawn({name: new.attributes for name, new in frames.items()})
    sources = {name: [group[each] for each in components] for name, components in parts.items()}
    channel = some.dims.index(CHANNEL) if CHANNEL in some.dims else None
    if samples == 1:
        _add_grid(root, grid, sources, 0, channel, times)
        return
    root.attrs["Type"] = np.bytes_("MultiBlockDataSet")
    if len(times) > 1:
        _add_steps(root, times)
    order = root.create_group("Assembly", track_order=True)
    for sample in range(samples):
        name = f"sample_{sample}"
        block = root.create_group(name, track_order=True)  # VTK lists what it has in this order
        block.attrs["Version"] = root.attrs["Version"]
        _add_grid(block, grid, sources, sample, channel, times)
        order[name] = h5py.SoftLink(block.name)


def lead_to(root: Any, rows: slice) -> None:
    """Lead VTK to frames."""
    for block in _blocks(root):
        for offsets in block.get("Steps/PointDataOffsets", {}).values():
            offsets[rows] = np.arange(rows.start, rows.stop)


def zeros_of(group: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """An array of zeros that is never written: it takes no space."""
    return group.file[STATE].require_dataset("zeros", shape, dtype)


def _blocks(root: Any) -> Iterator[Any]:
    """The groups of the samples."""
    if "Assembly" not in root:
        yield root
        return
    for name in root["Assembly"]:
        yield root[name]


def _add_steps(root: Any, times: Array) -> Any:
    start = root.create_group("Steps")
    start.attrs["NSteps"] = len(times)
    start["Values"] = times
    return start


def _add_grid(
    root: Any,
    grid: VTKGrid,
    sources: Mapping[str, Sequence[Any]],
    sample: int,
    channel: int | None,
    times: Array,
) -> None:
    """The grid of one sample."""
    root.attrs["Type"] = np.bytes_("ImageData")
    # Axis i of VTK is the last axis of the arrays, whatever its direction in space.
    fast = [*reversed(grid.axes), *[np.zeros(1)] * (3 - len(grid.axes))]
    towards = [*reversed(grid.directions)]
    towards += [axis for axis in range(3) if axis not in towards]
    direction = np.zeros((3, 3))
    for column, (axis, coordinates) in enumerate(zip(towards, fast, strict=True)):
        direction[axis, column] = -1 if len(coordinates) > 1 and coordinates[1] < coordinates[0] else 1
    root.attrs["WholeExtent"] = np.asarray([end for axis in fast for end in (0, len(axis) - 1)])
    root.attrs["Origin"] = np.asarray(grid.origin)
    root.attrs["Spacing"] = np.asarray([grid.spacing[axis] for axis in towards])
    root.attrs["Direction"] = direction.reshape(-1)
    data, steps = root.create_group("PointData"), len(times)
    for name, parts in sources.items():
        _view(data, name, parts, sample, channel, tuple(map(len, grid.axes)))
    if steps > 1:  # VTK takes a single frame as one without time
        offsets = _add_steps(root, times).create_group("PointDataOffsets")
        for name in sources:
            offsets[name] = np.full(steps, steps)  # behind the frames: nan


def _view(
    group: Any, name: str, sources: Sequence[Any], sample: int, channel: int | None, shape: tuple[int, ...]
) -> None:
    """A virtual array of one sample, ``(steps + 1, *S, [C])``, whose last row is nan.

    Axes of one point are left out, and so is the first one of a single frame.
    """
    import h5py

    source = sources[0]
    steps, channels = len(source), len(sources) if channel is None else source.shape[channel]
    width, flat = width_of(channels), tuple(size for size in shape if size > 1)
    whole = (steps + 1, *flat) if steps > 1 else flat
    rows = (*([slice(0, steps)] if steps > 1 else []), *[slice(None)] * len(flat))
    layout = h5py.VirtualLayout((*whole, *((width,) if width > 1 else ())), source.dtype)
    for column in range(channels):
        place: list[Any] = [slice(None) if steps > 1 else 0, sample, *[slice(None)] * (source.ndim - 2)]
        if channel is not None:
            place[channel] = column
        part = h5py.VirtualSource(sources[0 if channel is not None else column])
        layout[(*rows, column) if width > 1 else rows] = part[tuple(place)]
    if width > channels:
        zeros = zeros_of(group, (steps, *flat) if steps > 1 else flat, source.dtype)
        layout[(*rows, channels)] = h5py.VirtualSource(zeros)
    group.create_virtual_dataset(name, layout, fillvalue=np.nan)
