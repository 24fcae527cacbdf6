"""A field for every sample of a training set, in one tensor."""

from __future__ import annotations

import torch
from torch import Tensor


class States:
    """Fields of many samples: a sample on a grid is one row, one on a graph a row for each node.

    Args:
        values: the fields, ``(rows, ...)``.
        sizes: rows of each sample, ``(n,)``; by default one each.

    Example:
        >>> states = States(torch.tensor([[1.0], [2.0], [3.0]]), sizes=torch.tensor([2, 1]))
        >>> states[torch.tensor([1, 0])].flatten()
        tensor([3., 1., 2.])
    """

    def __init__(self, values: Tensor, sizes: Tensor | None = None) -> None:
        self.values = values
        self.sizes = torch.ones(len(values), dtype=torch.long) if sizes is None else sizes
        self._ends = self.sizes.cumsum(0)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: Tensor) -> Tensor:
        return self.values[self.rows(index)]

    def __setitem__(self, index: Tensor, values: Tensor) -> None:
        self.values[self.rows(index)] = values

    def copy(self) -> States:
        """A copy of the fields."""
        return States(self.values.clone(), self.sizes)

    def rows(self, index: Tensor) -> Tensor:
        """The rows of some samples, one sample after the other."""
        sizes = self.sizes[index]
        first = (self._ends - self.sizes)[index] - (sizes.cumsum(0) - sizes)
        return torch.arange(int(sizes.sum())) + first.repeat_interleave(sizes)

    def owners(self, index: Tensor) -> Tensor:
        """For each row of `rows`, the position of its sample in ``index``."""
        return torch.arange(len(index)).repeat_interleave(self.sizes[index])
