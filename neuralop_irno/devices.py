"""The device of a model, and samples on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def device_of(model: nn.Module) -> torch.device:
    """The device of a model's first parameter; the default device if it has none."""
    return next(model.parameters(), torch.zeros(())).device


def to_device(sample: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Move the tensors of a sample to a device; other values stay as they are.

    Example:
        >>> to_device({"x": torch.zeros(1), "name": "first"}, torch.device("meta"))
        {'x': tensor(..., device='meta', size=(1,)), 'name': 'first'}
    """
    return {name: part.to(device) if isinstance(part, Tensor) else part for name, part in sample.items()}
