"""What is kept of one run: a JSON file, whole or absent."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from neuralop_irno import sealed
from neuralop_irno.errors import expected


@dataclass(frozen=True)
class Record:
    """One finished run.

    Attributes:
        problem: its name.
        base: its name.
        variant: its name.
        seed: of weights and batches.
        measured: where something was measured, and there a number for each column; None for what is not
            finite.
        parameters: trained.
        megaflops: of one answer; of a refiner, on top of its base.
        updates: of the optimizer.
        notes: what whoever reads the table has to know: a base that is broken, a training that diverged.
        seconds: of training; None where it was interrupted, or loaded.
        training_mib: the memory of an update; None where nothing was trained.
        answer_mib: that of one answer to one sample.
        machine: which it ran on.
    """

    problem: str
    base: str
    variant: str
    seed: int
    measured: dict[str, dict[str, float | None]]
    parameters: int
    megaflops: float
    updates: int
    notes: list[str]
    seconds: float | None
    training_mib: float | None
    answer_mib: float
    machine: dict[str, Any]


def write(path: Path, record: Record) -> None:
    """Write a record, with its format and digest; a reader sees all of it or nothing."""
    sealed.write_json(path, asdict(record))


def read(path: Path) -> Record:
    """A record that `write` wrote.

    Raises:
        ValueError: the file is damaged, or holds something else; the error names it.
    """
    content = sealed.read_json(path)
    names = [field.name for field in fields(Record)]
    if content.keys() != set(names) or not isinstance(content["measured"], dict):
        got = f"the keys {', '.join(sorted(content)) or 'none'}"
        raise ValueError(expected(f"the record of a run in {path.name}", got, "removing it: it is run again"))
    return Record(**content)


def finite(measured: dict[str, dict[str, float]]) -> dict[str, dict[str, float | None]]:
    """JSON knows no infinity: what is not finite becomes None.

    Example:
        >>> finite({"k = 1": {"error": float("nan")}})
        {'k = 1': {'error': None}}
    """
    return {
        at: {column: value if math.isfinite(value) else None for column, value in row.items()}
        for at, row in measured.items()
    }
