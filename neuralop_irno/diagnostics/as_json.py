"""Tensors as plain numbers."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def as_json(values: Tensor) -> Any:
    """Numbers for JSON, which has no infinity or nan: these become null.

    Example:
        >>> import torch
        >>> as_json(torch.tensor([[1.0, float("nan")], [float("inf"), 0.5]]))
        [[1.0, None], [None, 0.5]]
    """
    if not values.is_floating_point():
        return values.tolist()
    listed: Any = values.double().tolist()

    def clean(entry: Any) -> Any:
        if isinstance(entry, list):
            return [clean(part) for part in entry]
        return entry if abs(entry) < float("inf") else None

    return clean(listed)
