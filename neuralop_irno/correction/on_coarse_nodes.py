"""Corrections on meshes finer than those of training: h -> P Phi(R x, R h) between node sets."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.correction.correction import BoundCorrection, Correction, masked
from neuralop_irno.correction.graph import GraphCorrection
from neuralop_irno.domain.condition import Condition
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.node_maps import NodeMaps, coarse_sets
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.domain.spacing import spacings


def bind_on_nodes(
    resolution: Resolution,
    correction: Correction,
    x: Tensor,
    domain: GraphDomain,
    physics: BoundCorrection | None,
    condition: Condition,
) -> BoundCorrection:
    """h -> Phi(x, h) on graphs, evaluated on coarse nodes where a mesh is finer than in training."""
    if resolution.spacing is None or resolution.extent == "grows":
        return correction.bind(x, domain, physics, condition)
    wanted = [resolution.coarser(spacing) for spacing in spacings(domain)]
    if all(spacing is None for spacing in wanted):
        return correction.bind(x, domain, physics, condition)
    pair = resolution.node_pair
    maps = NodeMaps.of(coarse_sets(domain, wanted, pair), domain, pair)
    coarse = maps.coarse_domain(domain, reads(correction))
    x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
    inner = correction.bind(maps.restrict(x), coarse, None, condition.carried(maps.restrict))
    return masked(OnCoarseNodes(inner, maps, domain, physics), condition.mask)


class OnCoarseNodes(BoundCorrection):
    """h -> P Phi(R x, R h) on a batch of meshes."""

    def __init__(
        self, inner: BoundCorrection, maps: NodeMaps, domain: GraphDomain, physics: BoundCorrection | None
    ) -> None:
        self._inner, self._maps, self._nodes, self.physics = inner, maps, domain, physics
        self.domain = domain

    def __call__(self, h: Tensor, taken: Tensor | None = None) -> Tensor:
        if taken is not None:
            taken = taken[self._maps.sample]
        return self._maps.prolong(self._inner(self._maps.restrict(h), taken))

    def select(self, keep: Tensor) -> OnCoarseNodes:
        domain = self._nodes.select(keep)
        physics = self.physics.select(keep) if self.physics else None
        inner = self._inner.select((self._maps.sample == keep[:, None]).nonzero()[:, 1])
        return OnCoarseNodes(inner, self._maps.select(keep, domain), domain, physics)


def reads(correction: Correction) -> set[str]:
    """Which of ``edge_attr`` and ``edge_weight`` a correction reads."""
    parts = (part for part in correction.modules() if isinstance(part, GraphCorrection))
    return {name for part in parts for name in part.reads}
