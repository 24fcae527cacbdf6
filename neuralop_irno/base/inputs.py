"""The input fields of a call: the first one, and all that the signature of a base requires."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.base.call import BaseCall
from neuralop_irno.base.checks import check_finite, graph_among
from neuralop_irno.base.operator import BaseOperator
from neuralop_irno.base.pyg import collated
from neuralop_irno.base.signatures import bound_to, signature_of
from neuralop_irno.base.sizes import ModelSpec
from neuralop_irno.domain.tuples import TupleDomain
from neuralop_irno.errors import expected


def arguments_of(base: BaseOperator, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of a call by name, and those of a graph in it by the names of its attributes."""
    graph = graph_among(collated(tuple(args)), kwargs)
    if graph is not None:
        return {**graph.to_dict(), **kwargs}
    return {**kwargs, **bound_to(signature_of(base.module), args, base.accepted(kwargs))}


def all_inputs(
    call: BaseCall,
    base: BaseOperator,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    named: Collection[str] = (),
    periodic: Sequence[bool] | None = None,
    any_grid: bool = False,
) -> Tensor:
    """x and the other required fields of the base that are laid out like it, on the grid of h.

    Args:
        call: of the base.
        base: on grids.
        args: positional arguments of the call.
        kwargs: keyword arguments of the call.
        named: arguments that are read in another way.
        periodic: which axes are periodic, used where fields have to be interpolated.
        any_grid: also the fields on other grids than that of x.
    """
    first, values = base.input_of(args, kwargs), arguments_of(base, args, kwargs)
    parts, layout = [call.x], base.layout.x
    for name, parameter in signature_of(base.module).parameters.items():
        value = values.get(name)
        optional = parameter.default is not parameter.empty
        if optional or name in named or value is first or not isinstance(value, Tensor):
            continue
        if value.dim() == first.dim():
            field, other = layout.fold(value), layout.fold(first)
            if len(field) == len(other) and (any_grid or field.shape[2:] == other.shape[2:]):
                check_finite(value, name)
                parts.append(on_grid_of(call, base, field, periodic).to(call.start.dtype))
    return torch.cat(parts, 1) if len(parts) > 1 else parts[0]


def on_grid_of(call: BaseCall, base: BaseOperator, field: Tensor, periodic: Sequence[bool] | None) -> Tensor:
    """The field interpolated to the grid of h, if its own differs."""
    shape = call.start.shape[2:]
    return field if field.shape[2:] == shape else base.interpolated(field, shape, periodic)


def check_channels(call: BaseCall, sizes: ModelSpec, dim: int | None = None) -> None:
    """Raise ValueError if x or the answer has other channels than those that the refiner was built for."""
    if isinstance(call.domain, TupleDomain):
        return  # each field has channels of its own
    for name, what, field in (("in_channels", "x", call.x), ("out_channels", "h", call.start)):
        built, found = getattr(sizes, name), field.shape[1]
        if built not in (None, found):
            on_grid = field.dim() > 2
            axes = "n" * ((sizes.dim or dim or field.dim() - 2) if on_grid else 0)
            shape = ", ".join(["B" if on_grid else "N", str(built), *axes])
            hint = f"{name}={found}, or layout= or irno.PointOperator if these are no channels"
            raise ValueError(expected(f"{what} of shape ({shape})", tuple(field.shape), hint))
