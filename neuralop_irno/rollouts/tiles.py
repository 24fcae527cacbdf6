"""Blocks of a frame along its first axis of space, one for each of the processes that write one sample.

A block begins and ends where files of the field do, so that no two processes write one file. Each process
computes its sample whole, and writes its block alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from neuralop_irno.errors import expected
from neuralop_irno.rollouts.labels import Labels
from neuralop_irno.rollouts.of_process import RolloutPart
from neuralop_irno.rollouts.place import CHANNEL, Place
from neuralop_irno.rollouts.sink import Plan


@dataclass(frozen=True)
class Tile:
    """The block of one process.

    Attributes:
        dim: the name of the axis.
        rows: of that axis.

    Example:
        >>> import torch
        >>> Tile("y", slice(2, 4)).cut(torch.zeros(1, 3, 6, 5), ("sample", "channel", "y", "x")).shape
        torch.Size([1, 3, 2, 5])
    """

    dim: str
    rows: slice

    def cut(self, values: Any, dims: Sequence[str]) -> Any:
        """The block of an array or tensor with axes of these names; the whole if it lacks the axis."""
        if self.dim not in dims:
            return values
        return values[(slice(None),) * list(dims).index(self.dim) + (self.rows,)]

    def plan(self, plan: Plan, place: Place) -> Plan:
        """The plan of a rollout of the block, on a place with names of its axes."""
        constants = {
            name: replace(each, values=self.cut(each.values, each.dims))
            for name, each in place.constants.items()
        }
        start = self.cut(plan.start, start_dims(place.dims))
        return replace(plan, start=start, place=Place(place.dims, constants))

    def labels(self, labels: Labels) -> Labels:
        """The options of a file with the coordinates of the block."""
        given = labels.coordinates
        own = {name: values[self.rows] if name == self.dim else values for name, values in given.items()}
        return replace(labels, coordinates=own)


def axis_of_tiles(dims: Sequence[str]) -> str:
    """The axis along which frames are cut into tiles: the first one of space, or that of nodes."""
    return next(dim for dim in dims if dim not in ("sample", CHANNEL))


def start_dims(dims: Sequence[str]) -> tuple[str, ...]:
    """The axes of the frames before the first, from those of a frame."""
    return dims[0], "start_step", *dims[1:]


def rows_of(part: RolloutPart, dim: str, size: int, each: int) -> slice:
    """The rows of the tile of a process.

    Args:
        part: of the process.
        dim: the name of the axis.
        size: of the axis.
        each: the rows of one file of a field.

    Raises:
        ValueError: there are fewer files along the axis than tiles.
    """
    (number, count), files = part.tile, -(-size // each)
    if files < count:
        hint = "fewer processes"
        if count <= size:
            hint = f"chunks= of at most {size // count} along {dim}, and shards= of the same size"
        wanted = f"a file of each field for each of the {count} processes of a sample along {dim}"
        raise ValueError(expected(wanted, f"{size} points in {files} of {each}", hint))
    first, end = (min(files * index // count * each, size) for index in (number, number + 1))
    return slice(first, end)
