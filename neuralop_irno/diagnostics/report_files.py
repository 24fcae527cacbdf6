"""Reports as plain data and as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from neuralop_irno.checkpoint import write_bytes, write_json


class Report(Protocol):
    """A report that is printed as a table and written as plain data."""

    def to_plain(self) -> dict[str, Any]:
        """The report as plain data."""


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


def write_report(report: Report, folder: Path, name: str) -> None:
    """Write ``{name}.json`` with all numbers, and ``{name}.txt`` with what is printed."""
    write_json(folder / f"{name}.json", report.to_plain())
    write_bytes(folder / f"{name}.txt", f"{report}\n".encode())
