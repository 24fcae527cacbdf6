"""Checks that fields have the precision and the device of a module's weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno.errors import expected


def at_least_float32(field: Tensor) -> Tensor:
    """The field in float32 or better, the precision of the iteration's state for any base."""
    return field.to(torch.promote_types(field.dtype, torch.float32))


def most_precise(device: torch.device) -> torch.dtype:
    """The real numbers of the highest precision that a device has."""
    return torch.float32 if device.type == "mps" else torch.float64


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Inside of it nothing is lowered; devices without autocast, such as ``meta``, are left as they are.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16), without_autocast(torch.device("cpu")):
        ...     (torch.ones(1, 1) @ torch.ones(1, 1)).dtype
        torch.float32
    """
    available = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if available else nullcontext()


GEOMETRY = frozenset({"pos", "measure", "lengths", "period", "edge_attr", "edge_weight"})
"""Arguments that describe a domain, which is built in their own precision."""


def lowered(
    args: Sequence[Any], kwargs: Mapping[str, Any], module: nn.Module
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call with fields in float32 in place of float64, for a module with such weights.

    Data sets from files in double precision have such fields. Graphs are copied; `GEOMETRY` is not changed.

    Example:
        >>> lowered((torch.zeros(1, dtype=torch.float64),), {"t": 1.0}, nn.Linear(1, 1))
        ((tensor([0.]),), {'t': 1.0})
    """
    parts = [*args, *kwargs.values()]
    if not any(map(_is_double, parts)) or _dtype_of(module) != torch.float32:
        return tuple(args), dict(kwargs)
    named = {name: part if name in GEOMETRY else _in_single(part) for name, part in kwargs.items()}
    return tuple(map(_in_single, args)), named


def for_weights(sample: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """A sample of a data set, in the precision of a model's weights; see `lowered`.

    A model with units is given it as it is: it scales fields before it rounds them.
    """
    return dict(sample) if getattr(model, "units", None) is not None else lowered((), sample, model)[1]


def in_precision_of(field: Tensor, module: nn.Module) -> Tensor:
    """The field, in float32 in place of float64 for a module with such weights; see `lowered`."""
    return lowered((field,), {}, module)[0][0]


def _is_double(part: Any) -> bool:
    if isinstance(part, Tensor):
        return part.dtype == torch.float64
    stores = [part] if isinstance(part, dict) else getattr(part, "stores", [])
    return any(_is_double(value) for store in stores for value in store.values())


def _in_single(part: Any) -> Any:
    """A tensor, or a graph of PyTorch Geometric, in float32 in place of float64."""
    if isinstance(part, Tensor):
        return part.float() if part.dtype == torch.float64 else part
    if not hasattr(part, "stores") or not _is_double(part):
        return part
    graph = copy.copy(part)
    for store in graph.stores:
        for name, value in list(store.items()):
            if isinstance(value, Tensor) and name not in GEOMETRY:
                store[name] = _in_single(value)
    return graph


def rounding(dtype: torch.dtype) -> float:
    """The deviation of a field, relative to its size, up to which rounding explains it.

    In double precision this is more than the rounding of one number: a constant that was computed has the
    rounding of some thousand operations.

    Example:
        >>> f"{rounding(torch.float32):.2g}, {rounding(torch.float64):.2g}"
        '1.2e-07, 9.1e-13'
    """
    return min(torch.finfo(torch.float32).eps, 4096 * torch.finfo(dtype).eps)


FLOAT32_ALONE = ("GINO", "FNOGNO", "SGFormer")
"""Networks that create float32 tensors inside and fail in float64."""


def explain_failure(module: nn.Module, fields: Mapping[str, Tensor], owner: str) -> None:
    """Raise an error if a device or a precision made a module fail; arguments as in `require_dtype`."""
    devices = {str(p.device) for p in module.parameters()}
    for name, field in fields.items():
        if len(devices) == 1 and str(field.device) not in devices:
            device = devices.pop()
            wanted = f"{name} on {device}, as the weights of the {owner}"
            raise ValueError(
                expected(wanted, field.device, f"all fields on {device}, or model.to({str(field.device)!r})")
            )
    require_dtype(module, fields, owner)
    names = {type(part).__name__ for part in module.modules()}
    alone = next((name for name in FLOAT32_ALONE if name in names), None)
    if alone is not None and any(field.dtype == torch.float64 for field in fields.values()):
        wanted = f"fields in torch.float32 for {alone}, the {owner}, which has layers in float32 only"
        raise TypeError(expected(wanted, torch.float64, "model.float()"))


def require_dtype(module: nn.Module, fields: Mapping[str, Tensor], owner: str) -> None:
    """Raise TypeError for fields in another precision than a module's weights.

    Call it only for modules that take one precision, or after a failure: some modules take several.

    Args:
        module: the module. Nothing is checked under autocast, or if its weights have several precisions.
        fields: the tensors of the call, by name.
        owner: the role of the module in the refiner (base, correction), for the message.
    """
    wanted = _dtype_of(module)
    for name, field in fields.items():
        if wanted in (None, field.dtype) or torch.is_autocast_enabled(field.device.type):
            continue
        move = {torch.float64: "double", torch.float32: "float"}.get(field.dtype)
        others = f", or model.{move}()" if move else ""
        raise TypeError(
            expected(
                f"{name} in {wanted}, as the weights of the {owner}",
                field.dtype,
                f"all fields in {wanted}{others}",
            )
        )


def _dtype_of(module: nn.Module) -> torch.dtype | None:
    weights = [p for p in module.parameters() if p.is_floating_point() or p.is_complex()]
    kinds = {p.dtype.to_real() for p in weights}
    return kinds.pop() if len(kinds) == 1 else None
