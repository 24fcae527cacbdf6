"""Writes a rollout file; `contents` reads it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from neuralop_irno.rollouts.contents import (
    ENDINGS,
    FORMAT,
    KIND,
    Contents,
    frame_digest,
    head_digest,
    seal_of,
)
from neuralop_irno.rollouts.identity import digests
from neuralop_irno.rollouts.sink import Plan, Step
from neuralop_irno.rollouts.storage import Array, Rows, Storage

SLOTS = 3
"""Slots for the refinement's state: the last synchronised one, the newest, and one to write."""

SAVE_EVERY = 5.0
"""Seconds between two synchronisations with the disk: the most that a loss of power may cost."""


class Recording:
    """A rollout file that is open for writing.

    Args:
        storage: for HDF5 or Zarr.
        group: the file, as a group of arrays.
        path: of the file.
        block: frames from one history.
        head: the digest of the constant parts.
        lasted: of each sample, as stored in the file.
    """

    def __init__(
        self, storage: Storage, group: Any, path: Path, block: int, head: str, lasted: Array
    ) -> None:
        self._storage, self._group, self._path = storage, group, path
        self._block, self._head, self._lasted = block, head, lasted
        self._after = [0] * SLOTS  # the frames before each slot
        self._saved_slot = self._newest = 0
        self._arrays: dict[str, Any] = {}
        self._written: Rows = set()
        self._count, self._saved_at = 0, time.monotonic()

    @classmethod
    def new(
        cls, storage: Storage, path: Path, plan: Plan, frame: Array, carry: Mapping[str, Array]
    ) -> Recording:
        """A new file with all of its space allocated and no valid frame.

        Args:
            storage: for HDF5 or Zarr.
            path: a new one.
            plan: of the rollout.
            frame: the first one, for its shape and dtype.
            carry: the refinement's state, likewise.
        """
        start = as_array(plan.start)
        times = None if plan.times is None else as_array(plan.times)
        attributes: dict[str, Any] = {
            "kind": KIND,
            "format": FORMAT,
            "steps": plan.steps,
            "block": plan.block,
            "samples": plan.samples,
            "belongs": json.dumps(digests(plan.parts(plan.steps)), sort_keys=True),
        }
        head = head_digest(attributes, start, times)
        lasted = np.full(plan.samples, plan.steps, dtype=np.int64)
        group = storage.open(path, "w")
        try:
            group.attrs.update(attributes | {"digest": head})
            storage.add(group, "frames", frame, plan.steps)
            storage.add(group, "digests", np.zeros(32, dtype=np.uint8), plan.steps)
            storage.add(group, "start", start, 1)
            storage.add(group, "lasted", lasted, 1)
            storage.add(group, "endings", np.zeros(plan.samples, dtype=np.int8), 1)
            storage.add(group, "complete", np.asarray(0), 1)
            if times is not None:
                storage.add(group, "times", times, 1)
            slots = group.create_group("carry")
            for name, values in carry.items():
                storage.add(slots, name, values, SLOTS)
            storage.add(group, "seals", np.zeros(5, dtype=np.int64), SLOTS)
        except BaseException:
            storage.close(group)
            raise
        return cls(storage, group, path, plan.block, head, lasted)

    @classmethod
    def on(cls, storage: Storage, group: Any, path: Path, contents: Contents, newest: int) -> Recording:
        """Continue a rollout in its file.

        Args:
            storage: for HDF5 or Zarr.
            group: the file, open for writing.
            path: of the file.
            contents: of the file.
            newest: the slot to continue from.
        """
        made = cls(storage, group, path, contents.block, contents.head, contents.lasted)
        made._after, made._newest = list(contents.slots), newest
        needed = contents.complete // contents.block * contents.block
        made._saved_slot = made._after.index(needed) if needed in made._after else newest
        return made

    def write(self, step: Step) -> None:
        """One frame."""
        codes = np.asarray([ENDINGS.index(ending) for ending in step.endings], dtype=np.int8)
        self.frame(step.index, as_array(step.frame), as_array(step.lasted), codes)
        if (step.index + 1) % self._block == 0:
            self.write_carry(step.index + 1, {name: as_array(value) for name, value in step.carry.items()})
        self._storage.flush(self._group)
        if time.monotonic() - self._saved_at > SAVE_EVERY:
            self.save()

    def frame(self, index: int, frame: Array, lasted: Array, codes: Array) -> None:
        """Write a frame and the endings of samples, then its digest."""
        self._put("frames", index, frame)
        if not np.array_equal(lasted, self._lasted):
            self._put("lasted", 0, lasted)
            self._put("endings", 0, codes)
            self._lasted = lasted.copy()
        self._put("digests", index, frame_digest(self._head, index, frame, lasted, codes))
        self._count = index + 1

    def write_carry(self, after: int, carry: Mapping[str, Array]) -> None:
        """Write the refinement's state after ``after`` frames, to a slot that is not needed any more."""
        free = [slot for slot in range(SLOTS) if slot not in (self._saved_slot, self._newest)]
        slot = min(free, key=self._after.__getitem__)
        for name, values in carry.items():
            self._put(f"carry/{name}", slot, values)
        self._put("seals", slot, seal_of(self._head, after, carry))
        self._after[slot], self._newest = after, slot

    def save(self, whole: bool = False) -> None:
        """Synchronise with the disk, and then write ``complete``.

        Args:
            whole: the whole file, not only the rows written since the last time.
        """
        if not self._written:
            return
        self._storage.sync(self._group, self._path, None if whole else self._written)
        self._put("complete", 0, np.asarray(self._count))
        self._storage.sync(self._group, self._path, {("complete", 0)})
        self._written, self._saved_at = set(), time.monotonic()
        self._saved_slot = self._newest

    def reopen(self, path: Path) -> None:
        """Open a closed file again, under its present name."""
        self._group, self._path, self._arrays = self._storage.open(path, "r+"), path, {}

    def close(self) -> None:
        """Save and close."""
        try:
            self.save()
        finally:
            self._storage.close(self._group)

    def _put(self, name: str, row: int, values: Array) -> None:
        if name not in self._arrays:
            self._arrays[name] = self._storage.array(self._group, name)
        self._arrays[name][row] = values
        self._written.add((name, row))


def as_array(tensor: Tensor) -> Array:
    """A tensor as a numpy array."""
    return np.asarray(tensor.detach().cpu().numpy())
