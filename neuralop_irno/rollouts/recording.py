"""Writes a rollout file; `contents` reads it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from neuralop_irno.errors import expected
from neuralop_irno.rollouts.contents import ENDINGS, Contents
from neuralop_irno.rollouts.identity import digests
from neuralop_irno.rollouts.labels import Labels
from neuralop_irno.rollouts.layouts import FORMAT, KIND
from neuralop_irno.rollouts.parts import Parts, head_digest, seal_of
from neuralop_irno.rollouts.place import CHANNEL, Array, Place, as_array
from neuralop_irno.rollouts.sink import Plan, Step
from neuralop_irno.rollouts.storage import STATE, NewArray, Rows, Storage
from neuralop_irno.rollouts.tiles import start_dims

SLOTS = 3
"""Slots for the refinement's state: the last synchronised one, the newest, and one to write."""

SAVE_EVERY = 5.0
"""Seconds between two synchronisations with the disk: the most that a loss of power may cost."""

CONVENTIONS = "CF-1.11 UGRID-1.0"

LABELS = "fields, units or chunks"
"""The name of the options of a file among the parts of a call that it belongs to."""


class Recording:
    """A rollout file that is open for writing.

    Args:
        storage: for one kind of file.
        group: the file, as a group of arrays.
        path: of the file.
        block: frames from one history.
        parts: of a frame.
        head: the digest of the constant parts.
        lasted: of each sample, as stored in the file.
    """

    def __init__(
        self, storage: Storage, group: Any, path: Path, block: int, parts: Parts, head: str, lasted: Array
    ) -> None:
        self._storage, self._group, self._path = storage, group, path
        self._block, self._parts, self._head, self._lasted = block, parts, head, lasted
        self._after = [0] * SLOTS  # the frames before each slot
        self._saved_slot = self._newest = 0
        self._arrays: dict[str, Any] = {}
        self._written: Rows = set()
        self._count, self._saved_at = 0, time.monotonic()

    @classmethod
    def new(
        cls,
        storage: Storage,
        path: Path,
        plan: Plan,
        labels: Labels,
        frame: Array,
        moved: Mapping[str, Array],
        carry: Mapping[str, Array],
    ) -> Recording:
        """A new file with all of its space allocated and no valid frame.

        Args:
            storage: for one kind of file.
            path: a new one.
            plan: of the rollout.
            labels: the options of the file.
            frame: the first one, for its shape and dtype.
            moved: the arrays of its mesh, if that moves.
            carry: the refinement's state, for its shapes and dtypes.
        """
        place = labels.on(plan.place, frame.shape)
        parts = parts_of(place, labels, frame.shape, {name: each.shape for name, each in moved.items()})
        kept = {name: each for name, each in place.constants.items() if name not in moved}
        arrays = {
            name: NewArray(each.values, each.dims, attributes=each.attributes) for name, each in kept.items()
        }
        time_axis = "time" if plan.times is not None and plan.times.dim() == 1 else "step"
        if plan.times is not None:
            dims = (time_axis,) if plan.times.dim() == 1 else ("sample", time_axis)
            said = {"standard_name": "time", "axis": "T"} if len(dims) == 1 else {"long_name": "time"}
            arrays["time"] = NewArray(as_array(plan.times), dims, attributes={**said, **labels.said("time")})
        arrays["start"] = NewArray(
            as_array(plan.start),
            start_dims(place.dims),
            attributes={"long_name": "the frames before the first predicted one"},
        )
        constants = {name: each.values for name, each in arrays.items()}
        beside = [name for name, each in place.constants.items() if each.dims == ("node",)]
        beside += ["time"] if plan.times is not None and plan.times.dim() > 1 else []
        arrays |= _frames(plan.steps, place, parts, labels, frame, moved, time_axis, beside)
        arrays |= _endings(plan)
        arrays |= _state(plan.steps, parts, carry)
        layout = {
            "dims": place.dims,
            "fields": parts.fields,
            "named": parts.named,
            "chunks": parts.chunks,
            "moving": {name: list(shape) for name, shape in parts.moving.items()},
            "constants": sorted(constants),
            "axes": {name: each.dims for name, each in place.constants.items()},
        }
        labelled = digests({LABELS: labels.plain()})
        attributes: dict[str, Any] = {
            "kind": KIND,
            "format": FORMAT,
            "Conventions": CONVENTIONS,
            "steps": plan.steps,
            "block": plan.block,
            "samples": plan.samples,
            "belongs": json.dumps(digests(plan.parts(plan.steps)) | labelled, sort_keys=True),
            "layout": json.dumps(layout),
        }
        group = storage.open(path, "w")
        try:
            group.create_group(f"{STATE}/carry")
            for name, array in arrays.items():
                storage.add(group, name, array)
            attributes["items"] = json.dumps(storage.describe(group, arrays))
            head = head_digest(attributes, constants)
            group.attrs.update(attributes | {"digest": head})
            storage.settle(group)
        except BaseException:
            storage.close(group)
            raise
        lasted = np.full(plan.samples, plan.steps, dtype=np.int64)
        return cls(storage, group, path, plan.block, parts, head, lasted)

    @classmethod
    def on(
        cls, storage: Storage, group: Any, path: Path, contents: Contents, newest: int, count: int
    ) -> Recording:
        """Continue a rollout in its file.

        Args:
            storage: for one kind of file.
            group: the file, open for writing.
            path: of the file.
            contents: of the file.
            newest: the slot to continue from.
            count: the number of sound frames whose state of the refinement is there.
        """
        made = cls(storage, group, path, contents.block, contents.parts, contents.head, contents.lasted)
        made._after, made._newest = list(contents.slots), newest
        needed = contents.complete // contents.block * contents.block
        made._saved_slot = made._after.index(needed) if needed in made._after else newest
        made._count = max(count, contents.complete)
        names = (*contents.parts.names, f"{STATE}/digests")
        made._written = {(name, row) for name in names for row in range(contents.complete, count)}
        if made._written:  # written by a process that was killed before it synchronised them
            states = (f"{STATE}/seals", *(f"{STATE}/carry/{name}" for name in group[f"{STATE}/carry"]))
            filled = [slot for slot, after in enumerate(made._after) if after]
            made._written |= {(name, slot) for name in states for slot in filled}
            made.save()
        else:
            storage.show(group, path, made._count)
        return made

    def write(self, step: Step) -> None:
        """One frame."""
        codes = np.asarray([ENDINGS.index(ending) for ending in step.endings], dtype=np.int8)
        moved = {name: as_array(value) for name, value in step.moved.items()}
        if (step.index + 1) % self._block == 0:  # first: a frame that is there can be continued from
            self.write_carry(step.index + 1, {name: as_array(value) for name, value in step.carry.items()})
            self._storage.flush(self._group)
        self.frame(step.index, as_array(step.frame), moved, as_array(step.lasted), codes)
        self._storage.flush(self._group)
        if time.monotonic() - self._saved_at > SAVE_EVERY:
            self.save()

    def frame(
        self, index: int, frame: Array, moved: Mapping[str, Array], lasted: Array, codes: Array
    ) -> None:
        """Write a frame, its mesh if that moves, and the endings of samples, then the digests."""
        arrays = {**self._parts.split(frame), **moved}
        shapes = {name: each.shape for name, each in moved.items()}
        if shapes != self._parts.moving:
            wanted = f"a mesh of the same arrays in every frame, {dict(self._parts.moving)}"
            hint = "'.pvd', which has one file for each frame, or as many cells in every frame"
            raise ValueError(expected(wanted, f"{shapes} in frame {index}", hint))
        self._storage.write(self._group, {name: self._array(name) for name in arrays}, index, arrays)
        self._written |= {(name, index) for name in arrays}
        if not np.array_equal(lasted, self._lasted):
            self._put("lasted", None, lasted)
            self._put("ending", None, codes)
            self._lasted = lasted.copy()
        marks = self._parts.digests(self._head, index, arrays, lasted, codes)
        self._put(f"{STATE}/digests", index, marks)
        self._storage.written(self._group, index)
        self._count = index + 1

    def write_carry(self, after: int, carry: Mapping[str, Array]) -> None:
        """Write the refinement's state after ``after`` frames, to a slot that is not needed any more."""
        free = [slot for slot in range(SLOTS) if slot not in (self._saved_slot, self._newest)]
        slot = min(free, key=self._after.__getitem__)
        for name, values in carry.items():
            self._put(f"{STATE}/carry/{name}", slot, values)
        self._put(f"{STATE}/seals", slot, seal_of(self._head, after, carry))
        self._after[slot], self._newest = after, slot

    def save(self, whole: bool = False) -> None:
        """Synchronise with the disk, and then write ``complete``.

        Args:
            whole: the whole file, not only the rows written since the last time.
        """
        if not self._written:
            return
        self._storage.sync(self._group, self._path, None if whole else self._written)
        self._put("complete", None, np.asarray(self._count))
        self._storage.sync(self._group, self._path, {("complete", None)})
        self._written, self._saved_at = set(), time.monotonic()
        self._saved_slot = self._newest
        if not whole:
            self._storage.show(self._group, self._path, self._count)

    def reopen(self, path: Path) -> None:
        """Open a closed file again, under its present name."""
        self._group, self._path, self._arrays = self._storage.open(path, "r+"), path, {}
        self._storage.show(self._group, path, self._count)

    def close(self) -> None:
        """Save and close."""
        try:
            self.save()
        finally:
            self._storage.close(self._group)

    def _put(self, name: str, row: int | None, values: Array) -> None:
        self._array(name)[... if row is None else row] = values
        self._written.add((name, row))

    def _array(self, name: str) -> Any:
        if name not in self._arrays:
            self._arrays[name] = self._storage.array(self._group, name)
        return self._arrays[name]


def parts_of(
    place: Place, labels: Labels, shape: tuple[int, ...], moving: Mapping[str, tuple[int, ...]]
) -> Parts:
    """How the frames of a place are divided by the options of a file."""
    whole = Parts(shape, place.channel, labels.names, bool(labels.fields), None, moving)
    if labels.chunks is None:
        return whole
    sizes = dict(zip(place.space, labels.chunks, strict=True)) | {"sample": 1, CHANNEL: shape[place.channel]}
    dims = dims_of(place.dims, bool(labels.fields))
    largest = dict(zip(dims, whole.array_shape, strict=True))
    chunks = tuple(min(sizes[dim], largest[dim]) for dim in dims)
    return Parts(shape, place.channel, labels.names, bool(labels.fields), chunks, moving)


def shards_of(place: Place, labels: Labels, parts: Parts) -> tuple[int, ...] | None:
    """The shape of a file of chunks; None if frames are not divided."""
    if parts.chunks is None:
        return None
    sizes = dict(zip(place.space, labels.shards or (), strict=False))
    return tuple(
        chunk * ceil(sizes.get(dim, whole) / chunk)
        for dim, chunk, whole in zip(
            dims_of(place.dims, parts.named), parts.chunks, parts.array_shape, strict=True
        )
    )


def dims_of(dims: Sequence[str], named: bool) -> tuple[str, ...]:
    """The axes of one frame of a field's array, from those of a frame."""
    return tuple(dim for dim in dims if not (named and dim == CHANNEL))


def _frames(
    steps: int,
    place: Place,
    parts: Parts,
    labels: Labels,
    frame: Array,
    moved: Mapping[str, Array],
    time_axis: str,
    beside: Sequence[str],
) -> dict[str, NewArray]:
    """The arrays with a row for each frame; ``beside`` are the names of coordinates of several axes."""
    dims = (time_axis, *dims_of(place.dims, parts.named))
    said: dict[str, Any] = {"coordinates": " ".join(beside)} if beside else {}
    if "mesh" in place.constants:
        said |= {"mesh": "mesh", "location": place.location}
    shards = shards_of(place, labels, parts)
    made = {
        name: NewArray(values, dims, steps, {**said, **labels.said(name)}, parts.chunks, shards)
        for name, values in parts.split(frame).items()
    }
    for name, values in moved.items():
        known = place.constants[name]
        made[name] = NewArray(values, (time_axis, *known.dims), steps, known.attributes)
    return made


def _endings(plan: Plan) -> dict[str, NewArray]:
    """How many frames there are, and how samples ended."""
    flags = {
        "flag_values": np.arange(len(ENDINGS), dtype=np.int8).tolist(),
        "flag_meanings": " ".join(ending.name.lower() for ending in ENDINGS),
    }
    lasted = np.full(plan.samples, plan.steps, dtype=np.int64)
    codes = np.zeros(plan.samples, dtype=np.int8)
    said = "valid frames of the sample, if so many are complete"
    return {
        "lasted": NewArray(lasted, ("sample",), attributes={"long_name": said}),
        "ending": NewArray(codes, ("sample",), attributes=flags),
        "complete": NewArray(np.asarray(0), attributes={"long_name": "frames that are written"}),
    }


def _state(steps: int, parts: Parts, carry: Mapping[str, Array]) -> dict[str, NewArray]:
    """What a reader checks, and what is needed to continue."""
    return {
        f"{STATE}/digests": NewArray(np.zeros((1 + parts.total, 32), dtype=np.uint8), rows=steps),
        f"{STATE}/seals": NewArray(np.zeros(5, dtype=np.int64), rows=SLOTS),
        **{f"{STATE}/carry/{name}": NewArray(each, rows=SLOTS) for name, each in carry.items()},
    }
