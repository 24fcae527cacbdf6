"""Series of fields on meshes in files: ``.pvd``, XDMF, ``.vtkhdf``, and numbered files of single meshes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from neuralop_irno.data.readers.mesh_parts import joined
from neuralop_irno.data.readers.mesh_references import XML, check_place, files_read_with
from neuralop_irno.data.readers.meshio_files import by_meshio, existing, unreadable
from neuralop_irno.data.readers.vtkhdf_files import SUFFIX, VTKHDFFile
from neuralop_irno.errors import expected, one_line

PVD = ".pvd"


class Series(ABC):
    """Frames in files.

    Attributes:
        name: for errors.
        files: that are read.
        times: of the frames, ascending; None if they are not known.
    """

    name: str
    files: tuple[Path, ...]
    times: Sequence[float] | None

    @abstractmethod
    def __len__(self) -> int:
        """The number of frames."""

    @abstractmethod
    def read(self, places: Iterable[int]) -> Iterator[Any]:
        """Some frames, as in ``meshio.Mesh``."""


class FileSeries(Series):
    """One file for each frame, or several that hold its parts.

    Args:
        frames: the files of each frame, in order.
        name: for errors.
        times: of the frames.
        listed: a file that lists them.
    """

    def __init__(
        self,
        frames: Sequence[Sequence[Path]],
        name: str,
        times: Sequence[float] | None = None,
        listed: tuple[Path, ...] = (),
    ) -> None:
        self._frames, self.name, self.times = list(frames), name, times
        inner = (path for frame in frames for part in frame for path in files_of(existing(part)))
        self.files = tuple(dict.fromkeys((*listed, *inner)))

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, places: Iterable[int]) -> Iterator[Any]:
        return (joined([found_in(part) for part in self._frames[place]], self.name) for place in places)


class VTKHDFSeries(Series):
    """The frames of a ``.vtkhdf`` file."""

    def __init__(self, path: Path) -> None:
        self._file = VTKHDFFile(path)
        self.name, self.files, self.times = path.name, (path,), self._file.times

    def __len__(self) -> int:
        return len(self._file)

    def read(self, places: Iterable[int]) -> Iterator[Any]:
        return (self._file.frame(place) for place in places)


class XDMFSeries(Series):
    """The frames of an XDMF file with a temporal collection of grids."""

    def __init__(self, path: Path) -> None:
        self._path, self.name = path, path.name
        self.files = tuple(files_of(path))
        self.times = [_time_of(grid, path) for grid in _frames_of(path)]

    def __len__(self) -> int:
        return len(self.times or ())

    def read(self, places: Iterable[int]) -> Iterator[Any]:
        wanted = list(places)

        def read(meshio: Any) -> list[Any]:
            with meshio.xdmf.TimeSeriesReader(self._path) as reader:
                reader.collection = [grid for grid in reader.collection if grid.tag == "Grid"]
                points, cells = reader.read_points_cells()
                found = []
                for place in wanted:
                    grid = reader.collection[place]
                    if any(part.tag == "Topology" for part in grid):  # a mesh of its own
                        reader.mesh_grid = grid
                        points, cells = reader.read_points_cells()
                    _, at_nodes, on_cells = reader.read_data(place)
                    found.append(meshio.Mesh(points, cells, at_nodes, on_cells))
                return found

        return iter(by_meshio(self._path, read))


def series_of(path: Path) -> Series | None:
    """The series in a file; None if it holds one mesh."""
    ending = existing(path).suffix.lower()
    if ending == PVD:
        return _from_pvd(path)
    if ending in XML and _frames_of(path):
        return XDMFSeries(path)
    if ending == SUFFIX and len(VTKHDFFile(path)) > 1:
        return VTKHDFSeries(path)
    return None


def found_in(path: Path) -> Any:
    """What is in a file of one mesh, as in ``meshio.Mesh``."""
    series = series_of(path)
    if series is not None:
        hint = "its frames as trajectories: data without y"
        raise ValueError(expected(f"one mesh in {path.name}", f"a series of {len(series)} frames", hint))
    if path.suffix.lower() == SUFFIX:
        return VTKHDFFile(path).frame(0)
    return by_meshio(path)


def files_of(path: Path) -> list[Path]:
    """A file and those that are read with it."""
    return [path] if path.suffix.lower() == SUFFIX else files_read_with(path)


def _from_pvd(path: Path) -> Series:
    """The series that a ``.pvd`` file of ParaView lists; several files of one time are parts of its mesh."""
    frames: dict[float, list[Path]] = {}
    for entry in _xml(path).iter("DataSet"):
        file = path.parent / (entry.get("file") or "")
        check_place(file, path.parent, path)
        frames.setdefault(_number(entry.get("timestep"), path), []).append(file)
    if not frames:
        raise ValueError(expected(f"a file for each time in {path.name}", "none", "writing the series again"))
    times = sorted(frames)
    return FileSeries([frames[time] for time in times], path.name, times, (path,))


def _frames_of(path: Path) -> list[Any]:
    """The grids of an XDMF file's collection in time; none if it has no such collection."""
    for grid in _xml(path).iter("Grid"):
        if grid.get("GridType") == "Collection" and grid.get("CollectionType") == "Temporal":
            return [part for part in grid if part.tag == "Grid"]
    return []


def _time_of(grid: Any, path: Path) -> float:
    time = grid.find("Time")
    return _number(None if time is None else time.get("Value"), path)


def _xml(path: Path) -> Any:
    try:
        return ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise unreadable(path, one_line(error)) from error


def _number(word: str | None, path: Path) -> float:
    try:
        value = float(word or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        hint = "writing the series again"
        raise ValueError(expected(f"a time for each frame of {path.name}", repr(word), hint))
    return value
