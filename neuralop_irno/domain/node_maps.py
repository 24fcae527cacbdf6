r"""Restriction R and prolongation P between the fine and the coarse nodes of a batch.

==========  ===========================================  ================================================
name        R                                            P
==========  ===========================================  ================================================
points      the values at the coarse nodes               interpolation I from the coarse nodes around
means       means over what belongs to a coarse node,    I + E (1 - R I), where E gives each fine node
            weighted by measure                          the value of the coarse one that it belongs to
cosets      the values at the nodes of several coarse    the value of the set that holds a node, or the
            sets, which together hold every node         mean of those that do
==========  ===========================================  ================================================

R P = 1, with cosets if no node is in two sets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.domain.coarsening import Coarsening, coarsen, cosets, every_node
from neuralop_irno.domain.graph import Edges, GraphDomain
from neuralop_irno.domain.spacing import Index, PointSet, digest_of, point_sets, rows_of
from neuralop_irno.errors import expected
from neuralop_irno.recently_used import RecentlyUsed

_KNOWN = RecentlyUsed[Sequence[Coarsening]](500_000)
"""Coarse sets by coordinates, edges and spacing, up to a number of fine nodes in total."""


@dataclass(frozen=True, eq=False)
class NodeMaps:
    """R and P of a batch.

    Attributes:
        pair: ``points``, ``means`` or ``cosets``.
        sets: the coarse sets of each sample: one, or its cosets.
        sample: the sample of each coarse set, ``(M,)``.
        member: the coarse set of each coarse row, ``(n,)``.
        nodes: the rows of the coarse nodes in the fine domain, ``(n,)``.
        owner: the coarse row that each fine one belongs to, ``(N,)``.
        near: the coarse rows from which each fine one is interpolated, ``(N, k)``.
        weight: their weights, ``(N, k)``.
        share: the part of each fine node in the mean of its coarse one, ``(N,)``; for ``means`` only.
    """

    pair: str
    sets: Sequence[Sequence[Coarsening]]
    sample: Tensor
    member: Tensor
    nodes: Tensor
    owner: Tensor
    near: Tensor
    weight: Tensor
    share: Tensor | None

    @classmethod
    def of(cls, sets: Sequence[Sequence[Coarsening]], domain: GraphDomain, pair: str) -> NodeMaps:
        """The maps of a batch, from the coarse sets of its samples."""
        device = domain.batch.device
        rows = torch.cat(rows_of(domain.batch, domain.samples))
        each = [(number, one) for number, own in enumerate(sets) for one in own]
        fine = _starts([len(own[0].owner) for own in sets])
        coarse = _starts([len(one.nodes) for _, one in each])

        def on_device(parts: Sequence[Any]) -> Tensor:
            return torch.from_numpy(np.concatenate(parts)).to(device)

        def in_rows(values: Tensor) -> Tensor:
            return torch.empty_like(values).index_copy_(0, rows, values)

        places = on_device([one.nodes + fine[number] for number, one in each])
        if pair == "cosets":
            near, weight = _holders(places, len(rows))
            owner = near[:, 0]
        else:
            owner, near = (
                on_device([getattr(one, name) + start for (_, one), start in zip(each, coarse, strict=True)])
                for name in ("owner", "near")
            )
            weight = on_device([one.weight for _, one in each])
        owner, near, weight = map(in_rows, (owner, near, weight))
        sample = torch.tensor([number for number, _ in each], device=device)
        member = torch.arange(len(each), device=device).repeat_interleave(
            torch.tensor([len(one.nodes) for _, one in each], device=device)
        )
        share = _shares(domain, owner, len(places)) if pair == "means" else None
        return cls(pair, sets, sample, member, rows[places], owner, near, weight, share)

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
        return NodeMaps.of([self.sets[sample] for sample in keep.tolist()], domain, self.pair)

    def coarse_domain(self, domain: GraphDomain, read: Collection[str] = ()) -> GraphDomain:
        """The domain of the coarse nodes, a graph for each coarse set, with measure :math:`P^T m`.

        Args:
            domain: the fine domain.
            read: those of ``edge_attr`` and ``edge_weight`` that are needed; they have to be geometric.
        """
        measure = None
        if domain.measure is not None:
            parts = domain.measure[:, None] * self.weight.to(domain.measure.dtype)
            measure = parts.new_zeros(len(self.nodes)).index_add(0, self.near.flatten(), parts.flatten())
            measure = measure.clamp(min=0)  # weights beyond a boundary can be below 0
        pos = None if domain.pos is None else domain.pos[self.nodes]
        period = None if domain.period is None else domain.period[self.sample]
        edges = self._edges()
        if edges is not None and pos is not None:
            bare = GraphDomain(self.member, len(self.sample), pos, edges=edges, period=period)
            edges = Edges(edges.index, **_attributes(domain, bare, read))
        return GraphDomain(self.member, len(self.sample), pos, measure, edges, period=period)

    def _edges(self) -> Edges | None:
        each = [one for own in self.sets for one in own]
        starts = _starts([len(one.nodes) for one in each])
        parts = [one.edges + start for one, start in zip(each, starts, strict=True) if one.edges is not None]
        if not parts:
            return None
        return Edges(torch.from_numpy(np.concatenate(parts, 1)).to(self.nodes.device))


def _holders(places: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The coarse rows that each fine node is in, ``(N, k)``, and their weights, which are equal.

    Args:
        places: the fine node of each coarse row, ``(n,)``.
        count: N.
    """
    times = places.bincount(minlength=count)
    order = places.argsort(stable=True)
    rank = torch.arange(len(places), device=places.device) - (times.cumsum(0) - times)[places[order]]
    near = order.new_zeros(count, int(times.max()))
    weight = torch.zeros(near.shape, dtype=torch.float64, device=places.device)
    near[places[order], rank] = order
    weight[places[order], rank] = 1 / times[places[order]].double()
    return near, weight


GEOMETRIC: Sequence[Callable[[Tensor], Tensor]] = (
    lambda way: way,
    lambda way: -way,
    lambda way: torch.cat([way, way.norm(dim=1, keepdim=True)], 1),
    lambda way: torch.cat([-way, way.norm(dim=1, keepdim=True)], 1),
    lambda way: way.norm(dim=1, keepdim=True),
)
"""Attributes that follow from the vector from source to target of an edge."""


def _attributes(fine: GraphDomain, coarse: GraphDomain, read: Collection[str]) -> dict[str, Tensor]:
    """The attributes of the coarse edges, by their names in `Edges`, where they follow from coordinates."""
    way, found = fine.way(), {}
    for name in ("attr", "weight"):
        given = getattr(fine.edges, name)
        if given is None:
            continue
        table = given.reshape(len(given), -1).to(way)
        for form in GEOMETRIC:
            wanted = form(way)
            if wanted.shape == table.shape and torch.allclose(table, wanted, rtol=1e-4, atol=1e-6):
                made = form(coarse.way()).to(given.dtype)
                found[name] = made[:, 0] if given.dim() == 1 else made
                break
        else:
            if f"edge_{name}" in read:
                known = f"edge_{name} as vectors or lengths of edges, to be evaluated on coarser nodes"
                hint = "a correction that does not read it, or a mesh with the spacing of training"
                raise ValueError(expected(known, "others", hint))
    return found


def coarse_sets(
    domain: GraphDomain, wanted: Sequence[float | None], pair: str = "points"
) -> list[Sequence[Coarsening]]:
    """The coarse sets of each sample with the wanted spacings, remembered; None keeps all nodes.

    Example:
        >>> domain = GraphDomain.of(torch.zeros(9, 1), {"pos": torch.arange(9.0)[:, None]})
        >>> coarse_sets(domain, [None])[0][0].trivial
        True
    """
    counts = domain.batch.bincount(minlength=domain.samples).tolist()
    parts = zip(point_sets(domain), counts, _edges_of(domain), wanted, strict=True)
    return [
        [every_node(count, edges)]
        if points is None or spacing is None
        else _remembered(points, spacing, edges, pair == "cosets")
        for points, count, edges, spacing in parts
    ]


def _remembered(
    points: PointSet, spacing: float, edges: Index | None, all_nodes: bool
) -> Sequence[Coarsening]:
    joined = b"" if edges is None else hashlib.sha256(edges.tobytes()).digest()
    key = digest_of(points), spacing, joined, all_nodes
    found = _KNOWN.get(key)
    if found is None:
        found = cosets(points, spacing, edges) if all_nodes else [coarsen(points, spacing, edges)]
        _KNOWN.put(key, found, len(points) * len(found))
    return found


def _edges_of(domain: GraphDomain) -> list[Index | None]:
    """The edges of each sample, between its nodes counted from 0; None if there are none."""
    if not domain.has_edges:
        return [None] * domain.samples
    batch, index = domain.batch.cpu(), domain.edges.index.cpu()
    rows = rows_of(batch, domain.samples)
    number = torch.empty_like(batch)
    for part in rows:
        number[part] = torch.arange(len(part))
    of_sample = rows_of(batch[index[0]], domain.samples)
    return [number[index[:, part]].numpy() for part in of_sample]


def _shares(domain: GraphDomain, owner: Tensor, count: int) -> Tensor:
    """The part of each node in the measure of its coarse node; equal parts where that is 0."""
    one = torch.ones(len(owner), dtype=torch.float64, device=owner.device)
    measure = one if domain.measure is None else domain.measure.double()
    total = one.new_zeros(count).index_add(0, owner, measure)
    measure = torch.where(total[owner] > 0, measure, one)
    return measure / one.new_zeros(count).index_add(0, owner, measure)[owner]


def _starts(counts: Sequence[int]) -> list[int]:
    return [0, *accumulate(counts)][:-1]
