"""Fields on meshes from one's own files: named fields, as pairs or as series in time."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from neuralop_irno.data.mesh_windows import MeshWindows
from neuralop_irno.data.readers.file_names import grouped, in_natural_order
from neuralop_irno.data.readers.mesh_references import XML
from neuralop_irno.data.readers.mesh_samples import MeshPairs, SeriesTrajectories, Wanted
from neuralop_irno.data.readers.mesh_series import PVD, FileSeries, Series, series_of
from neuralop_irno.data.readers.variables import check_names, names_in
from neuralop_irno.data.readers.vtkhdf_files import SUFFIX
from neuralop_irno.data.scaling import Normalise, to_normalise
from neuralop_irno.data.sizes import three
from neuralop_irno.data.splits import SPLITS, parts_of
from neuralop_irno.errors import expected, from_extra
from neuralop_irno.registry import DATASETS

NAMES = ("x", "y", "static", "tags", "boundary", "on", "neighbours")
"""The options of `mesh_files` that name what is read of a mesh."""

Given = str | Sequence[str]
Data = MeshPairs | MeshWindows


@DATASETS.register("mesh_files")
def mesh_files(
    train: str | Sequence[str],
    x: str | Sequence[str],
    y: str | Sequence[str] = (),
    valid: str | Sequence[str] | None = None,
    test: str | Sequence[str] | None = None,
    split: Sequence[int] | None = None,
    static: str | Sequence[str] = (),
    tags: str | Sequence[str] = (),
    boundary: bool = False,
    on: str | None = None,
    neighbours: int = 0,
    inputs: int = 1,
    outputs: int = 1,
    stride: int = 1,
    normalise: Normalise = True,
) -> dict[str, Data]:
    """Fields of one's own mesh files, in the formats of meshio and in ``.vtkhdf``.

    With y, pairs: each file is a sample, on a mesh of its own. Without y, series: each is a trajectory on a
    mesh of its own, and frames follow frames. A series is a ``.pvd`` file, an XDMF or ``.vtkhdf`` file with
    several times, or files with numbers (``run_000.vtu, run_001.vtu, ..``); a folder is one series.

    Args:
        train: a file, a folder of files, a pattern such as ``runs/*.pvd``, or several of these.
        x: fields of the input; of series those of a frame. ``position`` is the coordinates.
        y: fields of the target, for pairs.
        valid: the same as ``train`` for validation; left out with ``split``.
        test: the same for the test; by default those of validation.
        split: numbers of files or series of ``train`` for training (the first), validation (the next) and
            test (the last ones); of frames, if it is one series.
        static: fields that are constant in time, further channels of every input.
        tags: sets, physical groups, or ``field=number``, each a channel of 0 and 1.
        boundary: a channel that is 1 on the boundary.
        on: where fields are, ``nodes`` or ``cells``; needed if their names are at both.
        neighbours: of files with points alone: edges to each from the nearest others.
        inputs: frames in x.
        outputs: frames in y.
        stride: frames between the starts of two windows.
        normalise: whether a run scales the fields by the mean and deviation of the training set; ``all`` also
            for a base that comes trained.
    """
    wanted = wanted_of(x=x, y=y, static=static, tags=tags, boundary=boundary, on=on, neighbours=neighbours)
    wanted = replace(wanted, precise=bool(normalise))  # fields are scaled before they are rounded
    windows = {"inputs": inputs, "outputs": outputs, "stride": stride}
    if wanted.y and set(windows.values()) != {1}:
        raise ValueError(expected("inputs, outputs and stride of a series", windows, "leaving y out"))
    if (split is None) == (valid is None):
        got = "neither" if split is None else "both"
        raise ValueError(expected("valid or split", got, "valid: valid/*.vtu, or split: [80, 10, 10]"))
    if split is None:
        given = dict(zip(SPLITS, (train, valid, valid if test is None else test), strict=True))
        known: dict[str, Data] = {}
        for name, paths in given.items():
            same = next((other for other in known if given[other] == paths), None)
            known[name] = known[same] if same else _data(sources_of(paths or (), wanted), wanted, windows)
        return to_normalise(known, normalise)
    if test is not None:
        raise ValueError(expected("a split of train alone", f"also test {test!r}", "leaving test out"))
    counts, sources = three("split", split, (80, 10, 10)), sources_of(train, wanted)
    if not wanted.y and len(sources) == 1:
        parts = parts_of("frames", counts, len(sources[0]))
        found = {name: _data(sources, wanted, windows, part) for name, part in parts.items()}
        return to_normalise(found, normalise)
    parts = parts_of("series" if not wanted.y else "files", counts, len(sources))
    found = {name: _data([sources[i] for i in part], wanted, windows) for name, part in parts.items()}
    return to_normalise(found, normalise)


def wanted_of(
    x: Given,
    y: Given = (),
    static: Given = (),
    tags: Given = (),
    boundary: bool = False,
    on: str | None = None,
    neighbours: int = 0,
) -> Wanted:
    """What is read of a mesh, from the options of `mesh_files`; y that is x is a series."""
    inputs, targets = names_in(x), names_in(y)
    if not inputs:
        raise ValueError(expected("fields of the input", "none", "x: [T]"))
    targets = () if targets == inputs else targets
    named = {"x": inputs, "y": targets, "static": names_in(static), "tags": names_in(tags)}
    for option, names in named.items():
        check_names(option, names)
    return Wanted(inputs, targets, named["static"], named["tags"], boundary, on, neighbours)


def mesh_suffixes() -> frozenset[str]:
    """The endings of mesh files, in lower case."""
    with from_extra("meshio for mesh files", "meshes"):
        import meshio
    return frozenset({*meshio.extension_to_filetypes, SUFFIX, PVD})


def meshes_in(folder: Path) -> list[Path]:
    """The mesh files of a folder, in natural order; files with other suffixes are left out.

    Raises:
        FileNotFoundError: there are none.
    """
    known = mesh_suffixes()
    found = [path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in known]
    if not found:
        raise FileNotFoundError(expected(f"mesh files in {folder}", "none", "the folder of the files"))
    return in_natural_order(found)


def _data(
    sources: Sequence[Any], wanted: Wanted, windows: Mapping[str, int], places: range | None = None
) -> Data:
    if wanted.y:
        return MeshPairs(sources, wanted)
    found = SeriesTrajectories(sources, wanted, places)
    return MeshWindows(found, found.fields, **windows, files=found.files, resolution=found.seen.resolution)


def sources_of(given: Given, wanted: Wanted) -> list[Any]:
    """The files of pairs, or the series."""
    paths = [path for pattern in names_in(given) for path in _matches(pattern)]
    if wanted.y:
        return [file for path in paths for file in (meshes_in(path) if path.is_dir() else [path])]
    found: list[Series] = []
    numbered: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += _in_folder(path)
        elif (series := series_of(path)) is not None:
            found.append(series)
        else:
            numbered.append(path)
    return [*found, *_numbered(numbered)]


def _in_folder(folder: Path) -> list[Series]:
    """The series of a folder: the file that is one, or the numbered files."""
    files = meshes_in(folder)
    may_be = [path for path in files if path.suffix.lower() in (PVD, SUFFIX, *XML)]
    whole = [series for path in may_be if (series := series_of(path)) is not None]
    if len(whole) > 1:
        got = ", ".join(series.name for series in whole)
        raise ValueError(expected(f"one series in {folder}", got, f"{folder}/*{Path(whole[0].name).suffix}"))
    return whole or _numbered(files)


def _numbered(files: Sequence[Path]) -> list[Series]:
    return [FileSeries([[path] for path in group], f"{group[0].name} ..") for group in grouped(files)]


def _matches(pattern: str) -> list[Path]:
    """The files and folders of a pattern, in natural order."""
    path = Path(pattern)
    if not path.exists() and glob.has_magic(pattern):
        found = in_natural_order(map(Path, glob.glob(pattern, recursive=True)))  # noqa: PTH207 - absolute too
        if not found:
            raise FileNotFoundError(expected(f"files {pattern}", "none", "the pattern of files that exist"))
        return found
    if not path.exists():
        raise FileNotFoundError(expected("a mesh file", f"no file at {path}", "the path of a mesh file"))
    return [path]
