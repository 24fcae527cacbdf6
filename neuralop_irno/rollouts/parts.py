"""A frame in parts: an array for each field, cut into chunks, each with a SHA-256 digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuralop_irno import digest

Array = NDArray[Any]
Box = tuple[slice, ...]
Key = tuple[int | slice, ...]


@dataclass(frozen=True)
class Parts:
    """How the frames of a file are divided.

    Attributes:
        shape: of a frame.
        channel: its axis of channels.
        fields: the names of arrays: one for each channel, or one for the whole frame.
        named: whether there is one for each channel.
        chunks: the shape of a chunk of an array; None if arrays are not cut.
        moving: the shapes of the arrays of a moving mesh, which each frame has, by name. They are not cut.

    Example:
        >>> parts = Parts((1, 2, 5), 1, ("u", "v"), True, (1, 2))
        >>> parts.array_shape, [box[1].start for box in parts.boxes("u")]
        ((1, 5), [0, 2, 4])
    """

    shape: tuple[int, ...]
    channel: int = 1
    fields: tuple[str, ...] = ("frames",)
    named: bool = False
    chunks: tuple[int, ...] | None = None
    moving: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def array_shape(self) -> tuple[int, ...]:
        """The shape of one frame of a field's array."""
        axes = list(self.shape)
        if self.named:
            del axes[self.channel]
        return tuple(axes)

    @property
    def names(self) -> tuple[str, ...]:
        """All arrays that have a row for each frame."""
        return (*self.fields, *sorted(self.moving))

    def shape_of(self, name: str) -> tuple[int, ...]:
        """The shape of one frame of an array."""
        return self.moving.get(name, self.array_shape)

    def split(self, frame: Array) -> dict[str, Array]:
        """The arrays of a frame."""
        if not self.named:
            return {self.fields[0]: frame}
        return {name: np.take(frame, k, self.channel) for k, name in enumerate(self.fields)}

    def join(self, arrays: Mapping[str, Array]) -> Array:
        """The frame of some arrays."""
        if not self.named:
            return arrays[self.fields[0]]
        return np.stack([arrays[name] for name in self.fields], self.channel)

    def counts(self, name: str) -> tuple[int, ...]:
        """The number of chunks along each axis of an array."""
        shape = self.shape_of(name)
        if self.chunks is None or name in self.moving:
            return (1,) * len(shape)
        return tuple(-(-size // chunk) for size, chunk in zip(shape, self.chunks, strict=True))

    def boxes(self, name: str) -> Iterator[Box]:
        """The chunks of an array, in order."""
        for place in product(*map(range, self.counts(name))):
            yield self.box(name, place)

    def box(self, name: str, place: tuple[int, ...]) -> Box:
        """The chunk at a place of the grid of chunks."""
        shape = self.shape_of(name)
        sizes = shape if self.chunks is None or name in self.moving else self.chunks
        return tuple(
            slice(index * size, min((index + 1) * size, whole))
            for index, size, whole in zip(place, sizes, shape, strict=True)
        )

    def first(self, name: str) -> int:
        """The number of an array's first chunk, counted over all arrays."""
        before = self.names[: self.names.index(name)]
        return sum(prod(self.counts(each)) for each in before)

    @property
    def total(self) -> int:
        """The number of chunks of a frame."""
        return sum(prod(self.counts(name)) for name in self.names)

    def needed(self, name: str, key: Key) -> tuple[list[tuple[int, Box]], Box, Key]:
        """The chunks that a selection touches.

        Args:
            name: of an array.
            key: an index or a slice of each axis.

        Returns:
            the numbers and boxes of the chunks, the box around them, and the selection relative to that box.
        """
        counts, shape = self.counts(name), self.shape_of(name)
        edges = [self.box(name, (0,) * len(shape))[axis].stop for axis in range(len(shape))]
        ranges, inside = [], []
        for axis, (each, whole) in enumerate(zip(key, shape, strict=True)):
            chosen = range(*each.indices(whole)) if isinstance(each, slice) else range(each, each + 1)
            low, high = (min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1])) if chosen else (0, -1)
            ranges.append(range(low // edges[axis], high // edges[axis] + 1))
            start = ranges[-1].start * edges[axis]
            if not isinstance(each, slice):
                inside.append(each - start)
                continue
            stop = chosen.stop - start
            inside.append(slice(chosen.start - start, None if stop < 0 else stop, chosen.step))
        first = self.first(name)
        places = [
            (first + int(np.ravel_multi_index(place, counts)), self.box(name, place))
            for place in product(*ranges)
        ]
        hull = tuple(
            slice(found.start * edge, min(found.stop * edge, whole))
            for found, edge, whole in zip(ranges, edges, shape, strict=True)
        )
        return places, hull, tuple(inside)

    def digests(
        self, head: str, index: int, arrays: Mapping[str, Array], lasted: Array, codes: Array
    ) -> Array:
        """The digest of a frame, and then those of its chunks, ``(1 + chunks, 32)``."""
        rows = [
            chunk_digest(head, index, number, arrays[name][box])
            for name in self.names
            for number, box in enumerate(self.boxes(name), self.first(name))
        ]
        chunks = np.stack(rows)
        return np.concatenate([summary(head, index, lasted, codes, chunks)[None], chunks])


def chunk_digest(head: str, index: int, number: int, values: Array) -> Array:
    """The digest of a chunk of a frame: 32 bytes."""
    total = hashlib.sha256(f"{head}|{index}|{number}|{values.dtype}|{values.shape}|".encode())
    total.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return np.frombuffer(total.digest(), dtype=np.uint8)


def summary(head: str, index: int, lasted: Array, codes: Array, chunks: Array) -> Array:
    """The digest of a frame's chunks and of the samples that have left by then, with their endings."""
    total = hashlib.sha256(f"{head}|{index}|{len(chunks)}|".encode())
    total.update(_endings(index, lasted, codes))
    total.update(np.ascontiguousarray(chunks).data)
    return np.frombuffer(total.digest(), dtype=np.uint8)


def frame_digest(head: str, index: int, frame: Array, lasted: Array, codes: Array) -> Array:
    """The digest of a frame in format 2, which had one for each: 32 bytes."""
    total = hashlib.sha256(f"{head}|{index}|{frame.dtype}|{frame.shape}|".encode())
    total.update(_endings(index, lasted, codes))
    total.update(np.ascontiguousarray(frame).reshape(-1).view(np.uint8).data)
    return np.frombuffer(total.digest(), dtype=np.uint8)


def head_digest(attributes: Mapping[str, Any], arrays: Mapping[str, Array]) -> str:
    """The digest of the constant parts of a rollout."""
    plain = {name: attributes[name] for name in sorted(attributes) if name != "digest"}
    plain = {name: int(each) if isinstance(each, np.integer) else each for name, each in plain.items()}
    return digest.of_json([plain, digest.of_tensors({name: tensor(each) for name, each in arrays.items()})])


def seal_of(head: str, after: int, arrays: Mapping[str, Array]) -> Array:
    """The check of a slot: the number of frames before it and the digest of its content, as 5 integers."""
    tensors = digest.of_tensors({name: tensor(each) for name, each in arrays.items()})
    total = hashlib.sha256(f"{head}|{after}|{tensors}".encode()).digest()
    return np.concatenate([np.asarray([after]), np.frombuffer(total, dtype="<i8")])


def tensor(array: Array) -> Tensor:
    """A copy of an array as a tensor."""
    return torch.from_numpy(np.array(array))


def _endings(index: int, lasted: Array, codes: Array) -> bytes:
    """The samples that have left by a frame; those that leave later do not change it."""
    left = lasted <= index
    return (
        np.where(left, lasted, -1).astype("<i8").tobytes() + np.where(left, codes, 0).astype("<i8").tobytes()
    )
