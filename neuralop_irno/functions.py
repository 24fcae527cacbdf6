"""Activation functions as plain data, so that configs with them can be written and read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.nn import functional

from neuralop_irno.errors import did_you_mean, expected

HOME = "torch.nn.functional"

NAMES = (
    "celu", "elu", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "logsigmoid",
    "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softshrink", "softsign", "tanh",
    "tanhshrink",
)  # fmt: skip
"""The functions that a config can contain; no others, so that reading a file imports nothing."""

ACTIVATIONS = {f"{HOME}.{name}": getattr(functional, name) for name in NAMES}


def described_function(part: object) -> dict[str, str] | None:
    """An activation function as plain data; None for any other object.

    Example:
        >>> described_function(functional.silu)
        {'function': 'torch.nn.functional.silu'}
    """
    # By identity: ``==`` with a tensor does not return a bool.
    found = [name for name, function in ACTIVATIONS.items() if function is part]
    return {"function": found[0]} if found else None


def with_functions(config: Any) -> Any:
    """A config with each ``{"function": name}`` replaced by the function.

    Example:
        >>> with_functions({"act": {"function": "torch.nn.functional.silu"}})["act"] is functional.silu
        True
    """
    if isinstance(config, Mapping):
        if set(config) == {"function"}:
            return _function(config["function"])
        return {key: with_functions(value) for key, value in config.items()}
    if isinstance(config, list):
        return [with_functions(value) for value in config]
    return config


def _function(name: Any) -> Any:
    if name not in ACTIVATIONS:
        raise ValueError(
            expected(f"the name of an activation in {HOME}", repr(name), did_you_mean(str(name), ACTIVATIONS))
        )
    return ACTIVATIONS[name]
