"""Rollouts in HDF5 and Zarr files, written as they are computed; see `frame_file` for the layout."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from neuralop_irno.errors import expected
from neuralop_irno.rollouts.contents import Contents
from neuralop_irno.rollouts.frame_file import FrameFile
from neuralop_irno.rollouts.hdf5_storage import HDF5Storage
from neuralop_irno.rollouts.joined_parts import is_joined, joined, saved_in_tiles
from neuralop_irno.rollouts.of_process import RolloutPart
from neuralop_irno.rollouts.part_storage import PARTS, PartStorage
from neuralop_irno.rollouts.pvd_storage import MARK, PVDStorage
from neuralop_irno.rollouts.sink import Callback, Memory, Plan, Saved, Several, Sink, Step
from neuralop_irno.rollouts.storage import Storage
from neuralop_irno.rollouts.tiles import Tile
from neuralop_irno.rollouts.vtkhdf_storage import VTKHDFStorage
from neuralop_irno.rollouts.zarr_storage import ZarrStorage


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
    """A rollout in a Zarr folder, with a compressed file for each frame and field.

    Args:
        path, existing, fields, units, attributes, coordinates, chunks, vectors: see `FrameFile`.
        shards: the shape of the parts of space that have a file of their own, multiples of ``chunks``; by
            default a file has the whole frame of a field. Chunks are read without their neighbours in either.
        part: the samples of this process, if several write one folder, see `RolloutPart`: of each sample and
            frame a file of its own. With more processes than samples, its tile of a sample: a block of the
            first axis of space, or of nodes, which ``chunks`` and ``shards`` have to divide into as many
            files. A path without ``part`` reads what all have written.

    Example:
        >>> Zarr("run.zarr", fields=["u", "v"], units={"u": "m s-1"}, chunks=(64, 64))
        Zarr('run.zarr')
    """

    storage: Storage = ZarrStorage()

    def __init__(
        self,
        path: str | os.PathLike[str],
        existing: str = "refuse",
        *,
        fields: Sequence[str] = (),
        units: Mapping[str, str] | None = None,
        attributes: Mapping[str, Mapping[str, Any]] | None = None,
        coordinates: Mapping[str, Any] | None = None,
        chunks: Sequence[int] | None = None,
        vectors: Mapping[str, Sequence[str]] | None = None,
        shards: Sequence[int] | None = None,
        part: RolloutPart | None = None,
    ) -> None:
        self._part, self._there = part, 0
        self._tile: Tile | None = None
        self._shared: PartStorage | None = None
        if part is not None:
            if existing == "overwrite":
                hint = "removing the folder before the processes start"
                raise ValueError(expected("existing='refuse' or 'continue' beside part", "overwrite", hint))
            self.storage = self._shared = PartStorage(Path(path), part)
        super().__init__(
            path,
            existing,
            fields=fields,
            units=units,
            attributes=attributes,
            coordinates=coordinates,
            chunks=chunks,
            vectors=vectors,
        )
        self._labels = self._of_all = replace(self._labels, shards=shards)

    def _kept_in(self, path: Path) -> Path:
        return path if self._part is None else path / PARTS / self._part.name

    def begin(self, plan: Plan) -> Saved | None:
        if self._shared is None or self._part is None:
            return super().begin(plan)
        shape = (*plan.start.shape[:1], *plan.start.shape[2:])
        place = self._of_all.on(plan.place, shape)
        tile = self._tile = self._shared.share(place, shape, self._of_all)
        self._labels, self._there = tile.labels(self._of_all), 0
        saved = super().begin(tile.plan(plan, place))
        if saved is None or saved.first == plan.steps or self._part.tile[1] == 1:
            return saved
        self._there = saved.first  # other tiles may have fewer frames: these are computed again
        try:
            return saved_in_tiles(self.path.parent.parent, self._part, plan)
        except BaseException:
            self.finish()
            raise

    def write(self, step: Step) -> None:
        if self._tile is None:
            super().write(step)
            return
        if step.moved:
            wanted = f"a mesh that does not move in {self.path.parent.parent.name}"
            raise ValueError(expected(wanted, "move= beside part=", "a path without part="))
        if step.index >= self._there:
            frame = self._tile.cut(step.frame, self._plan.place.dims)
            super().write(replace(step, frame=frame))

    @contextmanager
    def contents(self) -> Iterator[Contents]:
        several = self._part is None and is_joined(self.path)
        with joined(self.path) if several else super().contents() as contents:
            yield contents

    def _continued(self) -> Saved | None:
        if self._part is None and is_joined(self.path):
            wanted = f"the part of this process beside {self.path.name}, which several have written"
            raise ValueError(expected(wanted, "none", "part=RolloutPart.of_process(samples)"))
        return super()._continued()

    def _extend(self, contents: Contents, after: int, carry: Mapping[str, Any]) -> None:
        if self._part is not None:
            wanted = f"the steps that {self.path.parent.parent.name} was begun with, {contents.steps}"
            hint = "a new folder that starts from its last frames"
            raise ValueError(expected(wanted, self._plan.steps, hint))
        super()._extend(contents, after, carry)


class VTKHDF(FrameFile):
    """A rollout in one HDF5 file that ParaView opens with a time slider, at any moment.

    The meshes, or points, of all samples are one, with the sample of each node in ``batch``: ParaView's
    filter Threshold selects one. Grids have equal steps along each axis, and a block for each sample. Frames
    that are not written yet are nan. See `FrameFile` for the arguments.

    Example:
        >>> import tempfile
        >>> import neuralop_irno as irno
        >>> file = VTKHDF(f"{tempfile.mkdtemp()}/run.vtkhdf", fields=["u"])
        >>> import torch
        >>> run = irno.rollout(lambda u: 0.5 * u, torch.ones(1, 1, 4, 4), steps=3, to=file)
        >>> Path(file.path).exists()
        True
    """

    storage = VTKHDFStorage()


class PVD(FrameFile):
    """A rollout as ``run.pvd``, which ParaView opens with a time slider, and a file for each frame.

    The files are in the folder ``run.vtus``, from which the rollout is continued: ``.vtu`` on meshes and
    points, written by meshio (``pip install 'neuralop_irno[meshes]'``); ``.vti`` on grids of equal steps and
    ``.vtr`` on others, one for each sample. The ``.pvd`` lists the frames of up to five seconds ago. See
    `FrameFile` for the arguments.

    Example:
        >>> import tempfile
        >>> import neuralop_irno as irno
        >>> file = PVD(f"{tempfile.mkdtemp()}/run.pvd", fields=["u"])
        >>> import torch
        >>> run = irno.rollout(lambda u: 0.5 * u, torch.ones(1, 1, 4, 4), steps=3, to=file)
        >>> Path(file.path).exists()
        True
    """

    storage = PVDStorage()

    def _kept_in(self, path: Path) -> Path:
        return path.with_suffix(".vtus")

    def begin(self, plan: Plan) -> Saved | None:
        index = self.path.with_suffix(".pvd")
        if os.path.lexists(index) and not (index.is_file() and MARK.encode() in index.read_bytes()[:200]):
            got = f"{index.name}, which is not of a rollout"
            raise FileExistsError(expected("a new file", got, "another path"))
        return super().begin(plan)


SUFFIXES: Mapping[str, type[FrameFile]] = {
    ".h5": HDF5,
    ".hdf5": HDF5,
    ".zarr": Zarr,
    ".vtkhdf": VTKHDF,
    ".pvd": PVD,
    ".vtus": PVD,
}


ENDS = (".h5", ".zarr", ".vtkhdf", ".pvd")
"""The suffixes of rollout files."""


def sink_of(to: Any) -> Sink:
    """The sink of an argument ``to``: None for memory, a path, a function, a sink, or a list of these."""
    if to is None:
        return Memory()
    if isinstance(to, list | tuple):
        return Several([sink_of(each) for each in to])
    if isinstance(to, (str, os.PathLike)):
        suffix = Path(to).suffix
        if suffix not in SUFFIXES:
            raise ValueError(expected(f"a path that ends in {', '.join(ENDS)}", repr(str(to)), "run.h5"))
        return SUFFIXES[suffix](to)
    if hasattr(to, "begin"):
        sink: Sink = to
        return sink
    if callable(to):
        return Callback(to)
    raise TypeError(expected("a path, a function or a sink", type(to).__name__, "to='run.h5'"))


def file_of(path: str | os.PathLike[str]) -> FrameFile:
    """The rollout in a file, by its suffix; a folder is Zarr, and a file with another suffix HDF5."""
    source = Path(path)
    return SUFFIXES.get(source.suffix, Zarr if source.is_dir() else HDF5)(source)


def check_file(path: str | os.PathLike[str]) -> list[str]:
    """The faults of a rollout file; empty if it is sound. The file is only read; no code in it is run.

    Every number is compared with its SHA-256 digest; in files of format 1, which have none, only impossible
    values are found. An unfinished rollout is sound.

    Args:
        path: an HDF5 file or a Zarr folder.

    Returns:
        a sentence for each problem.
    """
    try:
        with file_of(path).contents() as contents:
            return contents.problems()
    except (ValueError, FileNotFoundError) as error:
        return [str(error)]
