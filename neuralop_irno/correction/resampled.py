r"""Corrections at another resolution than the one that they were trained at.

A convolution has a width in *points*: on a finer grid it sees a shorter length than in training, and a
refined answer becomes worse than the base's. So Phi is evaluated on the grid that it was trained on:

    finer      Phi_fine(x, h) = P Phi(R x, R h),  with R P = 1
    coarser    x and h_0 are brought up to the trained grid once, the answer is brought down once
    trained    Phi as it is, with the same bits

Since R P = 1, restricting the iterates on the fine grid gives the iterates of the coarse one: the gain is
that of the trained resolution. What the coarse grid cannot show stays as the base gave it.

More points in the same box (``extent: fixed``) are distinguished from the same spacing in a larger one
(``extent: grows``), on which Phi is evaluated as it is.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from neuralop_irno.correction.correction import BoundCorrection, Correction, masked
from neuralop_irno.correction.on_finer_meshes import bind_on_nodes
from neuralop_irno.domain.condition import Condition
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.resampling import Cosets, GridMaps
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.domain.spacing import spacings
from neuralop_irno.domain.sphere import SphereDomain
from neuralop_irno.domain.sphere_maps import SphereMaps
from neuralop_irno.errors import expected


def remembered(resolution: Resolution, domain: Domain) -> Resolution:
    """The resolution with the grid or the meshes of one more call in training."""
    if isinstance(domain, GraphDomain):
        return resolution.met(spacings(domain))
    return resolution.seen(domain.shape) if isinstance(domain, GridDomain) else resolution


Maps = GridMaps | SphereMaps


def lift(resolution: Resolution, correction: Correction, domain: Domain) -> Maps | None:
    """The maps from a grid to one that is nowhere coarser than that of training; None if it is so already."""
    if correction.resolution_free or not isinstance(domain, GridDomain):
        return None
    shape, known = domain.shape, _of(resolution, domain)
    common = tuple(map(max, shape, known.native(shape, domain.lengths)))
    return None if common == shape else known.maps(common, shape, correction.periodic)


def bind_at(
    resolution: Resolution,
    correction: Correction,
    x: Tensor,
    domain: Domain,
    physics: BoundCorrection | None = None,
    condition: Condition | None = None,
) -> BoundCorrection:
    """h -> Phi(x, h), evaluated at the resolution of training.

    Args:
        resolution: of the training.
        correction: Phi.
        x: the input, on a grid that is nowhere coarser than in training; see `lift`.
        domain: the domain of x and h.
        physics: the residual of the equation, evaluated on the grid of h.
        condition: what Phi is given besides, on the grid of h.
    """
    condition = condition or Condition()
    if isinstance(domain, GraphDomain) and not correction.resolution_free:
        return bind_on_nodes(resolution, correction, x, domain, physics, condition)
    if correction.resolution_free or not isinstance(domain, GridDomain):
        return correction.bind(x, domain, physics, condition)
    known = _of(resolution, domain)
    coarse = known.native(domain.shape, domain.lengths)
    if coarse == domain.shape:
        return correction.bind(x, domain, physics, condition)
    maps: Maps | Cosets
    if resolution.detail == "cosets":
        if isinstance(domain, SphereDomain):
            raise ValueError(expected("detail 'base' on a sphere", "'cosets'", "detail='base'"))
        maps = Cosets.between(domain.shape, coarse)
    else:
        maps = known.maps(domain.shape, coarse, correction.periodic)
    there = domain.with_shape(coarse).repeated(maps.copies)
    inner = correction.bind(maps.restrict(x), there, None, condition.carried(maps.restrict, maps.copies))
    return masked(Resampled(inner, maps, domain, physics), condition.mask)


def _of(resolution: Resolution, domain: GridDomain) -> Resolution:
    """The resolution with the sphere of a call."""
    return replace(resolution, sphere=domain.grid) if isinstance(domain, SphereDomain) else resolution


class Resampled(BoundCorrection):
    """h -> P Phi(R x, R h)."""

    def __init__(
        self,
        inner: BoundCorrection,
        maps: Maps | Cosets,
        domain: Domain,
        physics: BoundCorrection | None,
    ) -> None:
        self._inner, self._maps, self.domain, self.physics = inner, maps, domain, physics

    def __call__(self, h: Tensor, taken: Tensor | None = None) -> Tensor:
        if taken is not None:
            taken = taken.repeat(self._maps.copies)
        return self._maps.prolong(self._inner(self._maps.restrict(h), taken))

    def select(self, keep: Tensor) -> Resampled:
        copies = torch.arange(self._maps.copies, device=keep.device)[:, None]
        inner = self._inner.select((copies * self.domain.samples + keep).flatten())
        physics = self.physics.select(keep) if self.physics else None
        return Resampled(inner, self._maps, self.domain.select(keep), physics)
