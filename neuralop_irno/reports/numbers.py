"""Numbers as the text and the sorting key of a cell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from neuralop_irno import quantiles
from neuralop_irno.study.table import Mean

NOT_FINITE = "not finite"


def shown(value: Any) -> str:
    """A value as text, as in the printed tables: four digits, means with their intervals.

    Example:
        >>> shown(12345), shown(0.123456), shown({"mean": 2.0, "half": 0.5, "seeds": 3})
        ('12,345', '0.1235', '2 ± 0.5')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if is_mean(value):
        return str(Mean(**value))
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return NOT_FINITE if math.isnan(value) else f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(shown, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(part)}" for name, part in value.items())
    return str(value)


def key_of(value: Any) -> float | None:
    """The number by which a cell is sorted; None if it is text."""
    if is_mean(value):
        value = value["mean"]
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value)
    return None


def is_mean(value: Any) -> bool:
    """Whether a value is a mean over seeds in plain data; see `neuralop_irno.study.table.Table.to_plain`."""
    return isinstance(value, Mapping) and value.keys() == set(Mean._fields)


def finite(values: Iterable[float | None]) -> list[float]:
    """The finite ones."""
    return [value for value in values if value is not None and math.isfinite(value)]


def mean(values: Iterable[float | None]) -> float:
    """The mean of the finite values; nan without any."""
    known = finite(values)
    return math.fsum(known) / len(known) if known else math.nan


def quantile(values: Iterable[float | None], share: float) -> float:
    """A quantile of the finite values; nan without any. See `neuralop_irno.quantiles.quantile`.

    Example:
        >>> quantile([3.0, 1.0, None, 2.0], 0.5), quantile([0.0, 1.0], 0.25)
        (2.0, 0.25)
    """
    return quantiles.quantile(torch.tensor(finite(values), dtype=torch.float64), share).item()
