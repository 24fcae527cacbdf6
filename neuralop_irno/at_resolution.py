"""A call of a refiner at the resolution of its training, for one field and for tuples of several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from neuralop_irno.base.call import BaseCall
from neuralop_irno.base.conditions import brought_up
from neuralop_irno.base.operator import BaseOperator
from neuralop_irno.base.sizes import sphere_of
from neuralop_irno.base.tuples import TupleCall
from neuralop_irno.correction.correction import BoundCorrection, Correction
from neuralop_irno.correction.resampled import bind_at, lift, remembered
from neuralop_irno.correction.tuples import TupleCorrection
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.domain.sphere import SphereDomain, on_sphere
from neuralop_irno.domain.tuples import TupleDomain
from neuralop_irno.errors import expected
from neuralop_irno.registry import plain


def resolution_of(given: Resolution | Mapping[str, Any] | None, base: BaseOperator) -> Resolution:
    """The resolution from the option of a refiner; the grid on the sphere is by default that of the base."""
    known = Resolution.of(plain(given))
    return known.completed(Resolution(sphere=sphere_of(base.module)))


def in_box(call: BaseCall, resolution: Resolution) -> BaseCall:
    """A call on a grid of known box or sphere: that of training, unless the call gives its own."""
    if isinstance(call, TupleCall):
        each = resolution.each(len(call.calls))
        return call.with_calls([in_box(*pair) for pair in zip(call.calls, each, strict=True)])
    domain = call.domain
    if not isinstance(domain, GridDomain):
        return call
    if domain.lengths is None and not isinstance(domain, SphereDomain):
        domain = domain.with_lengths(resolution.box(domain.shape))
    return replace(call, domain=on_sphere(domain, resolution.sphere))


def brought_to(call: BaseCall, resolution: Resolution, correction: Correction) -> BaseCall:
    """A call on a grid that is nowhere coarser than that of training."""
    if isinstance(call, TupleCall) and isinstance(correction, TupleCorrection):
        pairs = zip(call.calls, resolution.each(len(call.calls)), correction.each, strict=True)
        return call.with_calls([brought_to(*each) for each in pairs])
    maps = lift(resolution, correction, call.domain)
    return call if maps is None else brought_up(call, maps)


def bound_to_call(
    call: BaseCall, resolution: Resolution, correction: Correction, physics: BoundCorrection | None
) -> BoundCorrection:
    """h -> Phi(x, h) for the x of a call, evaluated at the resolution of training."""
    if isinstance(correction, TupleCorrection):
        return correction.bind_at(resolution, call.x, call.domain, call.condition)
    if isinstance(call, TupleCall):
        wanted, got = f"a correction of {len(call.calls)} fields", type(correction).__name__
        raise TypeError(expected(wanted, got, "correction=[...] of the refiner, one for each field"))
    return bind_at(resolution, correction, call.x, call.domain, physics, call.condition)


def with_domain(resolution: Resolution, domain: Domain) -> Resolution:
    """The resolution with the grids or meshes of one more call in training."""
    if not isinstance(domain, TupleDomain):
        return remembered(resolution, domain)
    known = resolution.fields or [Resolution()] * len(domain.parts)
    fields = [remembered(*pair) for pair in zip(known, domain.parts, strict=True)]
    return replace(resolution, fields=fields)
