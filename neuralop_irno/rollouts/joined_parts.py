"""The rollouts of several processes in one folder, of samples or of tiles of a sample, read as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neuralop_irno.errors import expected
from neuralop_irno.rollouts.contents import Contents
from neuralop_irno.rollouts.frame_file import saved_at
from neuralop_irno.rollouts.of_process import RolloutPart
from neuralop_irno.rollouts.part_storage import KIND, PARTS, PartStorage
from neuralop_irno.rollouts.parts import Array, Key
from neuralop_irno.rollouts.recording import LABELS, dims_of
from neuralop_irno.rollouts.sink import Plan, Saved
from neuralop_irno.rollouts.tiles import axis_of_tiles, start_dims
from neuralop_irno.rollouts.zarr_storage import ZarrStorage

OF_ALL = ("model", "window", "stepper", "refinement")
"""Parts of a call that have to be the same for all samples. For the tiles of one, all parts have to be."""


class JoinedContents(Contents):
    """Several rollouts with the same fields and axes, one after the other along an axis.

    Frames are there when all parts have them.

    Args:
        parts: in the order of the axis.
        name: of the folder, for errors.
        dim: the axis: ``sample``, or that of tiles.
    """

    def __init__(self, parts: Sequence[Contents], name: str, dim: str = "sample") -> None:
        self._each, self._name, self._dim = parts, name, dim
        first = parts[0]
        needed = OF_ALL if dim == "sample" else [each for each in first.belongs if each != LABELS]
        for part in parts[1:]:
            other = [each for each in needed if part.belongs.get(each) != first.belongs.get(each)]
            if other:
                wanted = f"one {', '.join(other)} in all processes of {name}"
                raise ValueError(expected(wanted, "others", "the same call in each of them"))
        self.format, self.steps, self.block = first.format, first.steps, first.block
        self.layout, self.belongs = first.layout, first.belongs
        self.complete = min(part.complete for part in parts)
        self._axis = dims_of(self.layout.dims, first.parts.named).index(dim)
        along, shape = self.layout.dims.index(dim), list(first.parts.shape)
        shape[along] = sum(part.parts.shape[along] for part in parts)
        self.parts = replace(first.parts, shape=tuple(shape))
        of_samples = parts if dim == "sample" else parts[:1]
        self.samples = sum(part.samples for part in of_samples)
        self.lasted = np.concatenate([part.lasted for part in of_samples])
        self.codes = np.concatenate([part.codes for part in of_samples])
        self.constants = {key: self._constant(key) for key in first.constants}
        self.start, self.times = self.constants["start"], self.constants.get("time")

    def attributes(self, name: str) -> dict[str, Any]:
        return self._each[0].attributes(name)

    def dtype(self, name: str) -> Any:
        return self._each[0].dtype(name)

    def arrays(self, index: int) -> dict[str, Array]:
        return self._joined([part.arrays(index) for part in self._each])

    def part(self, index: int, name: str, key: Key) -> Array:
        before, chosen, after = key[: self._axis], key[self._axis], key[self._axis + 1 :]
        size = self.parts.array_shape[self._axis]
        rows = [chosen] if isinstance(chosen, int) else list(range(*chosen.indices(size)))
        low, high = (min(rows), max(rows) + 1) if rows else (0, 0)
        found, first = [], 0
        for part in self._each:
            size = part.parts.array_shape[self._axis]
            own = slice(max(low - first, 0), max(min(high - first, size), 0))
            if own.start < own.stop or (not rows and not first):
                found.append(part.part(index, name, (*before, own, *after)))
            first += size
        axis = sum(isinstance(each, slice) for each in before)
        values = np.concatenate(found, axis)
        return values.take(rows[0] - low if isinstance(chosen, int) else [row - low for row in rows], axis)

    def all_arrays(self) -> Iterator[dict[str, Array]]:
        for arrays in zip(*(part.all_arrays() for part in self._each), strict=False):
            yield self._joined(arrays)

    def carry(self, count: int) -> tuple[int, dict[str, Array], int]:
        """The refinement's state, the same in all tiles, from one with no more frames than ``count``."""
        found: tuple[int, dict[str, Array], int] = (0, {}, 0)
        for part in self._each:
            if part.complete <= count:
                with suppress(ValueError):  # its process writes another one at this moment
                    found = max(found, part.carry(count), key=lambda each: each[0])
        return found

    def problems(self) -> list[str]:
        return [problem for part in self._each for problem in part.problems()]

    def common(self) -> int:
        """The number of frames that all parts have, with those after ``complete``."""
        return min(part.complete + sum(1 for _ in part.later_arrays()) for part in self._each)

    def _constant(self, name: str) -> Array:
        """A constant of all parts."""
        values = self._each[0].constants[name]
        known = {"start": start_dims(self.layout.dims), "time": ("sample", "time")[2 - values.ndim :]}
        dims = known[name] if name in known else self.layout.axes[name]
        if self._dim not in dims:
            return values
        return np.concatenate([part.constants[name] for part in self._each], dims.index(self._dim))

    def _joined(self, arrays: Sequence[dict[str, Array]]) -> dict[str, Array]:
        return {name: np.concatenate([each[name] for each in arrays], self._axis) for name in arrays[0]}


def is_joined(path: Path) -> bool:
    """Whether a folder has the rollouts of several processes."""
    if not (path / PARTS).is_dir() or not (path / "zarr.json").is_file():
        return False
    group = ZarrStorage().open(path, "r")
    try:
        return bool(group.attrs.get("kind") == KIND)
    finally:
        group.store.close()


@contextmanager
def joined(path: Path) -> Iterator[Contents]:
    """The rollouts in a folder, open for reading.

    Raises:
        ValueError: a process has not written a frame yet, or a part is damaged.
    """
    group = ZarrStorage().open(path, "r")
    world, samples = (int(group.attrs[name]) for name in ("world", "samples"))
    group.store.close()
    parts = [RolloutPart(samples, rank, world) for rank in range(world)]
    if missing := [part.rank for part in parts if not (path / PARTS / part.name).is_dir()]:
        wanted = f"frames of all {world} processes in {path.name}"
        hint = "reading it when each process has written its first frame"
        raise ValueError(expected(wanted, f"none of process {missing[0]}", hint))
    with ExitStack() as stack:
        groups = [part.of_sample for part in parts if not part.tile[0]]
        each = [stack.enter_context(sample_of(path, group)) for group in groups]
        yield each[0] if len(each) == 1 else JoinedContents(each, path.name)


@contextmanager
def sample_of(path: Path, parts: Sequence[RolloutPart]) -> Iterator[Contents]:
    """What the processes with the same samples have written, open for reading."""
    with ExitStack() as stack:
        each = []
        for part in parts:
            storage = PartStorage(path, part)
            opened = storage.open(path / PARTS / part.name, "r")
            stack.callback(storage.close, opened)
            each.append(Contents(storage, opened, f"{path.name}/{PARTS}/{part.name}"))
        dim = axis_of_tiles(each[0].layout.dims)
        yield each[0] if len(each) == 1 else JoinedContents(each, path.name, dim)


def saved_in_tiles(path: Path, part: RolloutPart, plan: Plan) -> Saved | None:
    """The state of a rollout after the frames that all processes of a sample have; None without any."""
    if not all((path / PARTS / each.name).is_dir() for each in part.of_sample):
        return None
    with sample_of(path, part.of_sample) as contents:
        assert isinstance(contents, JoinedContents)
        first, carry, _ = contents.carry(contents.common())
        return saved_at(first, plan, contents, carry)
