"""A field for every sample of one process, in one tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class States:
    """Fields of many samples: a sample on a grid is one row, one on a graph a row for each node.

    Args:
        values: the fields, ``(rows, ...)``, in any memory; of samples on several grids all numbers,
            ``(rows,)``.
        sizes: rows of each sample, ``(n,)``; by default one each.
        shapes: of each sample, where they are on several grids. Those of one call share a grid.
        numbers: of the samples in their data set, ``(n,)``, ascending; by default 0 to n - 1.
        device: of the fields that are read; that of ``values`` by default.

    Example:
        >>> states = States(torch.tensor([[1.0], [2.0], [3.0]]), sizes=torch.tensor([2, 1]))
        >>> states[torch.tensor([1, 0])].flatten()
        tensor([3., 1., 2.])
        >>> States(torch.tensor([[1.0], [3.0]]), numbers=torch.tensor([1, 3]))[torch.tensor([3])]
        tensor([[3.]])
    """

    def __init__(
        self,
        values: Tensor,
        sizes: Tensor | None = None,
        shapes: Sequence[torch.Size] | None = None,
        numbers: Tensor | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.values, self.shapes = values, shapes
        self.sizes = torch.ones(len(values), dtype=torch.long) if sizes is None else sizes
        self.device = values.device if device is None else device
        self._ends = self.sizes.cumsum(0)
        whole = torch.arange(len(self.sizes))
        self.numbers = whole if numbers is None else numbers
        self._all = numbers is None or torch.equal(numbers, whole)

    @classmethod
    def of(cls, batches: Sequence[Tensor], sizes: Tensor, numbers: Tensor | None = None) -> States:
        """The states of batches, which may be on several grids.

        Args:
            batches: ``(rows, ...)`` each.
            sizes: rows of each sample, ``(n,)``.
            numbers: of the samples.

        Example:
            >>> states = States.of([torch.zeros(2, 1, 4), torch.ones(1, 1, 8)], torch.ones(3))
            >>> states[torch.tensor([1])].shape, states[torch.tensor([2])].shape
            (torch.Size([1, 1, 4]), torch.Size([1, 1, 8]))
        """
        if len({batch.shape[1:] for batch in batches}) == 1:
            return cls(torch.cat(list(batches)), sizes, numbers=numbers)
        shapes = [batch.shape[1:] for batch in batches for _ in batch]
        values = torch.cat([batch.flatten() for batch in batches])
        return cls(values, torch.tensor([shape.numel() for shape in shapes]), shapes, numbers)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: Tensor) -> Tensor:
        places = self.places(index)
        values = self.values[self._rows(places)].to(self.device, non_blocking=True)
        return values if self.shapes is None else values.reshape(-1, *self.shapes[int(places[0])])

    def __setitem__(self, index: Tensor, values: Tensor) -> None:
        rows = self._rows(self.places(index))
        self.values[rows] = (values if self.shapes is None else values.flatten()).to(self.values.device)

    def copy(self) -> States:
        """A copy of the fields, in memory of the same kind."""
        values = self.values.clone()
        values = values.pin_memory() if self.values.is_pinned() else values
        return States(values, self.sizes, self.shapes, self.numbers, self.device)

    def places(self, index: Tensor) -> Tensor:
        """The positions of some samples, given by their numbers, among these."""
        return index if self._all else torch.searchsorted(self.numbers, index)

    def shape(self, place: int) -> torch.Size:
        """The shape of the fields of the sample at a position: ``(1, C, *S)``, or ``(nodes, C)``."""
        if self.shapes is not None:
            return torch.Size((1, *self.shapes[place]))
        return torch.Size((int(self.sizes[place]), *self.values.shape[1:]))

    def lengths(self) -> Tensor:
        """The bytes of the fields of each sample, ``(n,)``."""
        return self.sizes * self.values.shape[1:].numel() * self.values.element_size()

    def _rows(self, places: Tensor) -> Tensor:
        """The rows of the samples at some positions, one sample after the other."""
        sizes = self.sizes[places]
        first = (self._ends - self.sizes)[places] - (sizes.cumsum(0) - sizes)
        return torch.arange(int(sizes.sum())) + first.repeat_interleave(sizes)

    def owners(self, index: Tensor) -> Tensor:
        """For each row of the fields of some samples, the position of its sample in ``index``."""
        order = torch.arange(len(index))
        return order.repeat_interleave(self.sizes[self.places(index)]) if self.shapes is None else order
