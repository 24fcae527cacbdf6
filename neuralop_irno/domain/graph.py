"""Fields on points and graphs: one sample is one set of nodes; sets of different sizes share a batch."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from neuralop_irno.domain.check import check_graphs
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.elements import lumped_measure
from neuralop_irno.domain.sphere import grid_domain
from neuralop_irno.errors import expected
from neuralop_irno.precision import at_least_float32

EDGES = "Data(edge_index=...), or neighbours=8 of the data set mesh_files"
"""How points without cells get edges, for errors."""


@dataclass(frozen=True)
class Edges:
    """The edges of a batch of graphs.

    Attributes:
        index: source and target of each edge, ``(2, E)``.
        attr: attributes of each edge, ``(E, ..)``.
        weight: weight of each edge, ``(E,)``.
    """

    index: Tensor
    attr: Tensor | None = None
    weight: Tensor | None = None

    def between(self, kept: Tensor) -> Edges:
        """The edges between the nodes of a mask ``(N,)``, with those nodes renumbered from 0."""
        inside = kept[self.index].all(0)
        attr, weight = (None if part is None else part[inside] for part in (self.attr, self.weight))
        return Edges(_between(self.index, kept), attr, weight)


class GraphDomain(Domain):
    """A batch of point sets, or of graphs where edges join the points.

    Args:
        batch: the sample of each node, ``(N,)``.
        samples: number of samples.
        pos: coordinates, ``(N, d)``.
        measure: area or volume per node, ``(N,)``; by default from ``pos`` and ``cells`` if both
            are given, else equal for all nodes.
        edges: the edges; None for points.
        cells: the corners of each cell of a mesh, as PyG's ``face``, ``(corners, cells)``.
        period: the sides of the periodic box of each sample, ``(samples, d)``, infinite along open axes; None
            for open domains.

    Shapes:
        - field: ``(N, C)``

    Example:
        >>> domain = GraphDomain(torch.tensor([0, 0, 1]), samples=2)
        >>> domain
        GraphDomain(2 samples, 3 nodes)
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
        cells: Tensor | None = None,
        period: Tensor | None = None,
    ) -> None:
        self.batch, self.samples, self.pos, self.cells = batch, samples, pos, cells
        self.period = period
        self._given_measure = measure
        if measure is None and pos is not None and cells is not None:
            measure = lumped_measure(pos, cells)
        self.measure = measure
        self._edges = edges

    def __repr__(self) -> str:
        dimensions = "" if self.pos is None else f" in {self.pos.shape[1]} dimensions"
        edges = "" if self._edges is None else f", {self._edges.index.shape[1]} edges"
        return f"GraphDomain({self.samples} samples, {len(self.batch)} nodes{dimensions}{edges})"

    @classmethod
    def of(cls, field: Tensor, known: Mapping[str, Any], samples: int | None = None) -> Self:
        """The domain of a field, from parts under PyTorch Geometric's names, checked by `check_graphs`.

        Args:
            field: a field with one row per node.
            known: any of ``batch``, ``pos``, ``measure``, ``edge_index``, ``edge_attr``, ``edge_weight``,
                ``face`` and ``period``; other entries are not read, but for ``num_graphs``.
            samples: number of samples; by default ``num_graphs``, or the largest entry of ``batch`` plus one.
        """
        batch, edge_index = known.get("batch"), known.get("edge_index")
        if batch is None:
            batch, samples = field.new_zeros(field.shape[0], dtype=torch.long), samples or 1
        elif samples is None:
            samples = known.get("num_graphs")
        if samples is None:
            samples = int(batch.max()) + 1 if len(batch) else 0
        check_graphs(field.shape[0], samples, {**known, "batch": batch})
        edges = None
        if edge_index is not None:
            edges = Edges(edge_index, known.get("edge_attr"), known.get("edge_weight"))
        pos = known.get("pos")
        pos = None if pos is None else at_least_float32(pos)
        period = known.get("period")
        if pos is not None and period is not None:
            period = period.to(pos).expand(samples, pos.shape[1])
        return cls(batch, samples, pos, known.get("measure"), edges, known.get("face"), period)

    @property
    def given(self) -> tuple[Tensor, ...]:
        """The tensors that determine the domain, together with its numbers of nodes and samples."""
        edges = None if self._edges is None else self._edges.index
        batch = self.batch if self.samples != 1 else None  # all zeros for one sample
        parts = (batch, self.pos, self._given_measure, edges, self.cells, self.period)
        return tuple(part for part in parts if part is not None)

    @property
    def has_edges(self) -> bool:
        """Whether edges join the points."""
        return self._edges is not None

    @property
    def edges(self) -> Edges:
        """The edges; raises ValueError if there are none."""
        if self._edges is None:
            wanted = "a graph with edges"
            raise ValueError(expected(wanted, "points without", f"{EDGES}, or correction='rigno'"))
        return self._edges

    def without_edge_weight(self) -> Self:
        """The same graphs without weights of their edges."""
        other = copy.copy(self)
        if self._edges is not None:
            other._edges = replace(self._edges, weight=None)
        return other

    def with_edges(self, edges: Edges) -> Self:
        """The same nodes with other edges."""
        other = copy.copy(self)
        other._edges = edges
        return other

    def way(self) -> Tensor:
        """The vector from the source to the target of each edge, the shortest on a torus, ``(E, d)``."""
        if self.pos is None:
            raise ValueError(expected("a graph with coordinates", "none", "pos=..."))
        source, target = self.edges.index.unbind()
        way = self.pos[target] - self.pos[source]
        if self.period is None:
            return way
        closed = self.period.isfinite()
        side = torch.where(closed, self.period, 1)
        image = torch.where(closed, side, 0)[self.batch[source]]
        return way - image * (way / side[self.batch[source]]).round()

    def mean(self, field: Tensor) -> Tensor:
        values = field.flatten(1).mean(1)
        weights, total = self._measures(values)
        return values.new_zeros(self.samples).index_add(0, self.batch, weights * values) / total

    def weights(self, field: Tensor) -> Tensor:
        weights, total = self._measures(field)
        each = weights / total[self.batch] / math.prod(field.shape[1:])
        return each.reshape(-1, *[1] * (field.dim() - 1)).expand_as(field)

    def _measures(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The measure of each node, ``(N,)``, and of each sample, ``(samples,)``."""
        each = like.new_ones(like.shape[0]) if self.measure is None else self.measure.to(like.dtype)
        total = each.new_zeros(self.samples).index_add(0, self.batch, each)
        return each, total.clamp(min=torch.finfo(like.dtype).tiny)

    def spread(self, values: Tensor, field: Tensor) -> Tensor:
        return values[self.batch].reshape(-1, *[1] * (field.dim() - 1))

    def gram(self, fields: Sequence[Tensor]) -> Tensor:
        of_nodes = super().gram(fields)
        return of_nodes.new_zeros(self.samples, *of_nodes.shape[1:]).index_add(0, self.batch, of_nodes)

    def largest(self, field: Tensor) -> Tensor:
        values = field.abs().flatten(1).amax(1)
        return values.new_zeros(self.samples).scatter_reduce(0, self.batch, values, "amax")

    def places(self, field: Tensor) -> Tensor:
        # The index follows the order of nodes within a sample, for any order of samples in the batch.
        order = torch.argsort(self.batch, stable=True)
        counts = self.batch.bincount(minlength=self.samples)
        rank = torch.empty_like(order)
        everyone = torch.arange(len(order), device=order.device)
        rank[order] = everyone - (counts.cumsum(0) - counts)[self.batch[order]]
        width = math.prod(field.shape[1:])
        inside = torch.arange(width, device=field.device).reshape(1, *field.shape[1:])
        return rank.reshape(-1, *[1] * (field.dim() - 1)) * width + inside

    def take(self, field: Tensor, keep: Tensor) -> Tensor:
        return field.index_select(0, self._rows(keep))

    def put(self, field: Tensor, keep: Tensor, values: Tensor) -> Tensor:
        return field.index_copy(0, self._rows(keep), values)

    def unweighted(self) -> GraphDomain:
        other = copy.copy(self)
        other.measure = other._given_measure = self.batch.new_ones(len(self.batch), dtype=torch.float64)
        return other

    def masked(self, mask: Tensor) -> GraphDomain:
        measure = torch.ones(mask.shape[0], device=mask.device) if self.measure is None else self.measure
        other = copy.copy(self)
        other.measure = other._given_measure = torch.where(mask[:, 0], measure, 0)
        return other

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
            None if self.cells is None else _between(self.cells, kept),
            None if self.period is None else self.period[keep],
        )

    def repeated(self, copies: int) -> Self:
        """The graphs ``copies`` times, one batch after the other."""
        nodes = len(self.batch)

        def again(rows: Tensor | None) -> Tensor | None:
            return None if rows is None else torch.cat([rows] * copies)

        def counted_on(numbers: Tensor, size: int) -> Tensor:
            return torch.cat([numbers + copy * size for copy in range(copies)], -1)

        edges = self._edges
        if edges is not None:
            edges = Edges(counted_on(edges.index, nodes), again(edges.attr), again(edges.weight))
        return type(self)(
            counted_on(self.batch, self.samples),
            copies * self.samples,
            again(self.pos),
            again(self.measure),
            edges,
            None if self.cells is None else counted_on(self.cells, nodes),
            again(self.period),
        )

    def _rows(self, keep: Tensor) -> Tensor:
        return self._kept(keep).nonzero()[:, 0]

    def _kept(self, keep: Tensor) -> Tensor:
        """The nodes of the samples ``keep``, as a mask."""
        samples = torch.zeros(self.samples, dtype=torch.bool, device=keep.device)
        samples[keep] = True
        return samples[self.batch]


def reads_edge_attr(network: nn.Module) -> bool:
    """Whether a network of PyTorch Geometric accepts edge attributes.

    Its convolutions read them if they were built with ``edge_dim``; some fail on them otherwise.
    """
    widths = [part.edge_dim for part in network.modules() if hasattr(part, "edge_dim")]
    return not widths or any(width is not None for width in widths)


def _between(nodes: Tensor, kept: Tensor) -> Tensor:
    """The columns whose nodes are all in a mask ``(N,)``, with those nodes renumbered from 0."""
    renamed = kept.cumsum(0) - 1
    return renamed[nodes[:, kept[nodes].all(0)]]


def domain_of(field: Tensor, known: Mapping[str, Any]) -> Domain:
    """The domain of a field: `GridDomain` for ``(B, C, *S)``, `GraphDomain` for ``(N, C)``.

    It is a `SphereDomain` if the sample has an entry ``sphere``.

    Args:
        field: the field.
        known: the other entries of the sample by name; see `GraphDomain.of` and `grid_domain`.

    Example:
        >>> domain_of(torch.zeros(3, 1), {"batch": torch.tensor([0, 0, 1])}).samples
        2
    """
    return grid_domain(field, known) if field.dim() > 2 else GraphDomain.of(field, known)
