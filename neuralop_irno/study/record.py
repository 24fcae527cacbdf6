"""The record of one run: a JSON file, written atomically."""

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
        seed: seed of weights and batches.
        measured: for each place of measurement, a number per column; None if it is not finite.
        parameters: number of trained parameters.
        megaflops: arithmetic of one forward pass; for a refiner, without its base.
        updates: updates of the optimizer.
        notes: warnings for the reader of the table, such as a defective base or a diverged training.
        seconds: training time; None if it was interrupted, or the model was loaded.
        training_mib: peak memory of an update; None if nothing was trained.
        answer_mib: peak memory of a forward pass on one sample.
        machine: the machine of the run.
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
    """Write a record atomically, with its format and digest."""
    sealed.write_json(path, asdict(record))


def read(path: Path) -> Record:
    """Read a record written by `write`.

    Raises:
        ValueError: the file is damaged, or is not a record; the error names the file.
    """
    content = sealed.read_json(path)
    names = [field.name for field in fields(Record)]
    if content.keys() != set(names) or not isinstance(content["measured"], dict):
        got = f"the keys {', '.join(sorted(content)) or 'none'}"
        raise ValueError(expected(f"the record of a run in {path.name}", got, "removing it: it is run again"))
    return Record(**content)


def finite(measured: dict[str, dict[str, float]]) -> dict[str, dict[str, float | None]]:
    """Replace non-finite numbers, which JSON cannot represent, by None.

    Example:
        >>> finite({"k = 1": {"error": float("nan")}})
        {'k = 1': {'error': None}}
    """
    return {
        at: {column: value if math.isfinite(value) else None for column, value in row.items()}
        for at, row in measured.items()
    }
