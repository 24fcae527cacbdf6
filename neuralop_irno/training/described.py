"""Descriptions of models and losses as plain data: equal descriptions train in the same way."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno import digest

PACKAGE = __name__.partition(".")[0]

BY_SHARD = {"forward", "_is_fsdp_managed_module", "_fsdp_use_orig_params"}
"""Attributes that `parallel.shard` and FSDP2 set: a sharded model is the same model."""

LEFT_OUT = {"training", "epoch", "spectrum_used", "parts", "cache", "resolution", "exact", *BY_SHARD}
"""Attributes that calls and data set, cache folders, and alpha beside its buffer: not in a description."""

DIGEST = re.compile("[0-9a-f]{64}")

FEW = 16
"""Tensors of up to this size are written out, larger ones as a digest."""


def described(thing: Any) -> Any:
    """Types, options, fixed numbers and the shapes of weights, recursively; not the weights themselves.

    Of a module these are its public attributes, its submodules, its weights as ``[dtype, shape]``, and the
    values of buffers that no state dict holds (a constant alpha, say).

    Example:
        >>> described(nn.Dropout(p=0.25))["p"]
        0.25
    """
    return _described(thing, ())


def differences(own: Any, stored: Any, path: str = "") -> Iterator[str]:
    """Where two descriptions differ, as ``path (own, not stored)``.

    Example:
        >>> list(differences({"steps": 3, "alpha": 1.0}, {"steps": 4, "alpha": 1.0}, "model"))
        ['model.steps (3, not 4)']
    """
    if isinstance(own, Mapping) and isinstance(stored, Mapping) and _class(own) == _class(stored):
        for key in (key for key in dict.fromkeys([*own, *stored]) if key != "type"):
            name = str(key).lstrip("_")
            yield from differences(own.get(key), stored.get(key), f"{path}.{name}" if path else name)
    elif own != stored and not (own != own and stored != stored):  # NaN is the same as NaN
        yield f"{path} ({_short(own)}, not {_short(stored)})"


def _class(part: Mapping[str, Any]) -> str | None:
    """The class of a described part; of this package's classes without the module, which may change."""
    name = part.get("type")
    if isinstance(name, str) and name.startswith(f"{PACKAGE}."):
        return f"{PACKAGE}.{name.rpartition('.')[2]}"
    return name


def _described(thing: Any, above: tuple[int, ...]) -> Any:
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    if id(thing) in above:  # a part that points back to its whole
        return type(thing).__qualname__
    above = (*above, id(thing))
    if isinstance(thing, (list, tuple)):
        return [_described(entry, above) for entry in thing]
    if isinstance(thing, (set, frozenset)):
        return sorted(str(entry) for entry in thing)
    if isinstance(thing, Mapping):
        return {str(key): _described(value, above) for key, value in thing.items()}
    if isinstance(thing, torch.dtype):
        return str(thing)
    if isinstance(thing, Enum):
        return thing.name
    if isinstance(thing, Tensor):
        return _numbers(thing)
    if isinstance(thing, (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)):
        return f"{thing.__module__}.{thing.__qualname__}"
    name = f"{type(thing).__module__}.{type(thing).__qualname__}"
    return {"type": name, **_attributes(thing, above), **_weights(thing)}


def _attributes(thing: Any, above: tuple[int, ...]) -> dict[str, Any]:
    """The options and parts of an object; of objects of other packages only public, plain options."""
    found = {}
    own = type(thing).__module__.partition(".")[0] == PACKAGE
    content = {**getattr(thing, "__dict__", {}), **getattr(thing, "_modules", {})}
    for key, value in content.items():
        private = key.startswith("_") and not (own and _plain(value))
        if key in LEFT_OUT or key in _OF_MODULES or (private and not _holds_modules(value)):
            continue
        if own or _plain(value) or _holds_modules(value) or callable(value):
            found[key] = _described(value, above)
    return found


def _weights(thing: Any) -> dict[str, Any]:
    """The weights of a module by dtype and shape, and its fixed buffers by value."""
    if not isinstance(thing, nn.Module):
        return {}
    found: dict[str, Any] = {}
    for key, value in [*thing.named_parameters(recurse=False), *thing.named_buffers(recurse=False)]:
        fixed = key in thing._non_persistent_buffers_set
        found[key] = _numbers(value) if fixed else [str(value.dtype), list(value.shape)]
    return found


_OF_MODULES = frozenset(vars(nn.Module()))
"""Attributes that torch keeps in every module; submodules and weights are read separately."""


def _plain(value: Any) -> bool:
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(_plain(entry) for entry in value)
    return value is None or isinstance(value, (bool, int, float, str, torch.dtype, Enum))


def _holds_modules(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(isinstance(entry, nn.Module) for entry in value.values())
    if isinstance(value, (list, tuple)):
        return any(isinstance(entry, nn.Module) for entry in value)
    return isinstance(value, nn.Module)


def _numbers(tensor: Tensor) -> Any:
    return tensor.tolist() if tensor.numel() <= FEW else digest.of_tensors({"": tensor})


def _short(value: Any) -> str:
    if isinstance(value, Mapping) and "type" in value:
        return str(value["type"]).rpartition(".")[2]
    word = str(value)
    if DIGEST.fullmatch(word):
        return f"{word[:8]}.."
    return word if len(word) <= 60 else f"{word[:57]}..."
