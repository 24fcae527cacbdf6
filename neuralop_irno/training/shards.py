"""Shards: which process has which samples, and an order of batches that does not depend on their number.

Sample i is in shard ``i mod V``; process r of N has the shards s with ``s mod N = r``, for the whole
training. An order takes the next sample of shard ``(a p + c) mod V`` at its position p, with a coprime to V.
So N successive positions have one sample for each process, for every N that divides V: the shares of a batch
are equal where N divides its size, and the order is the same for every N.
"""

from __future__ import annotations

from math import gcd, lcm

import torch
from torch import Tensor

from neuralop_irno.errors import expected


class Shards:
    """The shards of a training set, and those of one process.

    Args:
        samples: in the data set.
        number: V, of the shards.
        grids: of the samples, from `grids_of`. Shards then count the samples of each grid by themselves, and
            a batch has samples on one grid only.
        rank: of this process.
        world: N, the number of processes.

    Attributes:
        own: the numbers of this process's samples, ascending. Sample 0, as padding, if it has none.

    Raises:
        ValueError: N does not divide V.

    Example:
        >>> shards = Shards(5, 4, rank=1, world=2)
        >>> shards.own
        tensor([1, 3])
        >>> [len(batch) for batch in shards.order(2, seed=0, epoch=3)]
        [2, 2, 1]
    """

    def __init__(
        self, samples: int, number: int, grids: Tensor | None = None, rank: int = 0, world: int = 1
    ) -> None:
        if number % world:
            wanted = f"a number of processes that divides the {number} shards"
            raise ValueError(expected(wanted, world, f"shards: {lcm(number, world)}"))
        self.number, self.grids, self.rank, self.world = number, grids, rank, world
        self._of = _places(samples, grids) % number
        own = (self._of % world == rank).nonzero()[:, 0]
        self.own = own if len(own) else torch.zeros(1, dtype=torch.long)

    def order(self, batch_size: int, seed: int, epoch: int) -> tuple[Tensor, ...]:
        """The sample numbers of every batch of an epoch; a last, smaller batch is kept.

        Args:
            batch_size: samples in a batch, in all processes together.
            seed: of the training.
            epoch: its number.

        Example:
            >>> shards = Shards(4, 16, grids=torch.tensor([0, 0, 0, 1]))
            >>> sorted(batch.sort().values.tolist() for batch in shards.order(4, seed=0, epoch=0))
            [[0, 1, 2], [3]]
        """
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        permuted = torch.randperm(len(self._of), generator=generator)
        if self.grids is None:
            return self._in_rounds(permuted, generator).split(batch_size)
        on_one_grid = (permuted[self.grids[permuted] == grid] for grid in self.grids.unique())
        batches = [
            batch for own in on_one_grid for batch in self._in_rounds(own, generator).split(batch_size)
        ]
        return tuple(batches[place] for place in torch.randperm(len(batches), generator=generator))

    def share(self, index: Tensor) -> tuple[Tensor, float]:
        """This process's part of some sample numbers, and its weight in the loss.

        A process without samples among them takes one that it has, with weight 0: it has to take part in
        every update, since the other processes wait for its gradients.
        """
        own = index[self._of[index] % self.world == self.rank]
        return (own, 1.0) if len(own) else (self.own[:1], 0.0)

    def _in_rounds(self, permuted: Tensor, generator: torch.Generator) -> Tensor:
        """Samples in rounds over the shards, in each shard as they are permuted."""
        coprime = [step for step in range(1, self.number + 1) if gcd(step, self.number) == 1]
        step = coprime[int(torch.randint(len(coprime), (), generator=generator))]
        first = int(torch.randint(self.number, (), generator=generator))
        positions = torch.empty(self.number, dtype=torch.long)
        positions[(step * torch.arange(self.number) + first) % self.number] = torch.arange(self.number)
        by_shard = permuted[self._of[permuted].argsort(stable=True)]
        shard = self._of[by_shard]
        sizes = shard.bincount(minlength=self.number)
        rounds = torch.arange(len(shard)) - (sizes.cumsum(0) - sizes)[shard]
        return by_shard[(rounds * self.number + positions[shard]).argsort()]


def _places(samples: int, grids: Tensor | None) -> Tensor:
    """The position of each sample among those of its grid, ``(samples,)``."""
    if grids is None:
        return torch.arange(samples)
    places = torch.empty(samples, dtype=torch.long)
    for grid in grids.unique():
        of_grid = grids == grid
        places[of_grid] = torch.arange(int(of_grid.sum()))
    return places
