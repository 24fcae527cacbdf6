r"""Restriction R and prolongation P between the fine and the coarse nodes of a batch, with R P = 1.

==========  ===========================================  ================================================
name        R                                            P
==========  ===========================================  ================================================
points      the values at the coarse nodes               interpolation I from the coarse nodes around
means       means over what belongs to a coarse node,    I + E (1 - R I), where E gives each fine node
            weighted by measure                          the value of the coarse one that it belongs to
==========  ===========================================  ================================================
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.domain.coarsening import Coarsening, coarsen, every_node
from neuralop_irno.domain.graph import Edges, GraphDomain
from neuralop_irno.domain.spacing import Index, PointSet, digest_of, edges_of_samples, point_sets, rows_of
from neuralop_irno.errors import expected
from neuralop_irno.recently_used import RecentlyUsed

_KNOWN = RecentlyUsed[Coarsening](500_000)
"""Coarsenings by coordinates, edges and spacing, up to a number of fine nodes in total."""


@dataclass(frozen=True, eq=False)
class NodeMaps:
    """R and P of a batch.

    Attributes:
        coarsenings: of each sample.
        nodes: the rows of the coarse nodes in the fine domain, ``(n,)``.
        owner: the coarse row that each fine one belongs to, ``(N,)``.
        near: the coarse rows from which each fine one is interpolated, ``(N, k)``.
        weight: their weights, ``(N, k)``.
        share: the part of each fine node in the mean of its coarse one, ``(N,)``; None for ``points``.
    """

    coarsenings: Sequence[Coarsening]
    nodes: Tensor
    owner: Tensor
    near: Tensor
    weight: Tensor
    share: Tensor | None

    @classmethod
    def of(cls, coarsenings: Sequence[Coarsening], domain: GraphDomain, pair: str) -> NodeMaps:
        """The maps of a batch, from those of its samples."""
        device = domain.batch.device
        rows = torch.cat(rows_of(domain.batch, domain.samples))
        fine = _starts([len(each.owner) for each in coarsenings])
        coarse = _starts([len(each.nodes) for each in coarsenings])

        def joined(name: str, starts: Sequence[int]) -> Tensor:
            parts = [getattr(each, name) + start for each, start in zip(coarsenings, starts, strict=True)]
            return torch.from_numpy(np.concatenate(parts)).to(device)

        def in_rows(values: Tensor) -> Tensor:
            return torch.empty_like(values).index_copy_(0, rows, values)

        owner, near = in_rows(joined("owner", coarse)), in_rows(joined("near", coarse))
        weight = in_rows(joined("weight", [0] * len(coarsenings)))
        nodes = rows[joined("nodes", fine)]
        share = _shares(domain, owner, len(nodes)) if pair == "means" else None
        return cls(coarsenings, nodes, owner, near, weight, share)

    def restrict(self, field: Tensor) -> Tensor:
        """From the fine nodes, ``(N, C)``, to the coarse ones, ``(n, C)``."""
        if self.share is None:
            return field.index_select(0, self.nodes)
        parts = field * self.share.to(field.dtype)[:, None]
        return field.new_zeros(len(self.nodes), field.shape[1]).index_add(0, self.owner, parts)

    def prolong(self, field: Tensor) -> Tensor:
        """From the coarse nodes to the fine ones."""
        fine = torch.einsum("nk,nkc->nc", self.weight.to(field.dtype), field[self.near])
        return fine if self.share is None else fine + (field - self.restrict(fine))[self.owner]

    def select(self, keep: Tensor, domain: GraphDomain) -> NodeMaps:
        """The maps of the samples ``keep`` only, which ``domain`` holds."""
        pair = "points" if self.share is None else "means"
        return NodeMaps.of([self.coarsenings[sample] for sample in keep.tolist()], domain, pair)

    def coarse_domain(self, domain: GraphDomain, read: Collection[str] = ()) -> GraphDomain:
        """The domain of the coarse nodes, with measure :math:`P^T m`.

        Args:
            domain: the fine domain.
            read: those of ``edge_attr`` and ``edge_weight`` that are needed; they have to be geometric.
        """
        measure = None
        if domain.measure is not None:
            parts = domain.measure[:, None] * self.weight.to(domain.measure.dtype)
            measure = parts.new_zeros(len(self.nodes)).index_add(0, self.near.flatten(), parts.flatten())
            measure = measure.clamp(min=0)  # weights beyond a boundary can be below 0
        batch, pos = domain.batch[self.nodes], None if domain.pos is None else domain.pos[self.nodes]
        edges = self._edges()
        if edges is not None and pos is not None:
            bare = GraphDomain(batch, domain.samples, pos, edges=edges, period=domain.period)
            edges = Edges(edges.index, **geometric_attributes(domain, bare, read))
        return GraphDomain(batch, domain.samples, pos, measure, edges, period=domain.period)

    def _edges(self) -> Edges | None:
        starts = _starts([len(each.nodes) for each in self.coarsenings])
        parts = [
            each.edges + start
            for each, start in zip(self.coarsenings, starts, strict=True)
            if each.edges is not None
        ]
        if not parts:
            return None
        return Edges(torch.from_numpy(np.concatenate(parts, 1)).to(self.nodes.device))


def _with_length(way: Tensor, first: bool = False) -> Tensor:
    length = way.norm(dim=1, keepdim=True)
    return torch.cat([length, way] if first else [way, length], 1)


GEOMETRIC: Sequence[Callable[[Tensor], Tensor]] = (
    lambda way: way,
    lambda way: -way,
    lambda way: _with_length(way),
    lambda way: _with_length(-way),
    lambda way: _with_length(way, first=True),
    lambda way: _with_length(-way, first=True),
    lambda way: way.norm(dim=1, keepdim=True),
)
"""Attributes that follow from the vector from source to target of an edge."""


def geometric_attributes(fine: GraphDomain, coarse: GraphDomain, read: Collection[str]) -> dict[str, Tensor]:
    """The attributes of the coarse edges, by their names in `Edges`.

    Those that follow from coordinates are computed again, and those that are equal for all edges stay so. In
    other units than those of the coordinates they are not known: these may follow from the mesh.
    """
    way, found = fine.way(), {}
    for name in ("attr", "weight"):
        given = getattr(fine.edges, name)
        if given is None:
            continue
        table = given.reshape(len(given), -1).to(way)
        forms = [form for form in GEOMETRIC if _equal(form(way), table)]
        if forms:
            made = forms[0](coarse.way()).to(given.dtype)
            found[name] = made[:, 0] if given.dim() == 1 else made
        elif len(given) and bool((given == given[0]).all()):
            found[name] = given[:1].expand(coarse.edges.index.shape[1], *given.shape[1:])
        elif f"edge_{name}" in read:
            known = f"edge_{name} as vectors or lengths of edges, to be known of longer ones on a finer mesh"
            hint = "a correction that does not read it, or a mesh with the spacing of training"
            raise ValueError(expected(known, "others", hint))
    return found


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(other, one, rtol=1e-4, atol=1e-6)


def coarsenings_of(domain: GraphDomain, wanted: Sequence[float | None]) -> list[Coarsening]:
    """The coarse nodes of each sample for the wanted spacings, remembered; None keeps all nodes.

    Example:
        >>> domain = GraphDomain.of(torch.zeros(9, 1), {"pos": torch.arange(9.0)[:, None]})
        >>> coarsenings_of(domain, [None])[0].trivial
        True
    """
    counts = domain.batch.bincount(minlength=domain.samples).tolist()
    parts = zip(point_sets(domain), counts, edges_of_samples(domain), wanted, strict=True)
    return [
        every_node(count, edges) if points is None or spacing is None else _remembered(points, spacing, edges)
        for points, count, edges, spacing in parts
    ]


def _remembered(points: PointSet, spacing: float, edges: Index | None) -> Coarsening:
    joined = b"" if edges is None else hashlib.sha256(edges.tobytes()).digest()
    key = digest_of(points), spacing, joined
    found = _KNOWN.get(key)
    if found is None:
        found = coarsen(points, spacing, edges)
        _KNOWN.put(key, found, len(points))
    return found


def _shares(domain: GraphDomain, owner: Tensor, count: int) -> Tensor:
    """The part of each node in the measure of its coarse node; equal parts where that is 0."""
    one = torch.ones(len(owner), dtype=torch.float64, device=owner.device)
    measure = one if domain.measure is None else domain.measure.double()
    total = one.new_zeros(count).index_add(0, owner, measure)
    measure = torch.where(total[owner] > 0, measure, one)
    return measure / one.new_zeros(count).index_add(0, owner, measure)[owner]


def _starts(counts: Sequence[int]) -> list[int]:
    return [0, *accumulate(counts)][:-1]
