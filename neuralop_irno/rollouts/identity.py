"""Digests of the model and options of a rollout: a file is continued only with equal ones."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neuralop_irno import digest
from neuralop_irno.checkpoint import tensors_only

ADDRESS = re.compile(r" at 0x[0-9a-f]+")
INTERNAL = frozenset(vars(nn.Module())) - {"training"}
"""Attributes that PyTorch keeps in every module."""

PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)


def digests(parts: Mapping[str, Any]) -> dict[str, str]:
    """The digest of each part.

    Tensors, numbers, dataclasses and containers are digested by content, modules by class,
    structure, mode and state dict, functions by name, code and the numbers, tensors,
    modules and functions in their closure, other objects by class and attributes of these
    types. Lists and dicts in functions and objects are left out: they may be logs.

    Example:
        >>> digests({"steps": 2})["steps"] == digests({"steps": 2.0})["steps"]
        False
    """
    return {name: digest.of_json(_described(part, ())) for name, part in parts.items()}


def _described(value: Any, within: tuple[int, ...]) -> Any:
    """A value as plain data, equal for equal values."""
    if isinstance(value, PLAIN):
        return repr(value)
    if id(value) in within:
        return "itself"
    inside = (*within, id(value))
    if isinstance(value, Tensor):
        return digest.of_tensors({"": value})
    if isinstance(value, np.ndarray | np.generic):
        return digest.of_tensors({"": torch.from_numpy(np.asarray(value).copy())})
    if isinstance(value, nn.Module):
        return _module(value, inside)
    if isinstance(value, Mapping):
        return [[str(key), _described(value[key], inside)] for key in value]
    if isinstance(value, list | tuple | range):
        return [_described(each, inside) for each in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        held = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return [_name(type(value)), _described(held, inside)]
    if isinstance(value, MethodType):
        return [_name(value.__func__), _described(value.__self__, inside)]
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if _filled(cell)]
        kept = [each for each in (*cells, *(value.__defaults__ or ())) if _lasts(each)]
        return [_name(value), _code(value.__code__), _described(kept, inside)]
    if hasattr(value, "to_dict"):  # a graph
        return [_name(type(value)), _described(value.to_dict(), inside)]
    attributes = getattr(value, "__dict__", {}) if not isinstance(value, type) else {}
    held = {name: each for name, each in sorted(attributes.items()) if _lasts(each)}
    return [_name(value if isinstance(value, type) else type(value)), _described(held, inside)]


def _module(module: nn.Module, within: tuple[int, ...]) -> Any:
    parts = []
    for name, part in module.named_modules():
        held = {
            key: _described(value, within)
            for key, value in sorted(vars(part).items())
            # Private numbers may be caches and counters; private functions are part of the computation.
            if key not in INTERNAL and (callable(value) or not key.startswith("_")) and _lasts(value)
        }
        config = ADDRESS.sub("", f"{getattr(part, 'config', '')} {part.extra_repr()}")
        parts.append([name, _name(type(part)), part.training, config, held])
    return [parts, digest.of_tensors(tensors_only(module.state_dict()))]


def _lasts(value: Any) -> bool:
    """Whether a value that a function or an object holds is part of what it computes."""
    kinds = (*PLAIN, Tensor, np.ndarray, np.generic, nn.Module, FunctionType, MethodType, tuple)
    return isinstance(value, kinds) or dataclasses.is_dataclass(value)


def _filled(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:  # a variable that has no value yet
        return False
    return True


def _code(code: CodeType) -> Any:
    constants = [_code(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts]
    return [code.co_code.hex(), constants, list(code.co_names)]


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"
