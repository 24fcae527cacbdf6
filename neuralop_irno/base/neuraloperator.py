"""Adapters for neuraloperator's models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from neuralop_irno._neuralop import FNOGNO, GINO, UQNO, BaseModel, refuse_other_calls
from neuralop_irno.base.answers import Output
from neuralop_irno.base.call import BaseCall, in_state_dtype
from neuralop_irno.base.operator import BaseOperator, SuperResolution
from neuralop_irno.base.pyg import OnGraphs, is_graph_network
from neuralop_irno.base.signatures import bound_to, signature_of, unwrapped
from neuralop_irno.base.sizes import ModelSpec, stated_sizes
from neuralop_irno.domain.graph import GraphDomain, interpolate
from neuralop_irno.errors import expected
from neuralop_irno.models import WDSR, HiNOTE, SuperResolutionFNO
from neuralop_irno.precision import at_least_float32, require_dtype


class NeuralOperator(BaseOperator):
    """A neuraloperator model on grids: FNO, TFNO, UNO, CODANO and similar ones."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The base's own answer.

        These models take fields in the precision of their weights. This is checked before the call: a failed
        call in float64 would leave float64 in their cache (``_grid``), and later float32 calls would fail.
        """
        require_dtype(self.module, {"x": self.input_of(args, kwargs)}, "base")
        return super().forward(*args, **kwargs)

    def accepted(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments named in the signature; these models warn about all others."""
        named = signature_of(self.module).parameters
        return {key: value for key, value in kwargs.items() if key in named}

    def stated_sizes(self) -> ModelSpec:
        return sizes_of(self.module)


class OnPoints(NeuralOperator):
    """GINO and FNOGNO: from values on points or a grid to values on points, channels last.

    The batch shares one geometry. If input and output points differ, the input is interpolated to the output
    points from its three nearest points, weighted by inverse squared distance.
    """

    READS: ClassVar[frozenset[str]] = frozenset()
    ON_GRID: ClassVar[bool] = False

    def _laid_out(
        self, x: Tensor, context: tuple[Tensor, Tensor], answer: Tensor, periodic: Sequence[bool] | None
    ) -> BaseCall:
        source, target = context
        if answer.dim() not in (2, 3) or answer.shape[-2] != len(target):
            wanted = f"an answer of shape (B, {len(target)}, C), a row for each output point"
            raise ValueError(expected(wanted, tuple(answer.shape), "a start laid out like the answer"))
        batched = answer.dim() == 3
        field = at_least_float32(answer if batched else answer[None])
        samples, points, _ = field.shape
        x = x.reshape(samples, -1, x.shape[-1])
        if source.shape != target.shape or not torch.equal(source, target):
            x = interpolate(x, source, target)
        batch = torch.arange(samples, device=field.device).repeat_interleave(points)
        domain = GraphDomain(batch, samples, pos=target.repeat(samples, 1))

        def as_field(answer: Any) -> Tensor:
            values = self.field_of(answer)
            return values.reshape(-1, values.shape[-1])

        def as_answer(refined: Tensor) -> Tensor:
            restored = refined.reshape(samples, points, -1)
            return restored if batched else restored[0]

        x = in_state_dtype(as_field(x), field)
        return BaseCall(x, as_field(field), domain, as_field, as_answer)

    def _is_field(self, tensor: Tensor) -> bool:
        return tensor.dim() in (2, 3)

    def _inputs(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Input values ``(.., C)``; and their points ``(n, d)`` with the output points ``(q, d)``."""
        call = self._bound(args, kwargs)
        if isinstance(unwrapped(self.module), GINO):
            values, source, target = call.get("x"), call["input_geom"], call["output_queries"]
        else:
            values, source, target = call["f"], call["in_p"], call["out_p"]
        if not isinstance(target, Tensor):
            wanted = "one set of output points"
            raise TypeError(expected(wanted, type(target).__name__, "a call for each of them"))
        if values is None:
            wanted = "input values x for the correction"
            raise ValueError(expected(wanted, "None", "x=input_geom, the coordinates"))
        dim = target.shape[-1]
        return values, (source.reshape(-1, dim), target.reshape(-1, dim))

    def _bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """The arguments by name; raises TypeError if required ones (the geometry) are missing."""
        signature = signature_of(self.module)
        call = bound_to(signature, args, self.accepted(kwargs))
        needed = [
            p.name
            for p in signature.parameters.values()
            if p.default is p.empty and p.kind is not p.VAR_KEYWORD
        ]
        missing = [name for name in needed if name not in call]
        if missing:
            wanted = f"a call with {', '.join(needed)}, as {type(unwrapped(self.module)).__name__} takes them"
            hint = "model_arch: rigno for data on points"
            raise TypeError(expected(wanted, f"one without {', '.join(missing)}", hint))
        return call


def sizes_of(module: nn.Module) -> ModelSpec:
    """Channels and dimensions of a neuraloperator model, from its attributes or recorded arguments."""
    module = unwrapped(module)
    if isinstance(module, UQNO):
        return sizes_of(module.base_model)
    stated = stated_sizes(module)
    if isinstance(module, BaseModel):
        recorded = module._init_kwargs
        return ModelSpec(
            stated.in_channels or recorded.get("in_channels"),
            stated.out_channels or recorded.get("out_channels"),
            getattr(module, "gno_coord_dim", None) or stated.dim,
        )
    return stated


def wrap_operator(
    model: nn.Module | Callable[..., Any],
    frozen: bool = True,
    channels: str = "first",
    output: Output | None = None,
    layout: str | None = None,
) -> BaseOperator:
    """The adapter around a model; an adapter is returned unchanged.

    Args:
        model: a neuraloperator model, any other module, or a callable.
        frozen: without gradients and always in evaluation mode.
        channels: channel axis of a model on grids, ``first`` or ``last``.
        output: where the field is in the answer; see `BaseOperator`.
        layout: the axes of x and of the answer; see `BaseOperator`.

    Raises:
        ValueError: one of the options differs from that of the adapter that was given.
    """
    if not isinstance(model, BaseOperator):
        return adapter_for(model)(model, frozen, channels, output, layout)
    own = {"channels": model.channels, "output": model.output, "layout": model.stated_layout}
    given = {"channels": channels, "output": output, "layout": layout}
    for name, value in given.items():
        default = "first" if name == "channels" else None
        if value not in (default, own[name]):
            kind = type(model).__name__
            wanted = f"the {name} of the adapter {kind}, {own[name]!r}"
            raise ValueError(expected(wanted, repr(value), f"{kind}(..., {name}=...)"))
    return model


def adapter_for(model: nn.Module | Callable[..., Any]) -> type[BaseOperator]:
    """The class of adapters for a model, chosen by the model's class and signature."""
    inner = unwrapped(model) if isinstance(model, nn.Module) else model
    if isinstance(inner, (GINO, FNOGNO)):
        return OnPoints
    if isinstance(inner, (WDSR, SuperResolutionFNO, HiNOTE)):
        return SuperResolution
    ancestors = [c for c in type(inner).__mro__ if c is not BaseModel]
    if any(c.__module__.startswith("neuralop.models.") for c in ancestors):
        refuse_other_calls(type(inner).__name__)
        return NeuralOperator
    return OnGraphs if is_graph_network(model) else BaseOperator
