"""The samples, or the tile of a sample, of one process among several that write one rollout."""

from __future__ import annotations

import os
from dataclasses import dataclass

from neuralop_irno.annotations import as_whole
from neuralop_irno.errors import expected


@dataclass(frozen=True)
class RolloutPart:
    """A contiguous range of samples; those of all processes are as equal in number as possible.

    With more processes than samples, several have the same sample, and each of them writes a tile of it: see
    `neuralop_irno.rollouts.tiles`.

    Args:
        samples: of all processes together.
        rank: of this process, from 0.
        world: the number of processes.

    Example:
        >>> [RolloutPart(5, rank, 2).rows for rank in range(2)]
        [slice(0, 2, None), slice(2, 5, None)]
        >>> [(part.rows.start, part.tile) for part in (RolloutPart(2, rank, 3) for rank in range(3))]
        [(0, (0, 2)), (0, (1, 2)), (1, (0, 1))]
    """

    samples: int
    rank: int
    world: int

    def __post_init__(self) -> None:
        samples, rank, world = map(as_whole, (self.samples, self.rank, self.world))
        if samples is None or rank is None or world is None or not 0 <= rank < world or samples < 1:
            got = f"samples={self.samples!r}, rank={self.rank!r}, world={self.world!r}"
            wanted = "samples >= 1 and 0 <= rank < world"
            raise ValueError(expected(wanted, got, "RolloutPart(64, rank=0, world=4)"))

    @classmethod
    def of_process(cls, samples: int) -> RolloutPart:
        """The part of this process, by RANK and WORLD_SIZE, which torchrun sets; all samples without them."""
        return cls(samples, int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    @property
    def rows(self) -> slice:
        """The samples."""
        first, end = (self.samples * rank // self.world for rank in (self.rank, self.rank + 1))
        return slice(first, max(end, first + 1))

    @property
    def of_sample(self) -> tuple[RolloutPart, ...]:
        """The parts of the processes with the same samples, more than one where they have a tile each."""
        if self.world <= self.samples:
            return (self,)
        first, end = (-(-sample * self.world // self.samples) for sample in (self.rows.start, self.rows.stop))
        return tuple(RolloutPart(self.samples, rank, self.world) for rank in range(first, end))

    @property
    def tile(self) -> tuple[int, int]:
        """The number of the tile, from 0, and the number of tiles of the sample."""
        return self.of_sample.index(self), len(self.of_sample)

    @property
    def name(self) -> str:
        """Of the folder of what only this process writes."""
        return f"{self.rank:06d}"
