"""The device of a model, and arrays and samples on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map


def device_of(model: nn.Module) -> torch.device:
    """The device of a model's first parameter; the default device if it has none."""
    return next(model.parameters(), torch.zeros(())).device


def to_device(sample: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Move the tensors of a sample to a device, also those in tuples, lists and dicts.

    Other values stay as they are.

    Example:
        >>> to_device({"x": torch.zeros(1), "name": "first"}, torch.device("meta"))
        {'x': tensor(..., device='meta', size=(1,)), 'name': 'first'}
    """

    def moved(part: Any) -> Any:
        if isinstance(part, Tensor) and device.type == "mps" and part.dtype == torch.float64:
            part = part.float()  # all that this device has
        # Pinned memory is copied to a GPU while the program goes on; its kernels wait for the copy.
        return part.to(device, non_blocking=device.type == "cuda") if isinstance(part, Tensor) else part

    return {name: tree_map(moved, part) for name, part in sample.items()}


def as_tensor(value: Any, model: Any) -> Any:
    """A numpy array as a tensor on the device of a model; other values as they are.

    Real numbers are converted to the precision of the model's weights.

    Example:
        >>> as_tensor(np.array([0.5]), nn.Linear(1, 1)), as_tensor(3, nn.Linear(1, 1))
        (tensor([0.5000]), 3)
    """
    if not isinstance(value, np.ndarray):
        return value
    weights = list(model.parameters()) if isinstance(model, nn.Module) else []
    # A copy, since torch takes neither negative strides nor the byte order of other machines.
    tensor = torch.from_numpy(np.array(value, value.dtype.newbyteorder("="), order="C"))
    real = [weight.dtype for weight in weights if weight.is_floating_point()]
    dtype = real[0] if real and tensor.is_floating_point() else tensor.dtype
    return tensor.to(weights[0].device if weights else tensor.device, dtype)


def as_tensors(fields: Any, model: Any) -> Any:
    """A field, or a tuple, list or dict of fields, with tensors in place of numpy arrays; see `as_tensor`.

    Example:
        >>> as_tensors({"u": np.array([0.5]), "p": None}, nn.Linear(1, 1))
        {'u': tensor([0.5000]), 'p': None}
    """
    several = isinstance(fields, (tuple, list, dict))
    return tree_map(lambda part: as_tensor(part, model), fields) if several else as_tensor(fields, model)


def call_in_tensors(
    args: Sequence[Any], kwargs: Mapping[str, Any], model: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call with tensors in place of numpy arrays; see `as_tensor`."""
    named = {name: as_tensor(value, model) for name, value in kwargs.items()}
    return tuple(as_tensor(value, model) for value in args), named
