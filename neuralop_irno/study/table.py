"""The table of a study: means over seeds, with confidence intervals."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from scipy.special import stdtrit

from neuralop_irno.errors import from_extra
from neuralop_irno.study.plan import Study
from neuralop_irno.study.record import Record

CONFIDENCE = 0.95

KEY = ("problem", "base", "variant")
"""The columns that name a trained model."""


class Mean(NamedTuple):
    """A mean over seeds.

    Attributes:
        mean: mean of the values.
        half: half the width of Student's interval; None for a single seed.
        seeds: number of seeds.
    """

    mean: float
    half: float | None
    seeds: int

    def __str__(self) -> str:
        return f"{self.mean:.4g}" if self.half is None else f"{self.mean:.4g} ± {self.half:.2g}"


def mean_of(values: Sequence[float]) -> Mean:
    r"""The mean and its 95 % interval, for normally distributed values:

    .. math:: \bar x \pm t_{0.975,\, n-1} \frac{s}{\sqrt n}

    Example:
        >>> print(mean_of([1.0, 2.0, 3.0]))  # t is 4.30
        2 ± 2.5
        >>> print(mean_of([1.0]))
        1
    """
    count = len(values)
    mean = math.fsum(values) / count
    if count == 1:
        return Mean(mean, None, 1)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    quantile = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2))
    return Mean(mean, quantile * math.sqrt(variance / count), count)


@dataclass(frozen=True)
class Table:
    """The results of a study.

    Attributes:
        study: its name.
        about: its description in one sentence.
        results: one row per problem, base, variant and place of measurement; only numbers that do not
            depend on the machine's speed.
        costs: one row per problem, base and variant.
        notes: warnings about single runs.
        machines: machines of the runs.
    """

    study: str
    about: str
    results: list[dict[str, Any]]
    costs: list[dict[str, Any]]
    notes: list[str]
    machines: list[str]

    def __str__(self) -> str:
        return self._in(as_text)

    def markdown(self) -> str:
        """The table in Markdown."""
        return self._in(as_markdown)

    def rows(self) -> list[dict[str, Any]]:
        """One flat row for each row of ``results``, beside the costs of its model.

        A mean over seeds becomes three numbers: its value, ``NAME half`` (half the width of the 95 %
        interval) and ``NAME seeds``. Where a value is missing or not finite they are None.

        Example:
            >>> key = {"problem": "burgers", "base": "fno", "variant": "refined"}
            >>> results = [{**key, "at": "", "error": mean_of([0.25])}, {**key, "at": "2x", "error": ""}]
            >>> table = Table("main", "", results, [{**key, "updates": 9}], [], [])
            >>> print(table.csv(), end="")
            problem,base,variant,at,error,error half,error seeds,updates
            burgers,fno,refined,,0.25,,1,9
            burgers,fno,refined,2x,,,,9
        """
        costs = {tuple(row[name] for name in KEY): row for row in self.costs}
        joined = [{**row, **costs.get(tuple(row[name] for name in KEY), {})} for row in self.results]
        means = {name for row in joined for name, value in row.items() if isinstance(value, Mean)}
        return [_flat(row, means) for row in joined]

    def csv(self) -> str:
        """`rows` as comma-separated values with a header, in full precision; this is ``table.csv``."""
        return as_csv(self.rows())

    def frame(self) -> Any:
        """`rows` as a data frame of pandas, which ``pip install 'neuralop_irno[pandas]'`` installs."""
        return as_frame(self.rows())

    def to_plain(self) -> dict[str, Any]:
        """Plain data; a mean is a mapping with keys mean, half and seeds."""

        def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [
                {name: v._asdict() if isinstance(v, Mean) else v for name, v in row.items()} for row in rows
            ]

        return {**vars(self), "results": plain(self.results), "costs": plain(self.costs)}

    def _in(self, layout: Any) -> str:
        parts = [f"{self.study}: {self.about}", layout(self.results), layout(self.costs), *self.notes]
        return "\n\n".join([*parts, "Machine: " + "; ".join(self.machines)]) + "\n"


def table_of(study: Study, records: Iterable[Record]) -> Table:
    """The table of the finished runs."""
    known = list(records)
    results, costs = [], []
    for (problem, base, variant), group in _grouped(known).items():
        key = {"problem": problem, "base": base, "variant": variant}
        for at in dict.fromkeys(at for record in group for at in record.measured):
            columns: dict[str, list[float | None]] = {}
            for record in group:
                for column, value in record.measured.get(at, {}).items():
                    columns.setdefault(column, []).append(value)
            results.append({**key, "at": at, **{name: _mean(values) for name, values in columns.items()}})
        seconds = _mean([record.seconds for record in group if record.seconds is not None])
        figures = {
            "parameters": max(record.parameters for record in group),
            "MFLOP": max(record.megaflops for record in group),
            "updates": group[0].updates,
            "seconds": seconds,
            "training MiB": _largest(record.training_mib for record in group),
            "answer MiB": _largest(record.answer_mib for record in group),
        }
        costs.append({**key, **figures})
    notes = [f"{r.problem}, {r.base}, {r.variant}, seed {r.seed}: {note}" for r in known for note in r.notes]
    machines = [", ".join(f"{name} {value}" for name, value in record.machine.items()) for record in known]
    return Table(study.name, study.about, results, costs, notes, sorted(set(machines)))


def _grouped(records: list[Record]) -> dict[tuple[str, str, str], list[Record]]:
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record.problem, record.base, record.variant), []).append(record)
    return groups


def _mean(values: Sequence[float | None]) -> Mean | str:
    """The mean over the seeds; a message instead if any value is not finite."""
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values):
        return f"{len(values) - len(numbers)} of {len(values)} not finite"
    return mean_of(numbers) if numbers else ""


def _largest(values: Iterable[float | None]) -> float | str:
    """The maximum over the seeds (memory differs only with random graphs); empty if nothing was measured."""
    known = [value for value in values if value is not None]
    return max(known) if known else ""


def _cells(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Header and rows as strings; empty columns are left out."""
    columns = dict.fromkeys(name for row in rows for name in row)
    kept = [name for name in columns if any(str(row.get(name, "")) for row in rows)]
    body = [[_cell(row.get(name, "")) for name in kept] for row in rows]
    return [kept, *body]


def _cell(value: Any) -> str:
    """A value as a string."""
    return (
        f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)
    )


def _flat(row: dict[str, Any], means: Iterable[str]) -> dict[str, Any]:
    """A row with three numbers for each mean, and None for empty cells of costs."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if name in means:
            numbers = value if isinstance(value, Mean) else (None, None, None)
            flat |= dict(zip((name, f"{name} half", f"{name} seeds"), numbers, strict=True))
        else:
            flat[name] = None if value == "" and name not in (*KEY, "at") else value
    return flat


def as_csv(rows: list[dict[str, Any]]) -> str:
    """Rows as comma-separated values; columns are those of all rows, and None is an empty cell."""
    text = io.StringIO()
    columns = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_frame(rows: list[dict[str, Any]]) -> Any:
    """Rows as a data frame of pandas; cells that are missing are NaN."""
    with from_extra("pandas for data frames", "pandas"):
        import pandas
    return pandas.DataFrame(rows)


def as_text(rows: list[dict[str, Any]]) -> str:
    """Rows as a table in plain text."""
    cells = _cells(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)) for line in cells]
    return "\n".join(line.rstrip() for line in lines)


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """Rows as a table in Markdown."""
    header, *body = _cells(rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, ["---"] * len(header), *body])
