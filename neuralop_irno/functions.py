"""Activation functions as plain data, so that a config that holds one can be written and read."""

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
"""The functions that a config may name. A file can name no other: nothing is imported for it."""

ACTIVATIONS = {f"{HOME}.{name}": getattr(functional, name) for name in NAMES}


def described_function(part: object) -> dict[str, str] | None:
    """The plain data that stand for a function; None for anything else than a known activation.

    Example:
        >>> described_function(functional.silu)
        {'function': 'torch.nn.functional.silu'}
    """
    # By identity: an equal object may be a tensor, which has no single answer.
    found = [name for name, function in ACTIVATIONS.items() if function is part]
    return {"function": found[0]} if found else None


def with_functions(config: Any) -> Any:
    """A config in which the functions stand themselves, in place of what describes them.

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
