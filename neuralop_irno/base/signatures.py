"""Signatures of models, also inside wrappers, and the arguments of a call by their names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from types import MethodType
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from neuralop_irno._neuralop import UQNO
from neuralop_irno.errors import expected


class FunctionModule(nn.Module):
    """A plain callable as a module. A `partial` of a module, or a method of one, has the weights of that."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        called = function.func if isinstance(function, partial) else getattr(function, "__self__", None)
        if isinstance(called, nn.Module):
            self.network = called

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside compiled, data-parallel and averaging wrappers, whose signatures are generic."""
    inner = getattr(module, "_orig_mod", None)
    if inner is None and type(module).__module__.startswith("torch."):
        inner = getattr(module, "module", None)
    return unwrapped(inner) if isinstance(inner, nn.Module) else module


def signature_of(module: nn.Module) -> inspect.Signature:
    """The signature of the model itself."""
    module = unwrapped(module)
    if isinstance(module, UQNO):  # its own signature is (*args, **kwargs)
        return signature_of(module.base_model)
    call = module.function if isinstance(module, FunctionModule) else module.forward
    if isinstance(call, partial) and isinstance(call.func, nn.Module):  # whose own call is generic
        call = partial(unwrapped(call.func).forward, *call.args, **call.keywords)
    try:
        if isinstance(call, MethodType) and call.__self__ is module:
            return _signature_of_method(call.__func__)
        return _signature_of_function(call)
    except ValueError:  # torch.sin or a traced model have no Python signature
        return inspect.signature(lambda *args: args)


def _signature_of_function(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return _SIGNATURES[function]
    except (KeyError, TypeError):  # new, or without weak references, as functions in C
        signature = inspect.signature(function)
    with suppress(TypeError):
        _SIGNATURES[function] = signature
    return signature


_SIGNATURES: WeakKeyDictionary[Callable[..., Any], inspect.Signature] = WeakKeyDictionary()


@lru_cache(maxsize=256)  # read at every step of a rollout: uncached it takes a fifth of the time
def _signature_of_method(method: Callable[..., Any]) -> inspect.Signature:
    signature = inspect.signature(method)
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def bound_to(
    signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The arguments of a call by the names of a signature; required ones may be missing."""
    try:
        return signature.bind_partial(*args, **kwargs).arguments
    except TypeError as error:
        wanted, got = f"arguments that fit {signature}, of the base", f"a call with {error}"
        raise TypeError(expected(wanted, got, "keyword arguments")) from error


def floating_point_among(kwargs: Mapping[str, Any]) -> dict[str, Tensor]:
    """The floating-point tensors among keyword arguments."""
    return {k: v for k, v in kwargs.items() if isinstance(v, Tensor) and v.is_floating_point()}
