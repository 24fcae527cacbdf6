"""Adapters for neuraloperator's models and for those of this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from neuralop_irno._neuralop import FNOGNO, GINO, UQNO, BaseModel, refuse_other_calls
from neuralop_irno.base.answers import Output, Outputs
from neuralop_irno.base.operator import BaseOperator, SuperResolution
from neuralop_irno.base.points import PointOperator
from neuralop_irno.base.pyg import GraphOperator, OnGridOrGraph, is_graph_network
from neuralop_irno.base.signatures import FunctionModule, signature_of, unwrapped
from neuralop_irno.base.sizes import ModelSpec, point_arguments, stated_sizes
from neuralop_irno.base.tuples import operator_of
from neuralop_irno.errors import expected, shown
from neuralop_irno.models import WDSR, HiNOTE, SuperResolutionFNO
from neuralop_irno.precision import require_dtype


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


class OnPoints(PointOperator):
    """GINO and FNOGNO: from values on points or a grid to values on points, channels last.

    The batch shares one geometry.
    """

    def __init__(
        self,
        module: nn.Module,
        frozen: bool = True,
        channels: str = "first",
        output: Output | None = None,
        layout: str | None = None,
    ) -> None:
        gino = isinstance(unwrapped(module), GINO)
        names = ("x", "input_geom", "output_queries") if gino else ("f", "in_p", "out_p")
        GraphOperator.__init__(self, module, frozen, channels, output, layout)
        self._take_names(*names)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        require_dtype(self.module, {"x": self.input_of(args, kwargs)}, "base")
        return super().forward(*args, **kwargs)

    def accepted(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        named = signature_of(self.module).parameters
        return {key: value for key, value in kwargs.items() if key in named}

    def sizes(self) -> ModelSpec:
        return sizes_of(self.module)

    def _graph(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """None: these networks need the points of a latent grid too."""

    def _coordinates(self, found: Mapping[str, Any], name: str) -> Tensor:
        if isinstance(found.get(name), Mapping):
            raise TypeError(expected("one set of output points", "dict", "a call for each of them"))
        pos = self._tensor(found, name)
        return pos.reshape(1, -1, pos.shape[-1])

    def _values(self, found: Mapping[str, Any], name: str, count: int) -> Tensor:
        values = self._tensor(found, name)
        return values.reshape(-1, count, values.shape[-1])

    def _found(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments by name; raises TypeError if required ones (the geometry) are missing."""
        found = super()._found(args, kwargs)
        needed = [
            p.name
            for p in signature_of(self.module).parameters.values()
            if p.default is p.empty and p.kind is not p.VAR_KEYWORD
        ]
        missing = [name for name in needed if name not in found]
        if missing:
            wanted = f"a call with {', '.join(needed)}, as {type(unwrapped(self.module)).__name__} takes them"
            hint = "model_arch: rigno for data on points"
            raise TypeError(expected(wanted, f"one without {', '.join(missing)}", hint))
        return found


class NamedPoints(PointOperator):
    """A network on points that states in ``POINT_ARGUMENTS`` what its arguments are, as Transolver does."""

    def __init__(
        self,
        module: nn.Module,
        frozen: bool = True,
        channels: str = "first",
        output: Output | None = None,
        layout: str | None = None,
    ) -> None:
        GraphOperator.__init__(self, module, frozen, channels, output, layout)
        self._take_names(**point_arguments(unwrapped(self.module)))


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
    output: Outputs | None = None,
    layout: str | Sequence[str | None] | None = None,
) -> BaseOperator:
    """The adapter around a model; an adapter is returned unchanged.

    Args:
        model: a neuraloperator model, any other module, or a callable.
        frozen: without gradients and always in evaluation mode.
        channels: channel axis of a model on grids, ``first`` or ``last``.
        output: where the field is in the answer; see `BaseOperator`. A list is that of several fields.
        layout: the axes of x and of the answer; see `BaseOperator`. Of several fields it may be a list.

    Raises:
        ValueError: one of the options differs from that of the adapter that was given.
    """
    if not isinstance(model, BaseOperator):
        adapter = adapter_for(model)
        if isinstance(output, Sequence) and not isinstance(output, str):
            module = model if isinstance(model, nn.Module) else FunctionModule(model)
            return operator_of(adapter, module, frozen, channels, output, layout)
        if not isinstance(layout, str | None):
            hint = "output=(...), with the place of each field in the answer"
            raise ValueError(expected("one layout for one field", shown(list(layout)), hint))
        return adapter(model, frozen, channels, output, layout)
    own = {"channels": model.channels, "output": model.output, "layout": model.stated_layout}
    given = {"channels": channels, "output": output, "layout": layout}
    if not model.ON_GRID:
        given.pop("channels")  # they are last
    for name, value in given.items():
        default = "first" if name == "channels" else None
        value = list(value) if isinstance(value, tuple) else value
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
    if point_arguments(inner):
        return NamedPoints
    ancestors = [c for c in type(inner).__mro__ if c is not BaseModel]
    if any(c.__module__.startswith("neuralop.models.") for c in ancestors):
        refuse_other_calls(type(inner).__name__)
        return NeuralOperator
    if not callable(model):
        return BaseOperator  # which refuses it
    module = model if isinstance(model, nn.Module) else FunctionModule(model)
    return GraphOperator if is_graph_network(module) else OnGridOrGraph
