"""Interpolation between the cells of grids and the nodes of meshes that they cover."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neuralop_irno.domain.graph import GraphDomain


@dataclass(frozen=True)
class Cover:
    """Linear interpolation from the cells of a grid to the nodes of meshes, with zeros on the walls.

    Attributes:
        cells: the cells around each node, in a flattened batch of grids, ``(N, 2^d)``.
        weights: of their values, negative where one is reflected at a wall.
        shape: of the batch of grids, ``(B, 1, *S)``.
    """

    cells: Tensor
    weights: Tensor
    shape: tuple[int, ...]

    @classmethod
    def of(cls, domain: GraphDomain, shape: Sequence[int], low: Tensor, sides: Tensor) -> Cover:
        """The cover of the meshes of a batch by grids of one shape over the box at ``low``."""
        assert domain.pos is not None
        place = (domain.pos.double() - low) / sides * torch.tensor(shape) - 0.5
        first = place.floor()
        cells, weights = [], []
        for corner in itertools.product((0, 1), repeat=len(shape)):
            number, weight = domain.batch, torch.ones(len(place), dtype=torch.float64)
            for axis, (step, size) in enumerate(zip(corner, shape, strict=True)):
                cell = first[:, axis].long() + step
                share = (place[:, axis] - first[:, axis] - (1 - step)).abs()
                inside = (cell >= 0) & (cell < size)
                weight = weight * torch.where(inside, share, -share)
                number = number * size + cell.clamp(0, size - 1)
            cells.append(number)
            weights.append(weight)
        whole = (domain.samples, 1, *shape)
        return cls(torch.stack(cells, 1), torch.stack(weights, 1), whole)

    def to_nodes(self, field: Tensor) -> Tensor:
        """P: a field of the grids, ``(B, 1, *S)``, at the nodes, ``(N, 1)``."""
        return (field.flatten()[self.cells] * self.weights.to(field)).sum(1, keepdim=True)

    def to_cells(self, nodes: Tensor) -> Tensor:
        """The transpose of P: sums over the nodes near each cell."""
        added = self.weights.to(nodes) * nodes
        flat = nodes.new_zeros(math.prod(self.shape)).index_add(0, self.cells.flatten(), added.flatten())
        return flat.reshape(self.shape)

    def means(self, nodes: Tensor) -> Tensor:
        """Means over the nodes near each cell, ``(B, C, *S)``; over a wider block where there are none."""
        weights = self.weights.abs().to(nodes)
        columns = []
        for column in nodes.unbind(1):
            flat = nodes.new_zeros(2, math.prod(self.shape))
            for row, added in enumerate((weights * column[:, None], weights)):
                flat[row].index_add_(0, self.cells.flatten(), added.flatten())
            columns.append(_filled(*flat.reshape(2, *self.shape)))
        return torch.cat(columns, 1)


def _filled(total: Tensor, weight: Tensor) -> Tensor:
    """total / weight, where the weight is zero from sums over blocks of 3, 9, 27 .. cells."""
    while not bool((weight > 0).all()):
        wider = [part.clone() for part in (total, weight)]
        for axis in range(2, total.dim()):
            wider = [part + _moved(part, axis, 1) + _moved(part, axis, -1) for part in wider]
        missing = weight == 0
        total, weight = torch.where(missing, wider[0], total), torch.where(missing, wider[1], weight)
    return total / weight


def _moved(field: Tensor, axis: int, by: int) -> Tensor:
    """The field moved by a cell, with zeros at the wall."""
    moved = field.roll(by, axis)
    moved.narrow(axis, 0 if by > 0 else field.shape[axis] - 1, 1).zero_()
    return moved
