"""A field for every sample of a training set, in one tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class States:
    """Fields of many samples: a sample on a grid is one row, one on a graph a row for each node.

    Args:
        values: the fields, ``(rows, ...)``; of samples on several grids all numbers, ``(rows,)``.
        sizes: rows of each sample, ``(n,)``; by default one each.
        shapes: of each sample, where they are on several grids. Those of one call share a grid.

    Example:
        >>> states = States(torch.tensor([[1.0], [2.0], [3.0]]), sizes=torch.tensor([2, 1]))
        >>> states[torch.tensor([1, 0])].flatten()
        tensor([3., 1., 2.])
    """

    def __init__(
        self, values: Tensor, sizes: Tensor | None = None, shapes: Sequence[torch.Size] | None = None
    ) -> None:
        self.values, self.shapes = values, shapes
        self.sizes = torch.ones(len(values), dtype=torch.long) if sizes is None else sizes
        self._ends = self.sizes.cumsum(0)

    @classmethod
    def of(cls, batches: Sequence[Tensor], sizes: Tensor) -> States:
        """The states of batches, which may be on several grids.

        Args:
            batches: ``(rows, ...)`` each.
            sizes: rows of each sample, ``(n,)``.

        Example:
            >>> states = States.of([torch.zeros(2, 1, 4), torch.ones(1, 1, 8)], torch.ones(3))
            >>> states[torch.tensor([1])].shape, states[torch.tensor([2])].shape
            (torch.Size([1, 1, 4]), torch.Size([1, 1, 8]))
        """
        if len({batch.shape[1:] for batch in batches}) == 1:
            return cls(torch.cat(list(batches)), sizes)
        shapes = [batch.shape[1:] for batch in batches for _ in batch]
        values = torch.cat([batch.flatten() for batch in batches])
        return cls(values, torch.tensor([shape.numel() for shape in shapes]), shapes)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: Tensor) -> Tensor:
        values = self.values[self.rows(index)]
        return values if self.shapes is None else values.reshape(-1, *self.shapes[int(index[0])])

    def __setitem__(self, index: Tensor, values: Tensor) -> None:
        self.values[self.rows(index)] = values if self.shapes is None else values.flatten()

    def copy(self) -> States:
        """A copy of the fields."""
        return States(self.values.clone(), self.sizes, self.shapes)

    def rows(self, index: Tensor) -> Tensor:
        """The rows of some samples, one sample after the other."""
        sizes = self.sizes[index]
        first = (self._ends - self.sizes)[index] - (sizes.cumsum(0) - sizes)
        return torch.arange(int(sizes.sum())) + first.repeat_interleave(sizes)

    def owners(self, index: Tensor) -> Tensor:
        """For each row of the fields of some samples, the position of its sample in ``index``."""
        places = torch.arange(len(index))
        return places.repeat_interleave(self.sizes[index]) if self.shapes is None else places
