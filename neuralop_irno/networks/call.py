"""One call of an iterated block: its arguments besides the state, and the state's domain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from neuralop_irno.base.checks import check_finite
from neuralop_irno.base.signatures import signature_of
from neuralop_irno.correction.correction import Correction, Shared, shape_or_type
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.tuples import TupleDomain
from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.precision import at_least_float32

Fields = Tensor | tuple[Tensor, ...]
"""A field, or a tuple of fields; inside of the iteration a tuple is packed into one tensor."""

GRAPH_ARGUMENTS = ("edge_index", "batch", "pos")
EDGE_ARGUMENTS = ("edge_attr", "edge_weight")


class BlockCall(NamedTuple):
    """The arguments of the block in one call.

    Attributes:
        free: f, or None.
        domain: the domain of the state.
        from_graph: names of the arguments that are taken from the graph domain.
        names: names of all other arguments.
        values: their values, in this order; values other than tensors apply to all samples.
    """

    free: Tensor | None
    domain: Domain
    from_graph: tuple[str, ...]
    names: tuple[str, ...]
    values: tuple[Any, ...]

    def keywords(self) -> dict[str, Any]:
        """All arguments, by name."""
        values = [part.value if isinstance(part, Shared) else part for part in self.values]
        found = dict(zip(self.names, values, strict=True))
        domain = self.domain
        if isinstance(domain, GraphDomain):
            own = {"batch": domain.batch, "pos": domain.pos}
            if "edge_index" in self.from_graph:
                edges = domain.edges
                own |= {"edge_index": edges.index, "edge_attr": edges.attr, "edge_weight": edges.weight}
            found |= {name: own[name] for name in self.from_graph}
        return found


class FixedPointMap(Correction):
    r"""The residual :math:`\lambda T(u) + f - u`, which a solver drives to zero.

    Args:
        block: T.
        weight: lambda.
    """

    def __init__(self, block: nn.Module, weight: float) -> None:
        super().__init__()
        self.block, self.weight = block, weight

    def forward(self, x: BlockCall, h: Tensor) -> Tensor:
        domain = x.domain
        if isinstance(domain, TupleDomain):
            image = _packed_like(domain, h, self.block(tuple(domain.fields(h)), **x.keywords()))
        else:
            image = self.block(h, **x.keywords())
        if not isinstance(image, Tensor) or image.shape != h.shape:
            wanted = f"a block whose output is shaped like its input {tuple(h.shape)}"
            hint = "an encoder before the block and a decoder after it"
            raise ValueError(expected(wanted, shape_or_type(image), hint))
        free = 0 if x.free is None else x.free
        return self.weight * image + free - h


def as_state(x: Fields) -> tuple[Tensor, TupleDomain | None]:
    """The initial state in float32 or better, and for a tuple of fields the domain that packs them.

    Args:
        x: a field, or a tuple of fields ``(B, C_i, *S_i)``.

    Example:
        >>> import torch
        >>> points, pairs = torch.zeros(2, 3, 5), torch.zeros(2, 4, 5, 5)
        >>> state, domain = as_state((points, pairs))
        >>> state.shape
        torch.Size([2, 1, 115])
    """
    if not isinstance(x, tuple):
        check_finite(x, "x")
        return at_least_float32(x), None
    for number, field in enumerate(x):
        check_finite(field, f"x[{number}]")
    shapes = [tuple(field.shape) for field in x]
    if not x or min(map(len, shapes)) < 2 or len({shape[0] for shape in shapes}) > 1:
        wanted = "a tuple of fields (B, C, *S) with equally many samples"
        raise ValueError(expected(wanted, shapes, "x = (points, pairs)"))
    domain = TupleDomain([GridDomain.of(field) for field in x], [shape[1] for shape in shapes])
    return domain.packed([at_least_float32(field) for field in x]), domain


def as_fields(state: Tensor, domain: TupleDomain | None) -> Fields:
    """The inverse of `as_state`."""
    return state if domain is None else tuple(domain.fields(state))


def free_function(inject: bool | nn.Module, start: Tensor, domain: TupleDomain | None) -> Tensor | None:
    """f for one initial state, packed like it; None if there is none."""
    if not isinstance(inject, nn.Module):
        return start if inject else None
    image = inject(as_fields(start, domain))
    return image if domain is None else _packed_like(domain, start, image)


def _packed_like(domain: TupleDomain, state: Tensor, image: Any) -> Tensor:
    """What a module returned for a tuple of fields, packed; ValueError if its shapes are others."""
    wanted = [tuple(field.shape) for field in domain.fields(state)]
    several = isinstance(image, (tuple, list))
    got = [shape_or_type(field) for field in image] if several else shape_or_type(image)
    if got != wanted:
        raise ValueError(expected(f"a tuple of fields of shapes {wanted}", got, "a field for each of x"))
    return domain.packed(image)


def block_call(
    block: nn.Module,
    start: Tensor,
    free: Tensor | None,
    given: Mapping[str, Any],
    fields: TupleDomain | None = None,
) -> BlockCall:
    """Build a `BlockCall` from the arguments found by `arguments`.

    Args:
        block: T.
        start: the initial state of the iteration.
        free: f.
        given: the block's arguments, by name. ``batch``, the graph index of each node, separates the samples;
            it is passed on only if the block has an argument of this name.
        fields: the domain of a state that is a tuple of fields.
    """
    if start.dim() < 2:
        raise ValueError(expected("x of shape (B, *S) or (N, C)", tuple(start.shape), "x[None]"))
    if free is not None and free.shape != start.shape:
        wanted = f"a free function f shaped like x {tuple(start.shape)}"
        raise ValueError(expected(wanted, tuple(free.shape), "a module that keeps the shape"))
    edge_names = [name for name in EDGE_ARGUMENTS if given.get(name) is not None]
    domain: Domain = GridDomain.of(start) if fields is None else fields
    if fields is not None and ("edge_index" in given or "batch" in given):
        raise ValueError(expected("a tuple of fields on grids", "a graph", "one field for the nodes"))
    if "edge_index" in given or "batch" in given:
        domain = GraphDomain.of(start, given)
    others = {name: value for name, value in given.items() if name not in (*GRAPH_ARGUMENTS, *EDGE_ARGUMENTS)}
    for name, value in others.items():
        if isinstance(value, Tensor) and (not value.dim() or len(value) != len(start)):
            wanted = f"{name} with {len(start)} rows, like x, so that samples can stop one by one"
            raise ValueError(expected(wanted, tuple(value.shape), f"{name}.expand({len(start)}, ...)"))
    parameters = signature_of(block).parameters
    from_graph = tuple(
        name
        for name in given
        if name in ("edge_index", *edge_names) or (name in GRAPH_ARGUMENTS and name in parameters)
    )
    values = tuple(value if isinstance(value, Tensor) else Shared(value) for value in others.values())
    return BlockCall(free, domain, from_graph, tuple(others), values)


def arguments(block: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a block besides its state, by name; raises a TypeError for unknown names.

    Args:
        block: T.
        args: positional arguments after the state.
        kwargs: keyword arguments. ``batch`` is always accepted.

    Example:
        >>> arguments(nn.Bilinear(2, 2, 2), (1.0,), {"batch": None})
        {'input2': 1.0, 'batch': None}
    """
    parameters = signature_of(block).parameters.values()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY)][1:]
    if len(args) > len(named):
        got = f"{len(args)} without names"
        raise TypeError(expected(f"at most {len(named)} arguments after x", got, "name=value"))
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        known = [*named, *(p.name for p in parameters if p.kind is p.KEYWORD_ONLY), "batch"]
        for name in kwargs:
            if name not in known:
                what = f"an argument of {type(block).__name__}"
                raise TypeError(expected(what, repr(name), did_you_mean(name, known)))
    for name in kwargs:
        if name in named[: len(args)]:
            raise TypeError(expected(f"{name} once", "by position and by name", f"{name}=..."))
    return {**dict(zip(named, args, strict=False)), **kwargs}
