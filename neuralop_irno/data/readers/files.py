"""Fields on grids from one's own files: named variables, as pairs or as series in time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.data.frames import FrameWindows
from neuralop_irno.data.readers.array_formats import SUFFIXES, ZARR
from neuralop_irno.data.readers.axes import Order
from neuralop_irno.data.readers.field_file import Wanted
from neuralop_irno.data.readers.file_grid import Boundaries
from neuralop_irno.data.readers.file_names import in_natural_order
from neuralop_irno.data.readers.file_sets import FileFrames, FilePairs, FileSet
from neuralop_irno.data.readers.variables import check_names, names_in
from neuralop_irno.data.scaling import Normalise, to_normalise
from neuralop_irno.data.sizes import three
from neuralop_irno.data.splits import SPLITS, parts_of
from neuralop_irno.errors import expected
from neuralop_irno.registry import DATASETS

Data = FieldDataset | FilePairs | FrameWindows


@DATASETS.register("files")
def files(
    train: str,
    valid: str | None = None,
    test: str | None = None,
    split: Sequence[int] | None = None,
    x: str | Sequence[str] | None = None,
    y: str | Sequence[str] | None = None,
    static: str | Sequence[str] = (),
    mask: str | None = None,
    time: str | int | None = None,
    inputs: int = 1,
    outputs: int = 1,
    stride: int = 1,
    step: int = 1,
    layout: str | None = None,
    periodic: Sequence[bool] | None = None,
    padding: Sequence[str] | None = None,
    sphere: str | None = None,
    normalise: Normalise = True,
) -> dict[str, Data]:
    """Fields of one's own files: ``.npz``, ``.safetensors``, ``.pt``, HDF5, NetCDF (3, 4) or Zarr (2, 3).

    Args:
        train: a file, a folder of files, or a pattern such as ``runs/*.nc``.
        valid: the same for validation; left out with ``split``.
        test: the same for the test; by default those of validation.
        split: numbers of samples of ``train`` for training (the first), validation (the next) and test (the
            last ones); of frames, if ``train`` is one trajectory.
        x: variables of the input, by default ``[x]``; one number for each sample becomes a constant channel.
            Of series, by default y; others than those of y are inputs that are not predicted.
        y: variables of the target, by default ``[y]``; of series the fields of a frame, by default x.
        static: variables without samples, which are further channels of every input.
        mask: a variable without samples, 1 where fields count: elsewhere they may be missing, and are 0.
        time: of series, the name of the axis or of the coordinate of time, or the number of the axis.
        inputs: frames in x.
        outputs: frames in y.
        stride: frames between the starts of two windows.
        step: stored frames from one frame of a window to the next.
        layout: the axes of arrays: B (samples), T (time), C (channels), other letters are space. By default
            the names in the file, and of arrays without names ``B C *S`` or ``B T C *S``.
        periodic: which axes are periodic.
        padding: padding mode of each axis, in place of ``periodic``.
        sphere: the grid of fields on a sphere, ``equiangular``, ``legendre-gauss`` or ``lobatto``, north pole
            first; by default that of the latitudes and longitudes in the file.
        normalise: whether a run scales the fields by the mean and deviation of the training set; ``all`` also
            for a base that comes trained.
    """
    wanted = wanted_of(x, y, static, mask, time, layout, periodic, padding, sphere)
    wanted = replace(wanted, precise=bool(normalise))  # fields are scaled before they are rounded
    windows = {"inputs": inputs, "outputs": outputs, "stride": stride, "step": step}
    if not wanted.order.series and set(windows.values()) != {1}:
        raise ValueError(expected("inputs, outputs, stride and step of a series", windows, "time: t"))
    if (split is None) == (valid is None):
        got = "neither" if split is None else "both"
        raise ValueError(expected("valid or split", got, "valid: valid.nc, or split: [80, 10, 10]"))
    if split is not None:
        if test is not None:
            raise ValueError(expected("a split of train alone", f"also test {test!r}", "leaving test out"))
        whole = FileSet(paths_of(train), wanted)
        parts = _parts(whole, split).items()
        return to_normalise({name: _data(whole, part, windows) for name, part in parts}, normalise)
    named: dict[str, str] = dict(zip(SPLITS, (train, str(valid), test or str(valid)), strict=True))
    opened = {pattern: FileSet(paths_of(pattern), wanted) for pattern in dict.fromkeys(named.values())}
    found = {name: _data(opened[pattern], None, windows) for name, pattern in named.items()}
    return to_normalise(found, normalise)


def read_fields(path: str | os.PathLike[str], sphere: str | None = None) -> FieldDataset | FilePairs:
    """The arrays x and y of a file; nothing is unpickled.

    Args:
        path: of the file.
        sphere: the grid of fields on a sphere; by default they are on a flat grid.
    """
    return FilePairs(FileSet([Path(path)], wanted_of(sphere=sphere))).loaded()


def wanted_of(
    x: str | Sequence[str] | None = None,
    y: str | Sequence[str] | None = None,
    static: str | Sequence[str] = (),
    mask: str | None = None,
    time: str | int | None = None,
    layout: str | None = None,
    periodic: Sequence[bool] | None = None,
    padding: Sequence[str] | None = None,
    sphere: str | None = None,
) -> Wanted:
    """What is read of files, from the options of `files`."""
    order = Order(time, layout)
    inputs, targets = names_in(x), names_in(y)
    alone = x is None and y is None
    if order.series:
        inputs, targets = inputs or targets or ("x",), targets or inputs or ("x",)
    else:
        inputs, targets = inputs or ("x",), targets or ("y",)
    for option, names in (("x", inputs), ("y", targets), ("static", names_in(static))):
        check_names(option, names)
    boundaries = Boundaries(periodic, padding, sphere)
    return Wanted(inputs, targets, names_in(static), mask, order, boundaries, alone)


def paths_of(pattern: str | os.PathLike[str]) -> list[Path]:
    """The files of a path, a folder or a pattern, in natural order (2 before 10).

    Raises:
        FileNotFoundError: there are none.
    """
    path = Path(pattern)
    if path.is_dir() and path.suffix not in ZARR:
        found = in_natural_order(inner for inner in path.iterdir() if inner.suffix in SUFFIXES)
        if not found:
            hint = f"files that end in one of {', '.join(SUFFIXES)}"
            raise FileNotFoundError(expected(f"data files in {path}", "none", hint))
        return found
    if path.exists() or not set(str(pattern)) & set("*?["):
        return [path]
    found = in_natural_order(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    if not found:
        raise FileNotFoundError(expected(f"files {pattern}", "none", "the pattern of files that exist"))
    return found


def _parts(whole: FileSet, split: Sequence[int]) -> dict[str, Any]:
    """The samples of each split, or the frames of the only trajectory."""
    counts = three("split", split, (80, 10, 10))
    if whole.wanted.order.series and whole.samples == 1:
        return parts_of("frames", counts, whole.parts[0].frames)
    return parts_of("samples", counts, whole.samples)


def _data(source: FileSet, part: range | None, windows: dict[str, int]) -> Data:
    if source.wanted.order.series:
        alone = part is not None and source.samples == 1
        frames = FileFrames(source, None, part) if alone else FileFrames(source, part)
        return FrameWindows(frames, **windows)
    pairs = FilePairs(source, part)
    return pairs.loaded() if all(each.in_memory for each in source.parts) else pairs
