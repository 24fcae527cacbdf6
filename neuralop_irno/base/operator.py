"""The base operator: anybody's model, called as it wants to be called, and not touched.

An adapter turns one call into a `BaseCall`, the only thing that the iteration needs to know.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MethodType
from typing import Any, ClassVar

from torch import Tensor, nn

from neuralop_irno.base.checks import CONVOLUTIONS, check_finite, refuse_graphs, refuse_points
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.grid import GridDomain, resample
from neuralop_irno.errors import expected
from neuralop_irno.precision import at_least_float32, explain_failure


@dataclass(frozen=True)
class BaseCall:
    """One call of the base, laid out for the iteration.

    Attributes:
        x: the input, on the domain of h.
        start: the base's answer h_0, in float32 or better.
        domain: where both live.
        as_field: lays out something that looks like the base's answer (a target, say) like h.
        as_answer: the way back: what the base would have returned.
    """

    x: Tensor
    start: Tensor
    domain: Domain
    as_field: Callable[[Tensor], Tensor]
    as_answer: Callable[[Tensor], Any]


@dataclass(frozen=True)
class ModelSpec:
    """What a model says of itself; None where it says nothing.

    Attributes:
        in_channels: channels of x.
        out_channels: channels of h.
        dim: spatial dimensions.
    """

    in_channels: int | None = None
    out_channels: int | None = None
    dim: int | None = None


class BaseOperator(nn.Module):
    """Any module or callable that maps fields on a grid to fields on a grid.

    Args:
        module: the model.
        frozen: no gradients, and evaluation mode whatever `train` says.
        channels: ``first`` for ``(B, C, *S)``, ``last`` for ``(B, *S, C)``; both for x and the answer.
    """

    READS: ClassVar[frozenset[str]] = frozenset()
    """Keyword arguments that the adapter itself reads, besides those of the module."""

    def __init__(
        self,
        module: nn.Module | Callable[..., Any],
        frozen: bool = True,
        channels: str = "first",
    ) -> None:
        super().__init__()
        if not callable(module):
            raise TypeError(expected("a base that can be called", repr(module), "an nn.Module"))
        if channels not in ("first", "last"):
            raise ValueError(expected("channels 'first' or 'last'", repr(channels), "channels='first'"))
        self.module = module if isinstance(module, nn.Module) else _Function(module)
        self.frozen = False
        self.channels = channels
        self._trained = frozenset(name for name, p in self.module.named_parameters() if p.requires_grad)
        self.freeze(frozen)

    def freeze(self, frozen: bool) -> None:
        """Freeze the module, or let those of its weights train that trained when it was wrapped."""
        if frozen == self.frozen:
            return
        self.frozen = frozen
        for name, parameter in self.module.named_parameters():
            parameter.requires_grad_(not frozen and name in self._trained)
        self.module.train(self.training and not frozen)

    def train(self, mode: bool = True) -> BaseOperator:
        """A frozen base stays in evaluation mode, so that its buffers stay what they are."""
        return super().train(mode and not self.frozen)

    def sizes(self) -> ModelSpec:
        """What the module says of its channels and dimensions."""
        return stated_sizes(self.module)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The base's own answer; arguments that its signature does not take are left out."""
        given, accepted = self._call(args, kwargs)
        try:
            return self.module(*given, **accepted)
        except (RuntimeError, AssertionError, IndexError, ValueError) as error:
            x = self.input_of(args, kwargs)
            self._explain(x, error)
            if isinstance(error, RuntimeError):
                explain_failure(self.module, {"x": x, **real_among(kwargs)}, "base")
            raise

    def _explain(self, x: Tensor, error: Exception) -> None:
        """Say why the base could not take x, where its own sizes tell; looked at only after it failed."""
        sizes = self.sizes()
        axes = x.dim() - 2 if sizes.dim is None else sizes.dim
        channels = x.shape[1 if self.channels == "first" else -1] if x.dim() > 1 else None
        if x.dim() == axes + 2 and sizes.in_channels in (None, channels):
            return
        wanted = f"x with {sizes.in_channels or 'C'} channels on {axes} axes, as the base takes it"
        raise ValueError(expected(wanted, tuple(x.shape), "data that fit the base")) from error

    def accepted(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the keyword arguments that the module's signature takes."""
        parameters = signature_of(self.module).parameters.values()
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            return dict(kwargs)
        names = {p.name for p in parameters}
        return {key: value for key, value in kwargs.items() if key in names}

    def unknown(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
        """The names of the keyword arguments that neither the module nor the adapter reads."""
        read = self._call(tuple(args), kwargs)[1].keys() | self.READS
        # A module of torch's whose first parameter has another name is given x by position.
        return [key for key in kwargs if key not in read and not (key == "x" and not args)]

    def names(self) -> set[str]:
        """The names of the keyword arguments that the module or the adapter reads."""
        parameters = signature_of(self.module).parameters.values()
        catch_all = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        return {p.name for p in parameters if p.kind not in catch_all} | self.READS

    def problem(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        start: Tensor | None = None,
        periodic: Sequence[bool] | None = None,
    ) -> BaseCall:
        """Lay a call out for the iteration.

        Args:
            args: what the caller passed by position.
            kwargs: what the caller passed by keyword.
            start: an answer to start from, in place of the base's own.
            periodic: which axes close on themselves, should x have to be carried to another grid.
        """
        refuse_graphs(self.module, args, kwargs)
        x = self.input_of(args, kwargs)
        check_finite(x, "x")
        if 0 in x.shape[1:]:
            raise ValueError(
                expected("x with a channel and a point on each axis", tuple(x.shape), "other data")
            )
        if start is not None:
            check_finite(start, "start")
        answer = self(*args, **kwargs) if start is None else start
        field, rest = self._split(answer)
        h = at_least_float32(self.as_field(field))
        x = self.as_field(x)
        refuse_points(self.module, x, h, self.channels, [*args, *kwargs.values()])
        if x.shape[0] != h.shape[0] or x.dim() != h.dim():
            raise ValueError(
                expected(
                    "an answer with the batch and the dimensions of x",
                    f"x {tuple(x.shape)} and answer {tuple(h.shape)}",
                    "a base of your own that lays them out alike",
                )
            )
        if x.shape[2:] != h.shape[2:]:
            x = self.carried(x, h.shape[2:], periodic)

        def as_answer(refined: Tensor) -> Any:
            restored = refined if self.channels == "first" else refined.movedim(1, -1)
            return restored if rest is None else (restored, *rest)

        return BaseCall(in_state_dtype(x, h), h, GridDomain.of(h), self.as_field, as_answer)

    def carried(self, x: Tensor, shape: Sequence[int], periodic: Sequence[bool] | None) -> Tensor:
        """x, where it lives on another grid than the answer, on the answer's."""
        return resample(x, shape, periodic or [False] * len(shape))

    def as_field(self, tensor: Tensor) -> Tensor:
        """Channels first."""
        if tensor.dim() < 3:
            raise ValueError(
                expected("a field (B, C, n, ...) or (B, n, ..., C)", tuple(tensor.shape), "x[None]")
            )
        return tensor if self.channels == "first" else tensor.movedim(-1, 1)

    def input_of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
        """The input field among the arguments: the one called x, or the first that the module takes."""
        given, accepted = self._call(args, kwargs)
        bound = bound_to(signature_of(self.module), given, accepted)
        # A signature with * or ** binds tuples and dicts: what they hold comes last.
        for value in (bound.get("x"), accepted.get("x"), *bound.values(), *given, *accepted.values()):
            if isinstance(value, Tensor):
                return value
        raise ValueError(
            expected("an input tensor", f"{len(args)} positional arguments and {sorted(kwargs)}", "x=...")
        )

    def _call(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as the module takes them."""
        accepted = self.accepted(kwargs)
        if not args and "x" in kwargs and "x" not in accepted:
            args = (kwargs["x"],)  # a module of torch's, say, whose first parameter has another name
        return args, accepted

    def _split(self, answer: Any) -> tuple[Tensor, tuple[Any, ...] | None]:
        if isinstance(answer, Tensor):
            return answer, None
        raise TypeError(
            expected(
                "a base that returns a tensor",
                type(answer).__name__,
                "a callable around it that returns the field to refine",
            )
        )


class _Function(nn.Module):
    """A plain callable as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def real_among(kwargs: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of real numbers among keyword arguments; those of whole numbers are indices, say."""
    return {k: v for k, v in kwargs.items() if isinstance(v, Tensor) and v.is_floating_point()}


def bound_to(
    signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The arguments of a call by the names of a signature, which may want more."""
    try:
        return signature.bind_partial(*args, **kwargs).arguments
    except TypeError as error:
        wanted, got = f"arguments that fit {signature}, of the base", f"a call with {error}"
        raise TypeError(expected(wanted, got, "keywords")) from error


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside compiled, data-parallel and averaging wrappers, whose signatures say nothing."""
    inner = getattr(module, "_orig_mod", None)
    if inner is None and type(module).__module__.startswith("torch."):
        inner = getattr(module, "module", None)
    return unwrapped(inner) if isinstance(inner, nn.Module) else module


def signature_of(module: nn.Module) -> inspect.Signature:
    """The signature of the model itself."""
    module = unwrapped(module)
    call = module.function if isinstance(module, _Function) else module.forward
    try:
        if isinstance(call, MethodType) and call.__self__ is module:
            return _signature_of_method(call.__func__)
        return inspect.signature(call)
    except ValueError:  # functions and modules that are no Python (torch.sin, a traced model) have none
        return inspect.signature(lambda *args: args)


@lru_cache(maxsize=256)  # a rollout asks at every step, and this would be a fifth of all that it does there
def _signature_of_method(method: Callable[..., Any]) -> inspect.Signature:
    signature = inspect.signature(method)
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def stated_sizes(module: nn.Module) -> ModelSpec:
    """Channels and dimensions, as far as a module carries them as attributes."""
    module = unwrapped(module)
    own = getattr(module, "sizes", None)
    if isinstance(own, ModelSpec):  # a refiner, whose base and user agreed on them
        return own

    def number(name: str) -> int | None:
        value = getattr(module, name, None)
        return value if isinstance(value, int) else None

    return ModelSpec(number("in_channels"), number("out_channels"), number("dim") or _dimension(module))


def _dimension(module: nn.Module) -> int | None:
    parts = list(module.modules())
    stated = [n for n in (getattr(part, "n_dim", None) for part in parts) if isinstance(n, int)]
    # A kernel of one point is often a pointwise map of a flattened field, and says nothing.
    kernels = [len(p.kernel_size) for p in parts if isinstance(p, CONVOLUTIONS) and max(p.kernel_size) > 1]
    return next(iter([*stated, *kernels]), None)


def in_state_dtype(x: Tensor, h: Tensor) -> Tensor:
    """x as the correction gets it: in the precision of h, unless it holds no real numbers."""
    return x.to(h.dtype) if x.is_floating_point() else x
