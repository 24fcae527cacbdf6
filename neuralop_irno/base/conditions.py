"""The option ``condition`` of a refiner: the arguments of a call that Phi is given, and how they are read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.base.call import BaseCall
from neuralop_irno.base.checks import check_finite
from neuralop_irno.base.inputs import all_inputs, arguments_of, on_grid_of
from neuralop_irno.base.operator import BaseOperator
from neuralop_irno.base.signatures import signature_of, unwrapped
from neuralop_irno.domain.condition import HALF, Condition, inside_of, where_inside
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.resampling import GridMaps
from neuralop_irno.domain.sphere_maps import SphereMaps
from neuralop_irno.errors import did_you_mean, expected, shown

SCALAR, MASK = "scalar", "mask"

Kind = str | int
"""``scalar``, ``mask``, or the number of channels of a field."""


@dataclass(frozen=True)
class Conditions:
    """Which arguments of a call Phi is given.

    A *scalar* is a number, or one per sample. It scales and shifts the layers of corrections that take it,
    and is a constant channel of x for others. A *field* is a further channel of x, or several. The *mask* is
    True where h is refined; elsewhere x, h, the update and the measure are 0, and the answer is the base's.

    Attributes:
        kinds: the kind of each argument by its name.

    Shapes, in the call:
        - scalars: none, ``(1,)``, ``(samples,)`` or ``(samples, 1)``
        - fields: as x, with the stated channels; of one channel also ``(B, *S)`` or ``S``; on points and
          graphs a row for each node
        - the mask: as a field of one channel; numbers count as inside from 0.5 on

    Example:
        >>> conditions = Conditions.of(["tau", "mask"])
        >>> conditions.kinds, conditions.channels(scalars=True), conditions.channels(scalars=False)
        ({'tau': 'scalar', 'mask': 'mask'}, 2, 1)
    """

    kinds: Mapping[str, Kind]

    @classmethod
    def of(cls, given: Sequence[str] | Mapping[str, Kind] | None) -> Conditions:
        """From the option: names, which are scalars except ``mask``; or a kind for each name."""
        wanted, hint = "condition as names, or a kind for each name", "condition=('tau', 'mask')"
        if isinstance(given, Mapping):
            kinds = dict(given)
        elif given is None or (isinstance(given, Sequence) and not isinstance(given, str)):
            kinds = {name: MASK if name == MASK else SCALAR for name in given or ()}
        else:
            raise TypeError(expected(wanted, shown(given), hint))
        for name, kind in kinds.items():
            if not isinstance(name, str):
                raise TypeError(expected(wanted, shown(given), hint))
            number = isinstance(kind, int) and not isinstance(kind, bool) and kind > 0
            if not number and kind not in (SCALAR, MASK):
                wanted = f"{name!r} in condition as 'scalar', 'mask' or a number of channels"
                raise ValueError(expected(wanted, shown(kind), f"condition={{{name!r}: 'scalar'}}"))
        if list(kinds.values()).count(MASK) > 1:
            raise ValueError(expected("one mask in condition", shown(kinds), "their product"))
        return cls(kinds)

    @property
    def scalars(self) -> tuple[str, ...]:
        """The names of the scalars."""
        return tuple(name for name, kind in self.kinds.items() if kind == SCALAR)

    @property
    def fields(self) -> dict[str, int]:
        """The channels of the fields by name."""
        return {name: kind for name, kind in self.kinds.items() if isinstance(kind, int)}

    @property
    def mask(self) -> str | None:
        """The name of the mask."""
        return next((name for name, kind in self.kinds.items() if kind == MASK), None)

    def channels(self, scalars: bool) -> int:
        """The channels that are joined to x, with the scalars as channels or without."""
        return sum(self.fields.values()) + (self.mask is not None) + scalars * len(self.scalars)

    def plain(self) -> list[str] | dict[str, Kind]:
        """The option as plain data for configs."""
        same = Conditions.of(list(self.kinds)).kinds == self.kinds
        return list(self.kinds) if same else dict(self.kinds)

    def call(
        self,
        base: BaseOperator,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        start: Tensor | None = None,
        periodic: Sequence[bool] | None = None,
        channels: int | None = None,
    ) -> BaseCall:
        """A call of the base, with all of its input fields on the channels of x, and with its conditions.

        Args:
            base: its adapter.
            args: positional arguments of the call.
            kwargs: keyword arguments of the call.
            start: an answer to start from; by default the base is called.
            periodic: which axes are periodic, used where fields have to be interpolated.
            channels: of x as the refiner was built; if the first input field has as many, it is x alone.

        Raises:
            ValueError: the call does not give an argument that is named, or with another shape.
        """
        call = base.problem(args, kwargs, start, periodic, checked=self.mask is None)
        if isinstance(call.domain, GraphDomain) and not reads_edge_weight(base):
            call = replace(call, domain=call.domain.without_edge_weight())
        several = isinstance(call.domain, GridDomain) and call.x.shape[1] != channels
        if not self.kinds and not several:
            return call
        reader = _Reader(call, base, arguments_of(base, args, kwargs), periodic)
        if several:
            call = replace(call, x=all_inputs(call, base, args, kwargs, self.kinds, periodic))
        if not self.kinds:
            return call
        scalars = [reader.scalar(name) for name in self.scalars]
        mask = None if self.mask is None else reader.mask(self.mask)
        fields = [reader.field(name, count) for name, count in self.fields.items()]
        for name, field in zip(self.fields, fields, strict=True):
            check_finite(where_inside(mask, field), name)
        condition = Condition(
            torch.stack(scalars, 1) if scalars else None, torch.cat(fields, 1) if fields else None, mask
        )
        call = conditioned(call, condition)
        if mask is not None:
            check_finite(call.x, "x inside of the mask")
        if mask is not None and start is not None:
            check_finite(call.start, "start inside of the mask")
        return call


def conditioned(call: BaseCall, condition: Condition) -> BaseCall:
    """A call with conditions.

    Outside of the mask x, h and the measure are 0, and the answer is that of the base.
    """
    mask, start = condition.mask, call.start
    if mask is None:
        return replace(call, condition=condition)

    inside = inside_of(mask)
    return BaseCall(
        where_inside(mask, call.x),
        where_inside(mask, start),
        call.domain.masked(mask),
        lambda tensor: inside(call.as_field(tensor)),
        lambda refined: call.as_answer(torch.where(mask, refined, start)),
        condition,
    )


def brought_up(call: BaseCall, maps: GridMaps | SphereMaps) -> BaseCall:
    """A call on the fine grid of a pair of maps, with its conditions; see `BaseCall.brought_up`."""
    return conditioned(call.brought_up(maps), call.condition.carried(maps.prolong))


def reads_edge_weight(base: BaseOperator) -> bool:
    """Whether the weights of edges in a call reach the base; Phi gets them exactly then.

    Networks of PyTorch Geometric name them also where their convolutions ignore them.
    """
    network = unwrapped(base.module)
    names = signature_of(network).parameters
    supported = getattr(network, "supports_edge_weight", True)
    return bool(supported) and ("edge_weight" in names or "edge_index" not in names)


@dataclass(frozen=True)
class _Reader:
    """Reads the arguments of a call as fields and scalars on its domain."""

    call: BaseCall
    base: BaseOperator
    values: Mapping[str, Any]
    periodic: Sequence[bool] | None

    def scalar(self, name: str) -> Tensor:
        """A scalar of each sample, ``(samples,)``."""
        samples, numbers = self.call.domain.samples, self._numbers(name)
        shaped = numbers.dim() < 2 or (numbers.dim() == 2 and numbers.shape[1] == 1)
        if not shaped or numbers.numel() not in (1, samples):
            wanted = f"{name!r} as a number, or one for each of {samples} samples"
            hint = f"condition={{{name!r}: <number of channels>}} for a field"
            raise ValueError(expected(wanted, tuple(numbers.shape), hint))
        check_finite(numbers, name)
        return numbers.reshape(-1).expand(samples)

    def mask(self, name: str) -> Tensor:
        """The mask, True inside, ``(B, 1, *S)`` or ``(N, 1)``."""
        inside = self.field(name, 1) >= HALF
        if inside.device.type == "cpu" and not torch.compiler.is_compiling():
            empty = (self.call.domain.largest(inside.float()) == 0).nonzero()[:, 0].tolist()
            if empty:
                wanted = f"{name!r} with a point inside for every sample"
                raise ValueError(expected(wanted, f"none for samples {empty}", "leaving those samples out"))
        return inside

    def field(self, name: str, channels: int) -> Tensor:
        """A field on the domain of h, ``(B, channels, *S)`` or ``(N, channels)``."""
        field, domain = self._numbers(name), self.call.domain
        hint = f"condition={{{name!r}: <its channels>}}, or {SCALAR!r}"
        if isinstance(domain, GraphDomain):
            shape = (len(domain.batch), channels)
            rows = field.reshape(shape) if field.numel() == math.prod(shape) else self._without_padding(field)
            if not field.dim() or rows.shape != shape:
                wanted = f"{name!r} of shape {shape}, a row for each node"
                raise ValueError(expected(wanted, tuple(field.shape), hint))
            return rows
        axes, samples = self.call.x.dim() - 2, domain.samples
        whole, layout = field, self.base.layout.x
        if field.dim() == axes + len(layout.names) - len(layout.spatial):
            whole = layout.fold(field)
        elif channels == 1 and field.dim() < axes + 2 and axes <= field.dim():
            whole = field.reshape(-1, 1, *field.shape[-axes:])
        if whole.dim() != axes + 2 or whole.shape[1] != channels or len(whole) not in (1, samples):
            wanted = f"{name!r} of shape ({samples}, {channels}, {', '.join('n' * axes)})"
            raise ValueError(expected(wanted, tuple(field.shape), hint))
        return on_grid_of(self.call, self.base, whole.expand(samples, *whole.shape[1:]), self.periodic)

    def _without_padding(self, field: Tensor) -> Tensor:
        """Values laid out like the answer of a base on points, as rows; unchanged if they are not."""
        axes = self.base.field_of(self.call.as_answer(self.call.start)).shape[:-1]
        if field.shape[: len(axes)] != axes:
            return field
        return self.call.as_field(field if field.dim() > len(axes) else field[..., None])

    def _numbers(self, name: str) -> Tensor:
        """An argument as a tensor in the precision and on the device of the state."""
        value = self.values.get(name)
        if value is None:
            got = f"a call with {', '.join(sorted(self.values))}"
            raise ValueError(
                expected(f"{name!r}, which condition names", got, did_you_mean(name, self.values))
            )
        try:
            return torch.as_tensor(value, device=self.call.start.device).to(self.call.start.dtype)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(expected(f"{name!r} as numbers", type(value).__name__, "a tensor")) from error
