"""Printed forms of parts: the call that builds them."""

from __future__ import annotations

from inspect import Parameter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.registry import parameters_of

MOST_NUMBERS = 16
"""The largest number of values of a tensor or array that is printed; of larger ones the shape is."""

NONE_GIVEN: dict[Any, Any] = {Parameter.VAR_POSITIONAL: (), Parameter.VAR_KEYWORD: {}}
"""The values of ``*args`` and ``**kwargs`` that are not given."""


class PrintedAsCall:
    """A mixin, before ``nn.Module``, that prints an object as the call that builds it.

    Each parameter of the constructor is read from the attribute of the same name; those at their defaults
    are left out. Of large tensors and arrays only the shape is printed.

    Example:
        >>> from neuralop_irno.solver.anderson import Anderson
        >>> Anderson(memory=3)
        Anderson(alpha=1.0, memory=3)
    """

    def __repr__(self) -> str:
        given = []
        for parameter in parameters_of(type(self)).values():
            default = NONE_GIVEN.get(parameter.kind, parameter.default)
            value = getattr(self, parameter.name, default)
            if _differs(value, default):
                given.append(f"{parameter.name}={printed(value)}")
        return f"{type(self).__name__}({', '.join(given)})"


def printed(value: Any) -> str:
    """A value as text, with large tensors and arrays, also inside containers, by their shape.

    Example:
        >>> import torch
        >>> printed([torch.tensor([0.2, 1.0]), torch.zeros(5, 5)]), printed("unet")
        ('[[0.2, 1.0], Tensor(5, 5)]', "'unet'")
    """
    if isinstance(value, (Tensor, np.ndarray)):
        numbers = value.numel() if isinstance(value, Tensor) else value.size
        if numbers > MOST_NUMBERS or getattr(value, "is_meta", False):
            return f"{type(value).__name__}({', '.join(map(str, value.shape))})"
        return repr(plain_numbers(value) if isinstance(value, Tensor) else value.tolist())
    if type(value) in (list, tuple):
        inside = ", ".join(map(printed, value))
        return f"[{inside}]" if type(value) is list else f"({inside}{',' * (len(value) == 1)})"
    if type(value) is dict:
        return "{" + ", ".join(f"{key!r}: {printed(entry)}" for key, entry in value.items()) + "}"
    return repr(value)


def plain_numbers(value: Any) -> Any:
    """A tensor as numbers, each with the fewest digits that give it again; other values unchanged.

    Example:
        >>> import torch
        >>> plain_numbers(torch.tensor([0.2, 1.0])), plain_numbers("unet")
        ([0.2, 1.0], 'unet')
    """
    if not isinstance(value, Tensor):
        return value
    value = value.detach().cpu()
    value = value.to_dense() if value.layout is not torch.strided else value
    if value.dim():
        return [plain_numbers(entry) for entry in value]
    if value.dtype in (torch.float16, torch.float32):
        return float(str(value.numpy()))
    # The others are Python numbers exactly, or (bfloat16) unknown to numpy.
    return value.item()


def _differs(value: Any, default: Any) -> bool:
    if value is default:
        return False
    try:
        return bool(value != default)
    except (ValueError, TypeError, RuntimeError):  # arrays and tensors compare element by element
        return printed(value) != printed(default)
