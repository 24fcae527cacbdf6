"""Fields on points: one sample is one set of nodes, and sets of any sizes share a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import expected


@dataclass(frozen=True)
class Edges:
    """Who is joined to whom.

    Attributes:
        index: source and target of each edge, ``(2, E)``.
        attr: what is known of each edge, ``(E, ..)``.
    """

    index: Tensor
    attr: Tensor | None = None

    def between(self, kept: Tensor) -> Edges:
        """The edges between the nodes of a mask, ``(N,)``, renumbered as if there were no others."""
        inside = kept[self.index].all(0)
        renamed = kept.cumsum(0) - 1
        return Edges(renamed[self.index[:, inside]], None if self.attr is None else self.attr[inside])


class GraphDomain(Domain):
    """A batch of point sets, or of graphs where edges join the points.

    Args:
        batch: for each node the sample that it belongs to, ``(N,)``.
        samples: how many samples there are.
        pos: coordinates, ``(N, d)``.
        measure: how much of the domain each node stands for, ``(N,)``; by default all the same.
        edges: who is joined to whom, where that is known.

    Shapes:
        - field: ``(N, C)``

    Example:
        >>> domain = GraphDomain(torch.tensor([0, 0, 1]), samples=2)
        >>> domain.mean(torch.tensor([[1.0], [3.0], [5.0]]))
        tensor([2., 5.])
    """

    def __init__(
        self,
        batch: Tensor,
        samples: int,
        pos: Tensor | None = None,
        measure: Tensor | None = None,
        edges: Edges | None = None,
    ) -> None:
        self.batch, self.samples, self.pos, self.measure = batch, samples, pos, measure
        self._edges = edges

    @property
    def edges(self) -> Edges:
        """Who is joined to whom; an error where that is not known."""
        if self._edges is None:
            raise ValueError(
                expected("a graph with edges", "points without", "edge_index=..., or correction='gino'")
            )
        return self._edges

    def mean(self, field: Tensor) -> Tensor:
        values = field.flatten(1).mean(1)
        weights = torch.ones_like(values) if self.measure is None else self.measure.to(values.dtype)
        total = values.new_zeros(self.samples).index_add(0, self.batch, weights)
        summed = values.new_zeros(self.samples).index_add(0, self.batch, weights * values)
        return summed / total.clamp(min=torch.finfo(values.dtype).tiny)

    def spread(self, values: Tensor, field: Tensor) -> Tensor:
        return values[self.batch].reshape(-1, *[1] * (field.dim() - 1))

    def take(self, field: Tensor, keep: Tensor) -> Tensor:
        return field.index_select(0, self._rows(keep))

    def put(self, field: Tensor, keep: Tensor, values: Tensor) -> Tensor:
        return field.index_copy(0, self._rows(keep), values)

    def select(self, keep: Tensor) -> GraphDomain:
        kept = self._kept(keep)
        rows = kept.nonzero()[:, 0]
        renamed = self.batch.new_full((self.samples,), -1)
        renamed[keep] = torch.arange(len(keep), device=keep.device)
        return GraphDomain(
            renamed[self.batch[rows]],
            len(keep),
            None if self.pos is None else self.pos[rows],
            None if self.measure is None else self.measure[rows],
            None if self._edges is None else self._edges.between(kept),
        )

    def _rows(self, keep: Tensor) -> Tensor:
        return self._kept(keep).nonzero()[:, 0]

    def _kept(self, keep: Tensor) -> Tensor:
        """The nodes of the samples ``keep``, as a mask."""
        samples = torch.zeros(self.samples, dtype=torch.bool, device=keep.device)
        samples[keep] = True
        return samples[self.batch]


def interpolate(values: Tensor, source: Tensor, target: Tensor, neighbours: int = 3) -> Tensor:
    """Carry values from one point set to another, by inverse squared distance.

    Args:
        values: ``(B, n, C)`` at the source points.
        source: ``(n, d)``.
        target: ``(q, d)``.
        neighbours: how many source points each target point listens to.

    Shapes:
        - returns: ``(B, q, C)``

    Example:
        >>> line = torch.tensor([[0.0], [1.0]])
        >>> interpolate(torch.tensor([[[0.0], [2.0]]]), line, torch.tensor([[0.5], [1.0]])).squeeze()
        tensor([1., 2.])
    """
    if source.shape[-1] != target.shape[-1]:
        raise ValueError(
            expected(f"points in {source.shape[-1]} dimensions", f"{target.shape[-1]}", "one geometry")
        )
    count = min(neighbours, len(source))
    tree = cKDTree(source.detach().cpu().double().numpy())
    distance, nearest = tree.query(target.detach().cpu().double().numpy(), k=list(range(1, count + 1)))
    squared = torch.as_tensor(distance, device=values.device).square()
    # A target that coincides with a source point takes its value alone.
    weight = 1 / squared.clamp(min=1e-300)
    weight = (weight / weight.sum(1, keepdim=True)).to(values.dtype)
    index = torch.as_tensor(nearest, device=values.device)
    return (values[:, index] * weight[..., None]).sum(2)
