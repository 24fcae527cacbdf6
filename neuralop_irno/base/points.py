"""Adapter for networks on sets of points, which take coordinates and fields as separate arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from neuralop_irno._neuralop import build_model, described
from neuralop_irno.base.answers import Output
from neuralop_irno.base.call import BaseCall, in_state_dtype
from neuralop_irno.base.point_sets import PointSets
from neuralop_irno.base.pyg import GraphOperator, collated, graph_among
from neuralop_irno.base.signatures import FunctionModule, bound_to, floating_point_among, signature_of
from neuralop_irno.base.sizes import ModelSpec
from neuralop_irno.domain.check import PARTS
from neuralop_irno.domain.condition import Condition
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.points import PointDomain
from neuralop_irno.domain.spacing import rows_of
from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.precision import at_least_float32, explain_failure
from neuralop_irno.registry import MODELS

NODES = frozenset({"x", "adj_t", "ptr", *PARTS})
"""Parts of a graph that reach the network as fields and coordinates, or not at all."""


class PointOperator(GraphOperator):
    r"""A network on sets of points, whose coordinates and fields are different arguments.

    It is called like the network: ``model(x=pos, fx=u)`` for Transolver of Neural-Solver-Library, say. The
    answer has a row for each query point, or for each input point where there are no others; the fields are
    then interpolated to the query points for the correction. Every correction on graphs can be used: the
    measure and the edges follow from the coordinates, see `PointDomain`, unless the call has a ``measure``.

    Padding: points where the argument ``mask`` is False do not exist for the correction, the losses and the
    stopping; their answer is the base's. The network is given the mask if it takes one. If it does not, the
    base's own answer may depend on the padding.

    It may be called with a graph too, or the parts of one with ``batch``: x is then the field and ``pos`` the
    coordinates. Graphs of different sizes are padded for a network that takes a mask, and passed to others
    one by one.

    Args:
        net: the network or function, or its config.
        fields: the argument with the values at the points, or several, which are joined for the correction.
        pos: the argument with the coordinates; if the network does not take it, the adapter alone reads it.
        queries: the argument with the points of the answer, if they are others; in a call without it they are
            the input points.
        mask: the argument that is True at points and False at padding; a function around the network for one
            that takes the opposite.
        period: the sides of a periodic box, None along open axes; by default the domain is open. A
            ``period`` in the call has precedence.
        output: where the field is in the answer; see `BaseOperator`.
        frozen: without gradients, and in evaluation mode also after ``train()``.

    Shapes:
        - fields: ``(B, n, C)``, or ``(n, C)`` for all samples
        - pos: ``(B, n, d)`` or ``(n, d)``; queries: ``(B, q, d)`` or ``(q, d)``; mask: ``(B, n)`` or ``(n,)``
        - measure: ``(B, q)`` or ``(q,)``
        - the answer: ``(B, q, C')``

    Example:
        >>> from neuralop_irno.refiner import IterativeRefiner
        >>> net = nn.Bilinear(2, 3, 1)  # of coordinates, input1, and three fields, input2
        >>> base = PointOperator(net, fields="input2", pos="input1")
        >>> sizes = {"in_channels": 3, "out_channels": 1}
        >>> model = IterativeRefiner(base, {"name": "meshgraph", "width": 8}, **sizes).eval()
        >>> pos, fields = torch.rand(4, 50, 2), torch.randn(4, 50, 3)
        >>> torch.equal(model(pos, fields), net(pos, fields))
        True
    """

    READS: ClassVar[frozenset[str]] = frozenset({"measure", "period"})

    def __init__(
        self,
        net: nn.Module | Callable[..., Any] | Mapping[str, Any] | str,
        fields: str | Sequence[str],
        pos: str,
        queries: str | None = None,
        mask: str | None = None,
        period: Sequence[float | None] | None = None,
        output: Output | None = None,
        frozen: bool = True,
    ) -> None:
        super().__init__(build_model(net), frozen, output=output)
        self._take_names(fields, pos, queries, mask, period)

    def _take_names(
        self,
        fields: str | Sequence[str],
        pos: str,
        queries: str | None = None,
        mask: str | None = None,
        period: Sequence[float | None] | None = None,
    ) -> None:
        self.fields = (fields,) if isinstance(fields, str) else tuple(fields)
        self.pos, self.queries, self.mask = pos, queries, mask
        self.period = None if period is None else tuple(period)
        self._check_names()

    def _check_names(self) -> None:
        """Raise ValueError for fields or queries that are no arguments of the network."""
        parameters = signature_of(self.module).parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return
        if not self.fields:
            raise ValueError(expected("at least one field", "none", f"one of {', '.join(parameters)}"))
        for name in (*self.fields, *([] if self.queries is None else [self.queries])):
            if name not in parameters:
                what = f"an argument of {type(self.module).__name__}"
                raise ValueError(expected(what, repr(name), did_you_mean(name, parameters)))

    @property
    def config(self) -> dict[str, Any] | None:
        if type(self) is not PointOperator:
            return None
        net = self.module.function if isinstance(self.module, FunctionModule) else self.module
        names = {"pos": self.pos, "queries": self.queries, "mask": self.mask}
        words = {"fields": list(self.fields), **names, "period": self.period and list(self.period)}
        words["output"] = described(self.output)
        return {"model_arch": "points", "net": described(net), **words}

    def sizes(self) -> ModelSpec:
        """The channels that the network states; those of its input only if it has one field."""
        stated = super().sizes()
        one = len(self.fields) == 1 and self.fields[0] != self.pos
        dim = None if self.period is None else len(self.period)
        return ModelSpec(stated.in_channels if one else None, stated.out_channels, dim)

    def names(self) -> set[str]:
        return super().names() | self._own_names()

    def unknown(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
        read = self._call(tuple(args), kwargs)[1].keys() | self.READS | self._own_names()
        if self._graph(tuple(args), kwargs) is not None:
            read |= GraphOperator.READS
        return [key for key in kwargs if key not in read and not (key == "x" and not args)]

    def input_of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
        graph = self._graph(args, kwargs)
        value = (self._found(args, kwargs) if graph is None else graph).get(self.fields[0])
        return value if isinstance(value, Tensor) else super().input_of(args, kwargs)

    def _own_names(self) -> set[str]:
        return {name for name in (self.pos, self.mask) if name is not None}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The base's own answer; to a graph a row for each node."""
        graph = self._graph(args, kwargs)
        try:
            if graph is not None:
                return self._of_nodes(graph, kwargs)
            given, accepted = self._call(args, kwargs)
            return self.module(*given, **accepted)
        except (RuntimeError, IndexError):
            known = kwargs if graph is not None else self._found(args, kwargs)
            explain_failure(self.module, floating_point_among(known), "base")
            raise

    def problem(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        start: Tensor | None = None,
        periodic: Sequence[bool] | None = None,
        checked: bool = True,
    ) -> BaseCall:
        # Without checks there is a condition that is a mask.
        if checked and self.mask is None and isinstance(kwargs.get("mask"), Tensor):
            hint = f"{type(self).__name__}(.., mask='mask'), or condition=('mask',) of the refiner"
            raise ValueError(expected("a mask that the adapter knows by name", "an argument mask", hint))
        return super().problem(args, kwargs, start, periodic, checked)

    def _graph(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
        """The parts of the graph of a call; None if it is called like the network."""
        graph = graph_among(collated(args), kwargs)
        if graph is not None:
            parts = {**graph.to_dict(), **kwargs}
            parts.setdefault("batch", torch.zeros(graph.num_nodes, dtype=torch.long, device=graph.pos.device))
            return parts
        by_parts = isinstance(kwargs.get("batch"), Tensor) and "batch" not in self.accepted({"batch": None})
        return dict(kwargs) if by_parts else None

    def _nodes(self, graph: Mapping[str, Any]) -> tuple[dict[str, Tensor], GraphDomain]:
        """The fields and coordinates of the nodes under the network's names, and their domain."""
        named = len(self.fields) > 1 or graph.get("x") is None
        fields = {name: self._tensor(graph, name) if named else graph["x"] for name in self.fields}
        fields = {name: part if part.dim() > 1 else part[:, None] for name, part in fields.items()}
        period = graph.get("period", self._sides())
        kind = PointDomain if graph.get("edge_index") is None else GraphDomain
        joined = torch.cat(list(fields.values()), 1)
        domain = kind.of(joined, {**graph, "period": period})
        return {**fields, self.pos: self._tensor(graph, "pos")}, domain

    def _of_nodes(self, graph: Mapping[str, Any], kwargs: Mapping[str, Any]) -> Tensor:
        """The answer to a graph: its samples at once if they are of one size or padded, else one by one."""
        nodes, domain = self._nodes(graph)
        rows = rows_of(domain.batch, domain.samples)
        at_once = self.mask is not None or len({len(part) for part in rows}) == 1
        named = {name: graph[name] for name in self._argument_names() if name in graph}
        others = {name: part for name, part in {**named, **kwargs}.items() if name not in NODES}
        answers: list[Tensor] = []
        for place, group in enumerate([rows] if at_once else [(part,) for part in rows]):
            given = {name: pad_sequence([part[own] for own in group], True) for name, part in nodes.items()}
            if self.mask is not None:
                inside = [torch.ones_like(own, dtype=torch.bool) for own in group]
                given[self.mask] = pad_sequence(inside, True)
            count = 1 if at_once else len(rows)
            rest = {name: _of_sample(part, place, count) for name, part in others.items()}
            field = self.field_of(self.module(**self.accepted({**rest, **given})))
            shape = given[self.pos].shape[:2]
            if field.dim() != 3 or field.shape[:2] != shape:
                wanted = f"an answer of shape ({shape[0]}, {shape[1]}, C), a row for each point"
                raise ValueError(expected(wanted, tuple(field.shape), "a base that answers so"))
            answers += [answer[: len(own)] for answer, own in zip(field, group, strict=True)]
        return torch.cat(answers)[torch.cat(rows).argsort()]

    def _found(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call by name."""
        given, accepted = self._call(args, kwargs)
        return {**kwargs, **bound_to(signature_of(self.module), given, accepted)}

    def _sides(self) -> Tensor | None:
        """The sides of the periodic box, infinite along open axes, ``(d,)``."""
        if self.period is None:
            return None
        return torch.tensor([math.inf if side is None else side for side in self.period], dtype=torch.float64)

    def _inputs(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Tensor, Any]:
        """The fields at the points of the answer, ``(N, C)``, and these points."""
        graph = self._graph(args, kwargs)
        if graph is not None:
            nodes, domain = self._nodes(graph)
            return torch.cat([nodes[name] for name in self.fields], 1), domain
        found = self._found(args, kwargs)
        source = self._coordinates(found, self.pos)
        values = [self._values(found, name, source.shape[1]) for name in self.fields]
        asked = None if self.queries is None else found.get(self.queries)
        target = source if asked is None or self.queries is None else self._coordinates(found, self.queries)
        samples = max(len(part) for part in (source, target, *values))
        inside = self._inside(found, samples, source.shape[1])
        source, target, *values = self._expanded([source, target, *values], samples)
        known = found.get("measure"), found.get("period", self._sides())
        points = PointSets(source, inside, *known)
        x, alike = torch.cat(values, -1), target.shape == source.shape
        if asked is None or (alike and torch.equal(points.rows(target), points.rows(source))):
            return points.rows(x), points
        return points.carried(x, target), PointSets(target, None, *known)

    def _refined(self, field: Tensor, context: Any) -> Tensor:
        """The values that are no padding."""
        inside = context.inside if isinstance(context, PointSets) else None
        if inside is None or field.shape[:-1].numel() != inside.numel():
            return field
        return field.reshape(*inside.shape, -1)[inside]

    def _expanded(self, parts: Sequence[Tensor], samples: int) -> list[Tensor]:
        """Parts with a row for each sample; those with one row are common to all."""
        others = [len(part) for part in parts if len(part) not in (1, samples)]
        if others:
            raise ValueError(expected(f"coordinates and fields of {samples} samples", others[0], "one batch"))
        return [part.expand(samples, *part.shape[1:]) for part in parts]

    def _coordinates(self, found: Mapping[str, Any], name: str) -> Tensor:
        """Coordinates ``(1 or B, n, d)``."""
        pos = self._tensor(found, name)
        if pos.dim() not in (2, 3):
            wanted = f"{name} of shape (B, n, d) or (n, d), the coordinates"
            raise ValueError(expected(wanted, tuple(pos.shape), "a row for each point"))
        return pos if pos.dim() == 3 else pos[None]

    def _values(self, found: Mapping[str, Any], name: str, count: int) -> Tensor:
        """A field ``(1 or B, n, C)``."""
        values = self._tensor(found, name)
        if values.dim() not in (2, 3) or values.shape[-2] != count:
            wanted = f"{name} of shape (B, {count}, C), a row for each point of {self.pos}"
            hint = f"channels last, or fields without {name!r}"
            raise ValueError(expected(wanted, tuple(values.shape), hint))
        return values if values.dim() == 3 else values[None]

    def _tensor(self, found: Mapping[str, Any], name: str) -> Tensor:
        value = found.get(name)
        if isinstance(value, Tensor):
            return value
        got: object = sorted(map(str, found)) if value is None else type(value).__name__
        hint = f"{name}=..., or fields={self.pos!r} for a base that gets coordinates alone"
        raise ValueError(expected(f"the argument {name} as a tensor", got, hint))

    def _inside(self, found: Mapping[str, Any], samples: int, count: int) -> Tensor | None:
        """Which points are not padding, ``(B, n)``."""
        mask = None if self.mask is None else found.get(self.mask)
        if mask is None:
            return None
        fits = isinstance(mask, Tensor) and mask.shape in ((count,), (1, count), (samples, count))
        if not fits or not bool(((mask == 0) | (mask == 1)).all()):
            wanted = f"{self.mask} of shape ({samples}, {count}), True at points and False at padding"
            got = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
            raise ValueError(expected(wanted, got, "a mask of True and False, without further axes"))
        return mask.bool().expand(samples, count)

    def _laid_out(self, x: Tensor, context: Any, answer: Tensor, periodic: Sequence[bool] | None) -> BaseCall:
        if isinstance(context, GraphDomain):
            return super()._laid_out(x, context, answer, periodic)
        points: PointSets = context
        (samples, count), axes = points.pos.shape[:2], answer.shape[:-1]
        if axes != (samples, count) and (samples, *axes) != (1, count):
            wanted = f"an answer of shape ({samples}, {count}, C), a row for each point"
            hint = "a base that answers so, or a start laid out like its answer"
            raise ValueError(expected(wanted, tuple(answer.shape), hint))
        whole = at_least_float32(answer)

        def as_field(other: Any) -> Tensor:
            field = self.field_of(other)
            if field.shape[:-1] != axes:
                wanted = f"a field of shape ({', '.join(map(str, axes))}, C), like the answer"
                raise ValueError(expected(wanted, tuple(field.shape), "channels last"))
            return points.rows(field.reshape(samples, count, -1))

        def as_answer(refined: Tensor) -> Any:
            if points.inside is None:
                return refined.reshape(whole.shape)
            return whole.masked_scatter(points.inside.reshape(*axes, 1), refined.to(whole.dtype))

        h = as_field(whole)
        return BaseCall(in_state_dtype(x, h), h, points.domain(h), as_field, as_answer, Condition())


def _of_sample(value: Any, place: int, samples: int) -> Any:
    """The row of one sample, of several, in an argument with a number for each; others are common to all."""
    by_sample = samples > 1 and isinstance(value, Tensor) and value.shape in ((samples,), (samples, 1))
    return value[place : place + 1] if by_sample else value


MODELS.register("points", PointOperator)
