"""Adapter for models that answer with several fields, which are refined together as one state.

Each field has an adapter of its own, with its place in the answer, its layout and its domain. The state of
the iteration is one tensor, in which the fields are packed; see `neuralop_irno.domain.tuples.TupleDomain`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno.base.answers import Output, fields_in, with_fields
from neuralop_irno.base.call import BaseCall, in_state_dtype
from neuralop_irno.base.checks import check_finite
from neuralop_irno.base.inputs import all_inputs
from neuralop_irno.base.layout import AS_IT_STANDS, Axes, Layout
from neuralop_irno.base.operator import BaseOperator
from neuralop_irno.base.points import PointOperator
from neuralop_irno.base.pyg import GraphOperator
from neuralop_irno.base.sizes import ModelSpec
from neuralop_irno.domain.condition import Condition
from neuralop_irno.domain.tuples import TupleDomain, check_carried
from neuralop_irno.errors import expected, shown

Fields = Callable[[Any], list[Tensor]]


@dataclass(frozen=True)
class TupleCall(BaseCall):
    """A call of a base whose answer has several fields.

    Attributes:
        calls: the call as that of each field.
        names: the entries of ``output``, for errors.
        read: from an answer, or a tuple or dict of its fields, to these fields.
        whole: from refined fields, in the layouts of the base, to the whole answer.
    """

    calls: tuple[BaseCall, ...] = ()
    names: tuple[Any, ...] = ()
    read: Fields = list
    whole: Callable[[Sequence[Any]], Any] = tuple

    @classmethod
    def of(
        cls,
        calls: Sequence[BaseCall],
        names: Sequence[Any],
        read: Fields,
        whole: Callable[[Sequence[Any]], Any],
    ) -> TupleCall:
        """The call of several fields from those of each; see above for the arguments."""
        starts = [call.start for call in calls]
        check_carried([call.domain for call in calls])
        domain = TupleDomain(
            [call.domain for call in calls],
            [start.shape[1] for start in starts],
            [call.x.shape[1] for call in calls],
        )

        def as_field(other: Any) -> Tensor:
            fields = [call.as_field(field) for call, field in zip(calls, read(other), strict=True)]
            for name, field, start in zip(names, fields, starts, strict=True):
                if field.shape != start.shape:
                    wanted = f"the field {shown(name)} like that of the base's answer {tuple(start.shape)}"
                    hint = "fields on the grids of the answer, with the same channels"
                    raise ValueError(expected(wanted, tuple(field.shape), hint))
            return domain.packed(fields)

        def as_answer(refined: Tensor) -> Any:
            fields = zip(calls, domain.fields(refined), strict=True)
            return whole([call.as_answer(field) for call, field in fields])

        start = domain.packed(starts)
        x = domain.packed([in_state_dtype(call.x, start) for call in calls])
        return cls(
            x, start, domain, as_field, as_answer, Condition(),
            calls=tuple(calls), names=tuple(names), read=read, whole=whole,
        )  # fmt: skip

    def with_calls(self, calls: Sequence[BaseCall]) -> TupleCall:
        """The same with other calls of the fields, for example on other grids."""
        return replace(TupleCall.of(calls, self.names, self.read, self.whole), condition=self.condition)


@dataclass(frozen=True)
class TupleAxes(Axes):
    """The layouts of several fields: an answer is folded to all of them, packed, ``(B, 1, M)``.

    Attributes:
        operator: the adapter.
    """

    operator: TupleOperator

    @property
    def plain(self) -> bool:
        return False

    def fold(self, tensor: Any) -> Tensor:
        fields = self.fields(tensor)
        return torch.cat([field.reshape(len(field), 1, -1) for field in fields], -1)

    def frames(self, tensor: Any) -> Any:
        """The shape of one sample and the frames of each field."""
        answers = zip(self.operator.parts, self.operator.fields_of(tensor), strict=True)
        frames = [part.layout.answer.frames(answer) for part, answer in answers]
        return [(field.shape[1:], each) for field, each in zip(self.fields(tensor), frames, strict=True)]

    def unfold(self, field: Tensor, frames: Any = ()) -> dict[Output | None, Tensor]:
        """The fields in the layouts of the base, by the entries of ``output``."""
        parts = self.operator.parts
        return {
            part.output: part.layout.answer.unfold(each, known)
            for part, each, (_, known) in zip(parts, self.separate(field, frames), frames, strict=True)
        }

    def separate(self, packed: Tensor, frames: Any) -> list[Tensor]:
        """The fields, ``(B, C, *S)`` on grids and ``(B, n, C)`` on points, of a packed tensor."""
        flat = packed.split([shape.numel() for shape, _ in frames], -1)
        return [each.reshape(len(packed), *shape) for each, (shape, _) in zip(flat, frames, strict=True)]

    def fields(self, answer: Any) -> list[Tensor]:
        """The fields of an answer, ``(B, C, *S)`` on grids and ``(B, n, C)`` on points."""
        fields = zip(self.operator.parts, self.operator.fields_of(answer), strict=True)
        folded = [part.layout.answer.fold(field) for part, field in fields]
        return [field if field.dim() > 2 else field[None] for field in folded]


@dataclass(frozen=True)
class TupleLayout(Layout):
    """The layouts of several fields."""

    answer: TupleAxes

    @property
    def plain(self) -> bool:
        return False

    def from_batch(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        return dict(sample)  # samples come first in the layout of every field

    @property
    def dim(self) -> int | None:
        return None


class TupleOperator(BaseOperator):
    """One model with several fields in its answer, which are refined together.

    `IterativeRefiner` makes it itself for fields on grids, from ``output=("velocity", "pressure")``. On
    points it is given, with the names of the coordinates of each field.

    Args:
        parts: an adapter for each field, around the same module, each with its own ``output``: all on grids
            with equally many axes, or all `PointOperator`.
        frozen: without gradients, and in evaluation mode also after ``train()``.

    Example:
        >>> class Network(nn.Module):
        ...     def forward(self, surface, normals, volume, sdf):
        ...         return volume.sum(-1, keepdim=True) + sdf, surface.sum(-1, keepdim=True) * normals
        >>> network = Network()
        >>> base = TupleOperator(
        ...     [
        ...         PointOperator(network, fields="normals", pos="surface", output=1),
        ...         PointOperator(network, fields="sdf", pos="volume", output=0),
        ...     ]
        ... )
        >>> surface, normals, volume = (torch.rand(1, n, 3) for n in (9, 9, 20))
        >>> call = base.problem((surface, normals, volume, torch.rand(1, 20, 1)), {})
        >>> call.domain
        TupleDomain(GraphDomain(1 samples, 9 nodes in 3 dimensions), GraphDomain(1 samples, 20 nodes in 3 ...
        >>> [part.shape for part in call.as_answer(call.start)]
        [torch.Size([1, 20, 1]), torch.Size([1, 9, 3])]
    """

    layout: TupleLayout

    def __init__(self, parts: Sequence[BaseOperator], frozen: bool = True) -> None:
        _check(parts)
        module, trained = parts[0].module, frozenset().union(*(part._trained for part in parts))
        for part in parts:
            part.freeze(False)
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name in trained)
        super().__init__(module, frozen)
        self.parts = tuple(parts)  # in a tuple they are no submodules: the module is here once
        self.channels, self.output = parts[0].channels, [part.output for part in parts]
        layouts = [part.stated_layout for part in parts]
        self.stated_layout = layouts if any(layouts) else None
        self.layout = TupleLayout(AS_IT_STANDS.x, TupleAxes((), (), self))

    def sizes(self) -> ModelSpec:
        """The sizes of each field; of several, a model does not state the channels."""
        stated = [part.sizes() for part in self.parts]
        if len(stated) > 1:
            stated = [replace(each, out_channels=None) for each in stated]
        return ModelSpec(fields=tuple(stated))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The base's own answer."""
        return self.parts[0](*args, **kwargs)

    def unknown(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
        found = [part.unknown(args, kwargs) for part in self.parts]
        return [key for key in found[0] if all(key in other for other in found)]

    def names(self) -> set[str]:
        return set[str]().union(*(part.names() for part in self.parts))

    def problem(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        start: Any = None,
        periodic: Sequence[bool] | None = None,
        checked: bool = True,
    ) -> TupleCall:
        inputs = [part._inputs(args, kwargs) for part in self.parts]
        if any(isinstance(part, PointOperator) for part in self.parts) and kwargs.get("mask") is not None:
            wanted = "points of a tuple of fields without padding"
            raise ValueError(expected(wanted, "an argument mask", "one sample at a time, with its points"))
        for x, _ in inputs:
            check_finite(x, "x")
        answer = self(*args, **kwargs) if start is None else start
        fields, calls = self.fields_of(answer), list[BaseCall]()
        for part, field, (x, context) in zip(self.parts, fields, inputs, strict=True):
            if start is not None:
                check_finite(field, "start")
            call = part._on_domain(x, context, field, kwargs, periodic)
            if part.ON_GRID:
                x = all_inputs(call, part, args, kwargs, periodic=periodic, any_grid=True)
                call = replace(call, x=x)
            calls.append(call)
        samples = {call.domain.samples for call in calls}
        if len(samples) > 1:
            got = " and ".join(map(str, sorted(samples)))
            raise ValueError(expected("fields of as many samples each", got, "one batch for all fields"))
        return TupleCall.of(calls, self.output, self.fields_of, partial(with_fields, answer, fields))

    def split(self, answer: Any) -> Any:
        raise TypeError(expected("one field of the answer", f"the fields {self.output}", "one output="))

    def field_of(self, answer: Any) -> Tensor:
        return self.layout.answer.fold(answer)

    def fields_of(self, answer: Any) -> list[Tensor]:
        """The fields of an answer, or of a tuple or dict of them, as they are there."""
        fields = fields_in(answer, self.output, [part._is_field for part in self.parts])
        for (one, field), (other, same) in combinations(zip(self.output, fields, strict=True), 2):
            if field is same:
                got = f"one tensor for {shown(one)} and {shown(other)}"
                raise ValueError(
                    expected("another field for each entry of output", got, "output without one")
                )
        return fields

    def as_field(self, answer: Any) -> Tensor:
        """The fields of an answer, packed, ``(B, 1, M)``."""
        return self.layout.answer.fold(answer)


def _check(parts: Sequence[BaseOperator]) -> None:
    """Raise an error for adapters whose fields cannot be refined together."""
    wanted, hint = "adapters around one model", "the same object in each"
    if not parts or not all(isinstance(part, BaseOperator) for part in parts):
        got = ", ".join(type(part).__name__ for part in parts) or "none"
        raise TypeError(expected(wanted, got, "irno.TupleOperator([irno.PointOperator(net, ..), ..])"))
    # A function is wrapped in a module of its own by each adapter.
    models = {id(getattr(part.module, "function", part.module)) for part in parts}
    if len(models) > 1:
        raise ValueError(expected(wanted, f"{len(models)} models", hint))
    for part in parts:
        if isinstance(part, GraphOperator) and type(part) is not PointOperator:
            got, hint = type(part).__name__, "output=<one field>, or irno.PointOperator on points"
            raise TypeError(expected("fields on grids or points for a tuple", got, hint))
        if isinstance(part, PointOperator) and part.mask is not None:
            got = f"mask={part.mask!r}"
            raise ValueError(expected("points of a tuple of fields without padding", got, "mask=None"))
        sides = () if part.layout is AS_IT_STANDS else (part.layout.x, part.layout.answer)
        if any(axes.names[0] != "B" for axes in sides):
            got = f"'{part.stated_layout}'"
            raise ValueError(expected("layouts of several fields with B first", got, "'B T C H W'"))
    outputs = [part.output for part in parts]
    if any(one == other for one, other in combinations(outputs, 2)) or None in outputs[1:]:
        hint = "output=('velocity', 'pressure')"
        raise ValueError(expected("another entry of output for each field", shown(outputs), hint))


def refuse_tuple(base: BaseOperator, use: str) -> None:
    """Raise ValueError for a base whose answer is a tuple of fields, where only one can be used."""
    if isinstance(base, TupleOperator):
        got = f"the tuple {', '.join(map(shown, base.output))}"
        raise ValueError(expected(f"one field for {use}", got, "a refiner with output= of one field"))


def operator_of(
    adapters: Callable[..., BaseOperator],
    module: nn.Module,
    frozen: bool,
    channels: str,
    outputs: Sequence[Output],
    layouts: str | Sequence[str | None] | None,
) -> TupleOperator:
    """The adapter for several fields on grids.

    Args:
        adapters: makes the adapter of one field.
        module: the model.
        frozen: see `TupleOperator`.
        channels: the channel axis of x and of all fields.
        outputs: where each field is in the answer.
        layouts: those of each field, or one for all.
    """
    count = len(outputs)
    if layouts is None or isinstance(layouts, str):
        layouts = [layouts] * count
    if not count or len(layouts) != count:
        wanted, got = f"a layout for each of {count} fields", shown(list(layouts))
        if not count:
            wanted, got = "at least one field in output", "none"
        raise ValueError(expected(wanted, got, "output=('velocity', 'pressure')"))
    pairs = zip(outputs, layouts, strict=True)
    return TupleOperator([adapters(module, False, channels, *pair) for pair in pairs], frozen)
