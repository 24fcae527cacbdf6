"""Bases in units of their own: the module gets scaled fields, its adapter those of the data.

The conversion is around the adapter's call, so that one with units is refined, checked and scored like any
other, and nothing else depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.base.layout import Axes
from neuralop_irno.base.operator import BaseOperator
from neuralop_irno.base.points import PointOperator
from neuralop_irno.base.pyg import GraphOperator, OnGridOrGraph, collated
from neuralop_irno.base.substitution import with_tensors
from neuralop_irno.base.tuples import TupleOperator, refuse_tuple
from neuralop_irno.base.units import Units, check_units
from neuralop_irno.errors import expected
from neuralop_irno.precision import at_least_float32, lowered


def agreed_units(given: Units | Mapping[str, Any] | None, base: BaseOperator) -> Units | None:
    """The units of a refiner: the given ones, which its base takes if they are for it too, or the base's own.

    Args:
        given: the option of the refiner.
        base: the adapter of its base, which may have units already.

    Raises:
        ValueError: the base has other units, or several fields in its answer.
    """
    units = Units.of(given)
    if units is not None:
        refuse_tuple(base, "a model with units")
    own = base.units
    if own is None and units is not None and units.base:
        take_units(base, units)
    elif own is None and units is not None:
        base.converted = as_precise_as_x
    if own is None or units is None:
        return units or own
    if (units.x, units.y) != (own.x, own.y):
        hint = "units=None, which takes those of the base"
        raise ValueError(expected(f"a base in the units of the model, {units}", f"one in {own}", hint))
    return own


def take_units(base: BaseOperator, units: Units) -> None:
    """State the units in which the module of an adapter works; it is then called and answers in others.

    Example:
        >>> import torch
        >>> from neuralop_irno.data.scaling import Scaling
        >>> base = BaseOperator(lambda x: 2 * x)
        >>> take_units(base, Units(Scaling((1.0,), (2.0,)), Scaling((0.0,), (10.0,)), base=True))
        >>> base(torch.full((1, 1, 4), 5.0))  # 10 * 2 * (5 - 1) / 2
        tensor([[[40., 40., 40., 40.]]])
    """
    if isinstance(base, TupleOperator) or base.units is not None:
        got = "several fields" if base.units is None else "a base with units"
        raise ValueError(expected("a base of one field without units", got, "units of the model alone"))
    base.units, base.converted = units, converted_call


def converted_call(
    base: BaseOperator, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """The answer of an adapter with units, from that of its module to scaled fields."""
    assert base.units is not None
    units, base, args = base.units, _as_called(base, args, kwargs), collated(args)
    given = _inputs(base, args, kwargs)
    scalings = [units.x]
    if len(given) > 1:
        scalings = units.x.split([_folded(base, part, base.layout.x).shape[1] for part in given])
    changes = []
    for tensor, scaling in zip(given, scalings, strict=True):
        check_units(scaling, _folded(base, tensor, base.layout.x), "x", base.ON_GRID)
        changes.append((tensor, _mapped(base, tensor, base.layout.x, scaling.apply)))
    positional, named = lowered(*with_tensors(args, kwargs, changes), base.module)
    answer = call(*positional, **named)
    field, whole = base.split(answer)
    check_units(units.y, _folded(base, field, base.layout.answer), "the answer", base.ON_GRID)
    # In half precision a field far from zero would lose its digits, and in single precision those of data in
    # double precision.
    field = at_least_float32(field)
    field = field.double() if any(part.dtype == torch.float64 for part in given) else field
    field = _mapped(base, field, base.layout.answer, units.y.undo)
    return field if whole is None else whole(field)


def as_precise_as_x(
    base: BaseOperator, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """The answer of an adapter without units, in double precision if fields of the call had to be lowered."""
    args = collated(args)
    given, named = lowered(args, kwargs, base.module)
    answer = call(*given, **named)
    pairs = zip((*args, *kwargs.values()), (*given, *named.values()), strict=True)
    if all(one is other for one, other in pairs):
        return answer
    field, whole = base.split(answer)
    return field.double() if whole is None else whole(field.double())


def _as_called(base: BaseOperator, args: Sequence[Any], kwargs: Mapping[str, Any]) -> BaseOperator:
    """The adapter, or that for graphs of one for grids and graphs."""
    if isinstance(base, OnGridOrGraph) and base._on_graph(args, kwargs):
        return base._as_graph_operator()
    return base


def _inputs(base: BaseOperator, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """The tensors of a call that hold its input fields."""
    wanted, hint = "input fields apart from the coordinates, for a base with units", "units of Phi alone"
    if isinstance(base, PointOperator):
        graph = base._graph(args, kwargs)
        found = base._found(args, kwargs) if graph is None else graph
        alone = graph is not None and len(base.fields) == 1 and graph.get("x") is not None
        if base.pos in base.fields:
            raise ValueError(expected(wanted, f"the field {base.pos!r}", hint))
        return [base._tensor(found, name) for name in (("x",) if alone else base.fields)]
    if isinstance(base, GraphOperator):
        x = base._found(args, kwargs).get("x")
        if not isinstance(x, Tensor):
            raise ValueError(expected(wanted, "a graph without x", hint))
        return [x]
    return [base.input_of(args, kwargs)]


def _folded(base: BaseOperator, tensor: Tensor, axes: Axes) -> Tensor:
    """The field of a tensor, with channels on the second axis."""
    if isinstance(base, PointOperator):
        return tensor.reshape(-1, tensor.shape[-1] if tensor.dim() > 1 else 1)
    return tensor.reshape(len(tensor), -1) if isinstance(base, GraphOperator) else axes.fold(tensor)


def _mapped(base: BaseOperator, tensor: Tensor, axes: Axes, change: Callable[[Tensor], Tensor]) -> Tensor:
    """A tensor with its field changed."""
    field = change(_folded(base, tensor, axes))
    on_nodes = isinstance(base, GraphOperator)
    return field.reshape(tensor.shape) if on_nodes else axes.unfold(field, axes.frames(tensor))
