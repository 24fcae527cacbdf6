"""The rollouts of several processes in one folder, read as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neuralop_irno.errors import expected
from neuralop_irno.rollouts.contents import Contents
from neuralop_irno.rollouts.of_process import RolloutPart
from neuralop_irno.rollouts.part_storage import KIND, PARTS, PartStorage
from neuralop_irno.rollouts.parts import Array, Key
from neuralop_irno.rollouts.zarr_storage import ZarrStorage

OF_ALL = ("model", "window", "stepper", "refinement")
"""Parts of a call that have to be the same in all processes."""


class JoinedContents(Contents):
    """The samples of several rollouts with the same fields and axes, one after the other.

    Frames are there when all parts have them.

    Args:
        parts: in the order of samples.
        name: of the folder, for errors.
    """

    def __init__(self, parts: Sequence[Contents], name: str) -> None:
        self._each, self._name = parts, name
        first = parts[0]
        for part in parts[1:]:
            other = [each for each in OF_ALL if part.belongs.get(each) != first.belongs.get(each)]
            if other:
                wanted = f"one {', '.join(other)} in all processes of {name}"
                raise ValueError(expected(wanted, "others", "the same call in each of them"))
        self.format, self.steps, self.block = first.format, first.steps, first.block
        self.layout, self.belongs = first.layout, first.belongs
        self.samples = sum(part.samples for part in parts)
        self.complete = min(part.complete for part in parts)
        self.parts = replace(first.parts, shape=(self.samples, *first.parts.shape[1:]))
        self.lasted = np.concatenate([part.lasted for part in parts])
        self.codes = np.concatenate([part.codes for part in parts])
        self.constants = {
            key: np.concatenate([part.constants[key] for part in parts])
            if _by_sample(key, values)
            else values
            for key, values in first.constants.items()
        }
        self.start, self.times = self.constants["start"], self.constants.get("time")

    def attributes(self, name: str) -> dict[str, Any]:
        return self._each[0].attributes(name)

    def dtype(self, name: str) -> Any:
        return self._each[0].dtype(name)

    def arrays(self, index: int) -> dict[str, Array]:
        return _joined([part.arrays(index) for part in self._each])

    def part(self, index: int, name: str, key: Key) -> Array:
        chosen, *rest = key
        rows = [chosen] if isinstance(chosen, int) else list(range(*chosen.indices(self.samples)))
        low, high = (min(rows), max(rows) + 1) if rows else (0, 0)
        found, first = [], 0
        for part in self._each:
            own = slice(max(low - first, 0), max(min(high - first, part.samples), 0))
            if own.start < own.stop or (not rows and not first):
                found.append(part.part(index, name, (own, *rest)))
            first += part.samples
        values = np.concatenate(found)[[row - low for row in rows]]
        return values[0] if isinstance(chosen, int) else values

    def all_arrays(self) -> Iterator[dict[str, Array]]:
        for arrays in zip(*(part.all_arrays() for part in self._each), strict=False):
            yield _joined(arrays)

    def problems(self) -> list[str]:
        return [problem for part in self._each for problem in part.problems()]


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
def joined(path: Path) -> Iterator[JoinedContents]:
    """The rollouts in a folder, open for reading.

    Raises:
        ValueError: a process has not written a frame yet, or a part is damaged.
    """
    group = ZarrStorage().open(path, "r")
    world, samples = (int(group.attrs[name]) for name in ("world", "samples"))
    group.store.close()
    with ExitStack() as stack:
        parts = []
        for rank in range(world):
            part = RolloutPart(samples, rank, world)
            storage, own = PartStorage(path, part), path / PARTS / part.name
            if not own.is_dir():
                wanted = f"frames of all {world} processes in {path.name}"
                hint = "reading it when each process has written its first frame"
                raise ValueError(expected(wanted, f"none of process {rank}", hint))
            opened = storage.open(own, "r")
            stack.callback(storage.close, opened)
            parts.append(Contents(storage, opened, f"{path.name}/{PARTS}/{part.name}"))
        yield JoinedContents(parts, path.name)


def _joined(arrays: Sequence[dict[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([each[name] for each in arrays]) for name in arrays[0]}


def _by_sample(name: str, values: Array) -> bool:
    """Whether a constant has a row for each sample."""
    return name == "start" or (name == "time" and values.ndim > 1)
