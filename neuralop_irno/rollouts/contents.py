"""The content of a rollout file, checked as it is read; see `frame_file` for how it is written.

Links, virtual and external sources and foreign codecs are refused, and so are numbers whose
SHA-256 digest does not match. Files of format 1 have no digests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralop_irno import digest
from neuralop_irno.errors import expected
from neuralop_irno.rollouts.outcome import Ending
from neuralop_irno.rollouts.storage import Array, Storage, readable

FORMAT = 2
"""Raised when a file can no longer be read by older versions of the package."""

KIND = "neuralop_irno.rollout"
ENDINGS = (Ending.COMPLETED, Ending.NOT_FINITE, Ending.UNTRUSTED)
"""Files store the index of an ending in this tuple."""

ONES = ("start", "lasted", "endings", "complete")
"""Arrays with one row."""


class Contents:
    """An open rollout file.

    Args:
        storage: for HDF5 or Zarr.
        group: the file, as a group of arrays.
        name: of the file, for errors.

    Attributes:
        format, steps, block, samples: its attributes.
        belongs: digests of the model and options of the rollout, by name; empty in files of format 1.
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
            self._arrays = self._checked_arrays()
            self.start, self.lasted, self.codes = (
                np.asarray(self._arrays[key][0]) for key in ("start", "lasted", "endings")
            )
            times = self._arrays.get("times")
            self.times = None if times is None else np.asarray(times[0])
            self.complete = int(self._arrays["complete"][0])
            self.belongs: dict[str, str] = {}
            self.head = ""
            if self.format > 1:
                self.head = head_digest(attributes, self.start, self.times)
                if attributes.get("digest") != self.head:
                    raise self._damaged("start, times and attributes")
                self.belongs = dict(json.loads(attributes["belongs"]))
        self._check_numbers()
        slots = range(self._arrays["seals"].shape[0]) if self.format > 1 else ()
        self._seals = [self._seal(slot) for slot in slots]
        self.slots = [int(seal[0]) for seal in self._seals]

    def frame(self, index: int) -> Array:
        """A frame, ``(B, C, *S)`` or ``(N, C)``.

        Raises:
            ValueError: it is missing or damaged.
        """
        if self._storage.missing(self._arrays["frames"], index):
            wanted = f"frame {index} of {self._name}"
            raise ValueError(expected(wanted, "no such part of the file", "a backup copy of the file"))
        with readable(f"frame {index} of {self._name}"):
            frame = np.asarray(self._arrays["frames"][index])
            mark = np.asarray(self._arrays["digests"][index]) if self.format > 1 else None
        if mark is None or np.array_equal(
            mark, frame_digest(self.head, index, frame, self.lasted, self.codes)
        ):
            return frame
        raise self._damaged(f"frame {index}")

    def frames(self) -> Iterator[Array]:
        """All frames of the file.

        Those up to ``complete`` have to be sound. After a kill or a loss of power more may follow, up to the
        first incomplete one.
        """
        for index in range(self.complete):
            yield self.frame(index)
        for index in range(self.complete, self.steps if self.format > 1 else self.complete):
            try:
                frame = self.frame(index)
            except ValueError:
                return
            yield frame

    def carry(self, count: int) -> tuple[int, dict[str, Array], int]:
        """The refinement's state at the last end of a block within the first ``count`` frames.

        Returns:
            the number of frames before it, the arrays by name, and their slot; (0, {}, 0) if the rollout has
            to begin at its start.

        Raises:
            ValueError: the one that belongs to ``complete`` is damaged.
        """
        found: tuple[int, dict[str, Array], int] = (0, {}, 0)
        carry = self._group["carry"]
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

    def _checked_arrays(self) -> dict[str, Any]:
        """The arrays of a rollout, checked for shape and dtype."""
        group, fault = self._group, self._storage.fault
        names = [*ONES, "frames", *(("digests", "seals") if self.format > 1 else ())]
        names += ["times"] if "times" in group else []
        for name in (*names, "carry"):
            if name not in group:
                raise self._wrong(f"no array '{name}'")
            if reason := fault(group, name):
                raise self._wrong(f"'{name}', {reason}")
        for name in group["carry"]:
            if reason := fault(group, f"carry/{name}"):
                raise self._wrong(f"'carry/{name}', {reason}")
        arrays = {name: group[name] for name in names}
        start = arrays["start"].shape
        wanted = {
            "frames": (self.steps, *start[1:2], *start[3:]),
            "lasted": (1, self.samples),
            "endings": (1, self.samples),
            "complete": (1,),
            "digests": (self.steps, 32),
        }
        for name, array in arrays.items():
            if name in wanted and tuple(array.shape) != wanted[name]:
                raise self._wrong(f"'{name}' of shape {tuple(array.shape)}")
            if name in ("frames", "start") and array.dtype.kind not in "fc":
                raise self._wrong(f"'{name}' of {array.dtype}")
        # Format 1 left out rows of zeros.
        for name in ("complete", "frames", *(ONES if self.format > 1 else ())):
            if self._storage.missing(arrays[name], 0):
                raise self._wrong(f"no first row of '{name}'")
        return arrays

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


def head_digest(attributes: Mapping[str, Any], start: Array, times: Array | None) -> str:
    """The digest of the constant parts of a rollout."""
    plain = {name: attributes[name] for name in sorted(attributes) if name != "digest"}
    plain = {name: int(each) if isinstance(each, np.integer) else each for name, each in plain.items()}
    arrays = {"start": start} | ({} if times is None else {"times": times})
    return digest.of_json([plain, digest.of_tensors({name: tensor(each) for name, each in arrays.items()})])


def frame_digest(head: str, index: int, frame: Array, lasted: Array, codes: Array) -> Array:
    """The digest of a frame and of the samples that have left by then, with their endings: 32 bytes."""
    left = lasted <= index  # samples that leave later do not change it
    total = hashlib.sha256(f"{head}|{index}|{frame.dtype}|{frame.shape}|".encode())
    total.update(np.where(left, lasted, -1).astype("<i8").tobytes())
    total.update(np.where(left, codes, 0).astype("<i8").tobytes())
    total.update(np.ascontiguousarray(frame).reshape(-1).view(np.uint8).data)
    return np.frombuffer(total.digest(), dtype=np.uint8)


def seal_of(head: str, after: int, arrays: Mapping[str, Array]) -> Array:
    """The check of a slot: the number of frames before it and the digest of its content, as 5 integers."""
    tensors = digest.of_tensors({name: tensor(each) for name, each in arrays.items()})
    total = hashlib.sha256(f"{head}|{after}|{tensors}".encode()).digest()
    return np.concatenate([np.asarray([after]), np.frombuffer(total, dtype="<i8")])


def tensor(array: Array) -> Tensor:
    """A copy of an array as a tensor."""
    return torch.from_numpy(np.array(array))
