"""The samples of one process among several that write one rollout."""

from __future__ import annotations

import os
from dataclasses import dataclass

from neuralop_irno.annotations import as_whole
from neuralop_irno.errors import expected


@dataclass(frozen=True)
class RolloutPart:
    """A contiguous range of samples; those of all processes are as equal in number as possible.

    Args:
        samples: of all processes together.
        rank: of this process, from 0.
        world: the number of processes, at most as many as samples.

    Example:
        >>> [RolloutPart(5, rank, 2).rows for rank in range(2)]
        [slice(0, 2, None), slice(2, 5, None)]
    """

    samples: int
    rank: int
    world: int

    def __post_init__(self) -> None:
        samples, rank, world = map(as_whole, (self.samples, self.rank, self.world))
        if samples is None or rank is None or world is None or not 0 <= rank < world <= samples:
            got = f"samples={self.samples!r}, rank={self.rank!r}, world={self.world!r}"
            raise ValueError(
                expected("0 <= rank < world <= samples", got, "RolloutPart(64, rank=0, world=4)")
            )

    @classmethod
    def of_process(cls, samples: int) -> RolloutPart:
        """The part of this process, by RANK and WORLD_SIZE, which torchrun sets; all samples without them."""
        return cls(samples, int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    @property
    def rows(self) -> slice:
        """The samples."""
        return slice(self.samples * self.rank // self.world, self.samples * (self.rank + 1) // self.world)

    @property
    def name(self) -> str:
        """Of the folder of what only this process writes."""
        return f"{self.rank:06d}"
