"""The content of a rollout file, checked as it is read; see `frame_file` for how it is written.

Links, virtual and external sources and foreign codecs are refused, and so are numbers whose
SHA-256 digest does not match. Files of format 1 have no digests.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from neuralop_irno.errors import expected
from neuralop_irno.rollouts.layouts import FORMAT, KIND, ONES, Layout
from neuralop_irno.rollouts.outcome import Ending
from neuralop_irno.rollouts.parts import (
    Array,
    Key,
    chunk_digest,
    frame_digest,
    head_digest,
    seal_of,
    summary,
)
from neuralop_irno.rollouts.storage import Storage, readable

ENDINGS = (Ending.COMPLETED, Ending.NOT_FINITE, Ending.UNTRUSTED)
"""Files store the index of an ending in this tuple."""


class Contents:
    """An open rollout file.

    Args:
        storage: for one kind of file.
        group: the file, as a group of arrays.
        name: of the file, for errors.

    Attributes:
        format, steps, block, samples: its attributes.
        belongs: digests of the model and options of the rollout, by name; empty in files of format 1.
        layout: the names of its arrays and axes.
        parts: how its frames are divided.
        constants: start, times, coordinates and mesh, by name.
        start, times, lasted, codes: see `frame_file`.
        slots: the number of frames before each slot of the refinement's state.
        complete: the number of frames that are synchronised with the disk; more may follow, see `frames`.
        head: the digest of all constant parts.

    Raises:
        ValueError: the file is not a sound rollout file.
    """

    def __init__(self, storage: Storage, group: Any, name: str) -> None:
        self._storage, self._group, self._name = storage, group, name
        self.format = recognised(group, name)
        with readable(name):
            attributes = dict(group.attrs)
            self.steps, self.block, self.samples = (
                self._whole_number(attributes, key) for key in ("steps", "block", "samples")
            )
            self.layout = Layout.of(attributes, self.format, group)
            self._arrays = self._open_arrays()
            self.constants = {key: self._whole(key) for key in self.layout.constants}
            self.start, self.times = self.constants["start"], self.constants.get("time")
            self.lasted, self.codes = self._whole("lasted"), self._whole("ending")
            self.complete = int(self._whole("complete"))
            self.parts = self.layout.parts(self.start.shape)
            self._check_arrays()
            self.belongs: dict[str, str] = {}
            self.head = ""
            if self.format > 1:
                self.head = head_digest(
                    attributes, {self.layout.place(key): each for key, each in self.constants.items()}
                )
                if attributes.get("digest") != self.head:
                    raise self._damaged("start, times and attributes")
                self.belongs = dict(json.loads(attributes["belongs"]))
        self._check_numbers()
        slots = range(self._arrays["seals"].shape[0]) if self.format > 1 else ()
        self._seals = [self._seal(slot) for slot in slots]
        self.slots = [int(seal[0]) for seal in self._seals]

    def attributes(self, name: str) -> dict[str, Any]:
        """The CF attributes of an array as plain data, not checked."""
        with readable(f"'{name}' of {self._name}"):
            held = dict(self._group[self.layout.place(name)].attrs)
        return {key: each.tolist() if hasattr(each, "tolist") else each for key, each in held.items()}

    def dtype(self, name: str) -> Any:
        """The type of the numbers of an array."""
        return self._arrays[name].dtype

    def frame(self, index: int) -> Array:
        """A frame, ``(B, C, *S)`` or ``(N, C)``.

        Raises:
            ValueError: it is missing or damaged.
        """
        return self.parts.join(self.arrays(index))

    def arrays(self, index: int) -> dict[str, Array]:
        """The arrays of a frame, with those of a moving mesh.

        Raises:
            ValueError: they are missing or damaged.
        """
        for name in self.parts.names:
            if self._storage.missing(self._arrays[name], index):
                raise self._gone(index)
        with readable(f"frame {index} of {self._name}"):
            arrays = {name: np.asarray(self._arrays[name][index]) for name in self.parts.names}
            if self.format == 1:
                return arrays
            marks = np.asarray(self._arrays["digests"][index])
        if self.format == 2:
            right = frame_digest(self.head, index, self.parts.join(arrays), self.lasted, self.codes)
        else:
            right = self.parts.digests(self.head, index, arrays, self.lasted, self.codes)
        if not np.array_equal(marks, right):
            raise self._damaged(f"frame {index}")
        return arrays

    def part(self, index: int, name: str, key: Key) -> Array:
        """Part of an array of a frame; of files since format 3, the chunks around it alone are read.

        Args:
            index: of the frame.
            name: of an array.
            key: an index or a slice of each axis.

        Raises:
            ValueError: the part is missing or damaged.
        """
        if self.format < 3:
            return self.arrays(index)[name][key]
        chunks, hull, inside = self.parts.needed(name, key)
        values = np.empty([side.stop - side.start for side in hull], self._arrays[name].dtype)
        if not chunks:
            return values[inside]
        with readable(f"frame {index} of {self._name}"):
            marks = np.asarray(self._arrays["digests"][index])
            if not np.array_equal(marks[0], summary(self.head, index, self.lasted, self.codes, marks[1:])):
                raise self._damaged(f"frame {index}")
            for number, box in chunks:
                found = np.asarray(self._arrays[name][(index, *box)])
                if not np.array_equal(marks[1 + number], chunk_digest(self.head, index, number, found)):
                    raise self._damaged(f"frame {index}")
                place = tuple(
                    slice(side.start - around.start, side.stop - around.start)
                    for side, around in zip(box, hull, strict=True)
                )
                values[place] = found
        return values[inside]

    def frames(self) -> Iterator[Array]:
        """All frames of the file; see `all_arrays`."""
        for arrays in self.all_arrays():
            yield self.parts.join(arrays)

    def all_arrays(self) -> Iterator[dict[str, Array]]:
        """The arrays of all frames.

        Those up to ``complete`` have to be sound. After a kill or a loss of power more may follow, up to the
        first incomplete one.
        """
        for index in range(self.complete):
            yield self.arrays(index)
        yield from self.later_arrays()

    def later_arrays(self) -> Iterator[dict[str, Array]]:
        """The arrays of the frames after ``complete``, up to the first incomplete one."""
        for index in range(self.complete, self.steps if self.format > 1 else self.complete):
            try:
                arrays = self.arrays(index)
            except ValueError:
                return
            yield arrays

    def carry(self, count: int) -> tuple[int, dict[str, Array], int]:
        """The refinement's state at the last end of a block within the first ``count`` frames.

        Returns:
            the number of frames before it, the arrays by name, and their slot; (0, {}, 0) if the rollout has
            to begin at its start.

        Raises:
            ValueError: the one that belongs to ``complete`` is damaged.
        """
        found: tuple[int, dict[str, Array], int] = (0, {}, 0)
        carry = self._group[self.layout.place("carry")]
        for slot, seal in enumerate(self._seals):
            after = int(seal[0])
            if not found[0] < after <= count or after % self.block:
                continue
            with suppress(ValueError), readable("a slot"):  # a loss of power may have left it unreadable
                arrays = {name: np.asarray(carry[name][slot]) for name in carry}
                if np.array_equal(seal, seal_of(self.head, after, arrays)):
                    found = (after, arrays, slot)
        if found[0] < self.complete // self.block * self.block:
            raise self._damaged("the state of the refinement")
        return found

    def problems(self) -> list[str]:
        """A sentence for each damage of frames and of the refinement's state."""
        found = []
        for index in range(self.complete):
            try:
                self.frame(index)
            except ValueError as error:
                found.append(str(error))
        if self.format > 1 and self.complete < self.steps:
            try:
                self.carry(self.steps)
            except ValueError as error:
                found.append(str(error))
        return found

    def _whole(self, name: str) -> Array:
        """A whole array; up to format 2 these have one row."""
        return np.asarray(self._arrays[name][0 if self.format < 3 else ...])

    def _seal(self, slot: int) -> Array:
        """A row of ``seals``; zeros if a loss of power has left it unreadable."""
        with suppress(ValueError), readable("a seal"):
            return np.asarray(self._arrays["seals"][slot])
        return np.zeros(5, dtype=np.int64)

    def _whole_number(self, attributes: Mapping[str, Any], name: str) -> int:
        value = attributes.get(name)
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
            hint = "a backup copy of the file: this is damaged"
            raise ValueError(expected(f"{name} >= 1 in {self._name}", repr(value), hint))
        return int(value)

    def _open_arrays(self) -> dict[str, Any]:
        """The arrays of a rollout, checked for how they are stored."""
        group, arrays = self._group, {}
        for name, by_row in self.layout.arrays.items():
            place = self.layout.place(name)
            if place not in group:
                raise self._wrong(f"no array '{place}'")
            if reason := self._storage.fault(group, place, by_row):
                raise self._wrong(f"'{place}', {reason}")
            arrays[name] = self._storage.array(group, place)
            # Format 1 left out rows of zeros.
            row = 0 if by_row or self.format < 3 else None
            needed = name in ("complete", *self.layout.fields) or (self.format > 1 and not by_row)
            if needed and self._storage.missing(arrays[name], row):
                raise self._wrong(f"no first row of '{place}'")
        carry = self.layout.place("carry")
        if carry not in group:
            raise self._wrong(f"no array '{carry}'")
        for name in ("", *group[carry]):
            if reason := self._storage.fault(group, f"{carry}/{name}".rstrip("/"), bool(name)):
                raise self._wrong(f"'{carry}/{name}', {reason}".replace("/'", "'"))
        return arrays

    def _check_arrays(self) -> None:
        """Refuse arrays of other shapes and types than those of a rollout."""
        parts, lead = self.parts, () if self.format > 2 else (1,)
        wanted = {name: (self.steps, *parts.shape_of(name)) for name in parts.names}
        wanted |= {"lasted": (*lead, self.samples), "ending": (*lead, self.samples), "complete": lead}
        if self.format > 1:
            wanted["digests"] = (self.steps, 32) if self.format == 2 else (self.steps, 1 + parts.total, 32)
        for name, shape in wanted.items():
            if tuple(self._arrays[name].shape) != shape:
                raise self._wrong(f"'{name}' of shape {tuple(self._arrays[name].shape)}")
        if parts.named and len(parts.fields) != parts.shape[parts.channel]:
            raise self._wrong(f"fields {parts.fields} of {parts.shape[parts.channel]} channels")
        for name in ("start", *parts.fields):
            if self._arrays[name].dtype.kind not in "fc":
                raise self._wrong(f"'{name}' of {self._arrays[name].dtype}")

    def _check_numbers(self) -> None:
        if not 1 <= self.complete <= self.steps:
            raise self._wrong(f"complete={self.complete} of {self.steps} frames")
        if ((self.lasted < 0) | (self.lasted > self.steps)).any():
            raise self._wrong(f"a sample that lasted {self.lasted.tolist()} of {self.steps} frames")
        if ((self.codes < 0) | (self.codes >= len(ENDINGS))).any():
            raise self._wrong(f"endings {self.codes.tolist()}")
        if self.times is None:
            return
        ahead = np.diff(self.times)
        if self.times.shape[-1] != self.steps or not np.isfinite(self.times).all():
            raise self._wrong("times that are not finite, or not one for each frame")
        if not ((ahead > 0).all(-1) | (ahead < 0).all(-1)).all():
            raise self._wrong("times that are not in order")

    def _gone(self, index: int) -> ValueError:
        wanted = f"frame {index} of {self._name}"
        return ValueError(expected(wanted, "no such part of the file", "a backup copy of the file"))

    def _wrong(self, got: str) -> ValueError:
        hint = "a backup copy of the file: this one is damaged"
        return ValueError(expected(f"a sound rollout in {self._name}", got, hint))

    def _damaged(self, what: str) -> ValueError:
        got = "another SHA-256 digest: the file is damaged or was changed"
        return ValueError(expected(f"{what} of {self._name} as written", got, "a backup copy of the file"))


def recognised(group: Any, name: str) -> int:
    """The format of a rollout file, from its attributes.

    Raises:
        ValueError: the file is not a rollout, or was written by a newer version.
    """
    found = group.attrs.get("format")
    number = isinstance(found, int | np.integer) and not isinstance(found, bool)
    ours = group.attrs.get("kind") == KIND if number and found > 1 else all(one in group for one in ONES)
    if not number or found < 1 or not ours:
        wanted = f"a rollout of format {FORMAT}"
        raise ValueError(expected(wanted, f"{name} with format {found}", "another path"))
    if found > FORMAT:
        wanted = f"a rollout of format {FORMAT} or older"
        raise ValueError(expected(wanted, f"format {found} in {name}", "a newer neuralop_irno"))
    return int(found)
