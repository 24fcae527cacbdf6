"""Meshes with fields in VTKHDF files, of one frame or of a series, as ParaView writes them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neuralop_irno.data.cells import CUT, MESHIO_NAMES, OTHER_WAY, POLYHEDRON, WEDGE
from neuralop_irno.data.readers.hdf5 import array, member, named_damage
from neuralop_irno.data.readers.meshio_like import Block, MeshioLike
from neuralop_irno.errors import expected

SUFFIX = ".vtkhdf"

NAMES = {**MESHIO_NAMES, 3: "line"}
"""meshio's names of the types of cells that are read."""


class VTKHDFFile:
    """The frames of a file.

    Args:
        path: of a file that exists.

    Attributes:
        times: of the frames; None for a file of one mesh without time.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.times = path, None
        with self._opened() as root:
            kind = root.attrs.get("Type", b"")
            kind = kind.decode(errors="replace") if isinstance(kind, bytes) else str(kind)
            if kind != "UnstructuredGrid":
                hint = "ParaView's filter Append Datasets, and saving it again"
                raise ValueError(expected(f"an UnstructuredGrid in {path.name}", repr(kind), hint))
            if "Steps" in root:
                held = _Frames(root, path.name, timed=True)
                self.times = [float(time) for time in held.numbers("Steps/Values", 0, None)]

    def __len__(self) -> int:
        return 1 if self.times is None else len(self.times)

    def frame(self, place: int) -> MeshioLike:
        """The mesh and the fields of a frame."""
        with self._opened() as root:
            return _Frames(root, self.path.name, self.times is not None).frame(place)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """The root of the file, which is open for this call only: it may be written again meanwhile."""
        with named_damage(self.path), h5py.File(self.path, "r") as file:
            yield member(file, "VTKHDF")


class _Frames:
    """The arrays of an open file.

    Args:
        root: the group with everything.
        name: of the file.
        timed: whether it has steps.
    """

    def __init__(self, root: Any, name: str, timed: bool) -> None:
        self._root, self._name, self._timed = root, name, timed

    def frame(self, place: int) -> MeshioLike:
        """The mesh and the fields of a frame."""
        first, parts = self._step("PartOffsets", place), self._step("NumberOfParts", place, 1)
        if not self._timed:
            parts = len(member(self._root, "NumberOfPoints"))
        sizes = {
            name: self._whole(f"NumberOf{name}", first, parts)
            for name in ("Points", "Cells", "ConnectivityIds")
        }
        start = {
            name: self._step(f"{word}Offsets", place)
            for name, word in (("Points", "Point"), ("Cells", "Cell"), ("ConnectivityIds", "ConnectivityId"))
        }
        total = {name: int(counts.sum()) for name, counts in sizes.items()}
        points = self.numbers("Points", start["Points"], total["Points"])
        types = self._whole("Types", start["Cells"], total["Cells"])
        ends = self._whole("Offsets", start["Cells"] + first, total["Cells"] + parts)
        connectivity = self._whole("Connectivity", start["ConnectivityIds"], total["ConnectivityIds"])
        corners, counts = _corners(sizes, ends, connectivity, self._name)
        blocks, splits = _blocks(corners, counts, types, self._name)
        on_cells = self._data("Cell", place, start["Cells"], total["Cells"])
        return MeshioLike(
            points, blocks, self._data("Point", place, start["Points"], total["Points"]),
            {name: np.split(values, splits) for name, values in on_cells.items()},
        )  # fmt: skip

    def _data(self, kind: str, place: int, start: int, count: int) -> dict[str, Any]:
        """The fields at the points, or on the cells, of a frame."""
        root, group = self._root, f"{kind}Data"
        if group not in root or not count:
            return {}
        held = member(root, group)
        names = [name for name in held if isinstance(held.get(name), h5py.Dataset)]
        offsets = f"Steps/{kind}DataOffsets"
        return {
            name: self.numbers(
                f"{group}/{name}",
                int(self._whole(f"{offsets}/{name}", place, 1)[0]) if f"{offsets}/{name}" in root else start,
                count,
            )
            for name in names
        }

    def _step(self, name: str, place: int, default: int = 0) -> int:
        """A number of a step."""
        if not self._timed or f"Steps/{name}" not in self._root:
            return default
        return int(self._whole(f"Steps/{name}", place, 1).reshape(-1)[0])

    def _whole(self, name: str, start: int, count: int) -> NDArray[np.int64]:
        """Some rows of an array of whole numbers."""
        return np.asarray(self._rows(name, start, count), dtype=np.int64)

    def numbers(self, name: str, start: int, count: int | None) -> NDArray[np.float64]:
        """Some rows of an array."""
        return np.asarray(self._rows(name, start, count), dtype=np.float64)

    def _rows(self, name: str, start: int, count: int | None) -> Any:
        if count == 0:
            return np.empty(0)
        held, rows = _stored(self._root, name)
        end = rows if count is None else start + count
        if held.ndim < 1 or not 0 <= start <= end <= rows:
            wanted = f"rows {start} to {end} of {name} in {self._name}"
            raise ValueError(expected(wanted, f"shape {held.shape}", "writing the file again"))
        return held[start:end]


def _stored(root: Any, name: str) -> tuple[h5py.Dataset, int]:
    """An array, and how many of its rows are in the file.

    It is a whole one, or a virtual one of whole arrays of the same file, as in files of rollouts; these have
    more rows than frames.
    """
    held, covered = member(root, name), 0
    if not isinstance(held, h5py.Dataset) or not held.is_virtual or not held.size:
        whole = array(root, name)
        return whole, len(whole) if whole.ndim else 0
    for source in held.virtual_sources():
        if source.file_name != "." or member(root.file, source.dset_name).is_virtual:
            wanted = f"{name} in {Path(root.file.filename).name} itself"
            raise ValueError(expected(wanted, "a virtual array of others", "writing the file again"))
        array(root.file, source.dset_name)
        covered += source.vspace.get_select_npoints()
    return held, covered * len(held) // held.size


def _corners(sizes: dict[str, Any], ends: Any, connectivity: Any, name: str) -> tuple[Any, Any]:
    """The corners of all cells, numbered over all parts of a frame, and how many each cell has."""
    corners, counts = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    points = cells = ids = 0
    for part, (nodes, count, length) in enumerate(zip(*sizes.values(), strict=True)):
        own = ends[cells + part : cells + part + count + 1]
        whole = connectivity[ids : ids + length]
        steps = np.diff(own)
        if len(own) != count + 1 or own[0] != 0 or own[-1] != length or (steps < 1).any():
            wanted = f"ascending Offsets up to {length} in {name}"
            raise ValueError(expected(wanted, "others", "writing the file again"))
        if length and (whole.min() < 0 or whole.max() >= nodes):
            wanted = f"Connectivity within 0 to {nodes - 1} in {name}"
            raise ValueError(expected(wanted, f"{whole.min()} to {whole.max()}", "writing the file again"))
        corners.append(whole + points)
        counts.append(steps)
        points, cells, ids = points + nodes, cells + count, ids + length
    return np.concatenate(corners), np.concatenate(counts)


def _blocks(corners: Any, counts: Any, types: Any, name: str) -> tuple[list[Block], list[int]]:
    """Runs of cells of one type and number of corners, and where the second and later ones start."""
    changes = np.flatnonzero((types[1:] != types[:-1]) | (counts[1:] != counts[:-1])) + 1
    ends = [0, *changes.tolist(), len(types)] if len(types) else [0]
    first = np.concatenate([[0], counts.cumsum()])
    blocks = []
    for start, end in itertools.pairwise(ends):
        kind, width = int(types[start]), int(counts[start])
        if kind not in NAMES:
            wanted = f"cells of the kinds {', '.join(NAMES.values())} in {name}"
            hint = CUT if kind == POLYHEDRON else "exporting linear cells of these kinds"
            raise ValueError(expected(wanted, f"VTK's type {kind}", hint))
        block = corners[first[start] : first[end]].reshape(-1, width)
        if kind == WEDGE and width == len(OTHER_WAY):
            block = block[:, OTHER_WAY]
        blocks.append(Block(NAMES[kind], block))
    return blocks, ends[1:-1]
