"""Corrections on meshes finer than those of training.

Those along edges are evaluated on every node, with edges of the length of training; others, and those with
``detail: base`` or a ``pair``, on coarse nodes: h -> P Phi(R x, R h).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from neuralop_irno import draws
from neuralop_irno.correction.correction import BoundCorrection, Correction, masked
from neuralop_irno.correction.graph import GraphCorrection
from neuralop_irno.domain.condition import Condition
from neuralop_irno.domain.graph import Edges, GraphDomain
from neuralop_irno.domain.neighbourhoods import with_neighbourhoods
from neuralop_irno.domain.node_maps import NodeMaps, coarsenings_of, geometric_attributes
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.domain.spacing import spacings
from neuralop_irno.errors import expected

DRAWS = 4
"""Choices of edges of the trained length over which the update is averaged."""


def bind_on_nodes(
    resolution: Resolution,
    correction: Correction,
    x: Tensor,
    domain: GraphDomain,
    physics: BoundCorrection | None,
    condition: Condition,
) -> BoundCorrection:
    """h -> Phi(x, h) on graphs, with edges of the trained length or on coarse nodes of finer meshes."""
    wanted = wanted_spacings(resolution, domain)
    if not any(wanted):
        if resolution.redrawn and correction.training:
            domain = _redrawn(resolution.redrawn, correction, domain)
        return correction.bind(x, domain, physics, condition)
    along = domain.has_edges and along_edges(correction)
    if resolution.detail == "cosets" and not along:
        hint = "detail='base', or an option spacing of the correction"
        raise ValueError(expected("a correction along edges for detail 'cosets'", "another", hint))
    if along and resolution.detail != "base" and resolution.pair is None:
        draws = [dilated(domain, wanted, reads(correction), draw) for draw in range(DRAWS)]
        parts = [correction.bind(x, nodes, physics, condition) for nodes in draws]
        return MeanOfUpdates(parts, domain)
    maps = NodeMaps.of(coarsenings_of(domain, wanted), domain, resolution.node_pair)
    coarse = maps.coarse_domain(domain, reads(correction))
    x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
    inner = correction.bind(maps.restrict(x), coarse, None, condition.carried(maps.restrict))
    return masked(OnCoarseNodes(inner, maps, domain, physics), condition.mask)


def wanted_spacings(resolution: Resolution, domain: GraphDomain) -> list[float | None]:
    """The spacing of the edges or nodes that Phi sees, for each sample; None for those that are given."""
    known = resolution.spacing is not None and resolution.extent != "grows"
    return [resolution.coarser(spacing) for spacing in spacings(domain)] if known else []


def sees_other_nodes(resolution: Resolution, correction: Correction, domain: GraphDomain) -> bool:
    """Whether Phi is evaluated with other edges or nodes than those of a mesh."""
    return not correction.resolution_free and any(wanted_spacings(resolution, domain))


def _redrawn(share: float, correction: Correction, domain: GraphDomain) -> GraphDomain:
    """The meshes, for this share of the calls with edges drawn anew."""
    if domain.pos is None or not (domain.has_edges and along_edges(correction)):
        wanted = "a mesh with coordinates and a correction along its edges, to redraw these"
        raise ValueError(expected(wanted, "another", "resolution={'redrawn': 0}"))
    if draws.share() >= share:
        return domain
    return dilated(domain, spacings(domain), reads(correction), draws.integer(0, DRAWS))


def dilated(
    domain: GraphDomain, wanted: Sequence[float | None], read: Collection[str], draw: int
) -> GraphDomain:
    """The same nodes, with edges as long as on a mesh of the wanted mean spacing; None: as they are."""
    lengths = [
        None if spacing is None or own is None else mean * spacing / own
        for spacing, own, mean in zip(wanted, spacings(domain), _mean_lengths(domain), strict=True)
    ]
    bare = with_neighbourhoods(domain, lengths, draw)
    return bare.with_edges(Edges(bare.edges.index, **geometric_attributes(domain, bare, read)))


def _mean_lengths(domain: GraphDomain) -> list[float]:
    """The mean length of the edges of each sample, but for those of length 0."""
    # On accelerators the order of a sum changes, and with its last bits the choice of edges.
    length = domain.way().norm(dim=1).double().cpu()
    sample = domain.batch[domain.edges.index[0]].cpu()[length > 0]
    total = length.new_zeros(domain.samples).index_add(0, sample, length[length > 0])
    mean: list[float] = (total / sample.bincount(minlength=domain.samples).clamp(min=1)).tolist()
    return mean


class MeanOfUpdates(BoundCorrection):
    """The mean of several updates of the same nodes."""

    def __init__(self, parts: Sequence[BoundCorrection], domain: GraphDomain) -> None:
        self._parts, self._nodes = parts, domain
        self.domain, self.physics = domain, parts[0].physics

    def __call__(self, h: Tensor, taken: Tensor | None = None) -> Tensor:
        return torch.stack([part(h, taken) for part in self._parts]).mean(0)

    def select(self, keep: Tensor) -> MeanOfUpdates:
        return MeanOfUpdates([part.select(keep) for part in self._parts], self._nodes.select(keep))


class OnCoarseNodes(BoundCorrection):
    """h -> P Phi(R x, R h) on a batch of meshes."""

    def __init__(
        self, inner: BoundCorrection, maps: NodeMaps, domain: GraphDomain, physics: BoundCorrection | None
    ) -> None:
        self._inner, self._maps, self._nodes, self.physics = inner, maps, domain, physics
        self.domain = domain

    def __call__(self, h: Tensor, taken: Tensor | None = None) -> Tensor:
        return self._maps.prolong(self._inner(self._maps.restrict(h), taken))

    def select(self, keep: Tensor) -> OnCoarseNodes:
        domain = self._nodes.select(keep)
        physics = self.physics.select(keep) if self.physics else None
        return OnCoarseNodes(self._inner.select(keep), self._maps.select(keep, domain), domain, physics)


def reads(correction: Correction) -> set[str]:
    """Which of ``edge_attr`` and ``edge_weight`` a correction reads."""
    return {name for part in _on_graphs(correction) for name in part.reads}


def along_edges(correction: Correction) -> bool:
    """Whether a correction depends on the nodes by edges alone."""
    parts = _on_graphs(correction)
    return bool(parts) and all(part.along_edges for part in parts)


def _on_graphs(correction: Correction) -> list[GraphCorrection]:
    return [part for part in correction.modules() if isinstance(part, GraphCorrection)]
