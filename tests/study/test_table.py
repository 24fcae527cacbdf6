"""The table of a study as comma-separated values and as a data frame: the numbers of its rows."""

import csv
import io
import math
from pathlib import Path
from typing import Any

import pandas
import pytest
from interpreters import fresh

from neuralop_irno.study.table import Mean, Table, mean_of

KEYS = [("burgers", "fno", "base"), ("burgers", "fno", "refined"), ("darcy, walls", "fno", "refined")]
ERRORS: list[Any] = [mean_of([0.1, 0.2, 0.4]), mean_of([1 / 3]), "1 of 2 not finite"]


def a_table() -> Table:
    """Two places of measurement, a single seed, a value that is not finite, and memory not measured."""
    keys = [dict(zip(("problem", "base", "variant"), key, strict=True)) for key in KEYS]
    results = [
        {**key, "at": at, "error": error}
        for key, error in zip(keys, ERRORS, strict=True)
        for at in ("", "2x")
    ]
    results[1]["high error"] = mean_of([0.7, 0.9])
    costs = [{**key, "parameters": 12, "seconds": mean_of([1.5, 2.5]), "answer MiB": ""} for key in keys]
    return Table("main", "About.", results, costs, ["a note"], ["CPU"])


def test_csv_has_every_number_in_full_precision() -> None:
    table = a_table()
    rows = list(csv.DictReader(io.StringIO(table.csv())))
    assert len(rows) == len(table.results) == 6
    for row, result in zip(rows, table.results, strict=True):
        assert all(row[name] == result[name] for name in ("problem", "base", "variant", "at"))
        assert (row["parameters"], row["answer MiB"]) == ("12", "")
        assert (float(row["seconds"]), row["seconds seeds"]) == (2.0, "2")
        for name in ("error", "high error"):
            mean = result.get(name)
            cells = [row[name], row[f"{name} half"], row[f"{name} seeds"]]
            numbers = mean if isinstance(mean, Mean) else (None, None, None)
            assert cells == ["" if number is None else repr(number) for number in numbers]


def test_a_frame_has_the_rows_of_the_csv() -> None:
    table = a_table()
    frame = table.frame()
    assert list(frame.columns) == table.csv().split("\n")[0].split(",")
    read = pandas.read_csv(io.StringIO(table.csv()), keep_default_na=False, na_values=[""])
    read["at"] = read["at"].fillna("")
    for name in frame.columns:
        for ours, theirs in zip(frame[name], read[name], strict=True):
            exact = ours == theirs or (pandas.isna(ours) and pandas.isna(theirs))
            assert exact or ours == pytest.approx(theirs, rel=1e-14), name
    assert frame["error"].dtype == float
    assert frame.groupby("variant")["error"].mean()["base"] == pytest.approx(0.7 / 3)
    assert math.isnan(frame["error"].iloc[-1])


def test_a_table_without_runs_is_empty() -> None:
    table = Table("main", "About.", [], [], [], [])
    assert table.csv() == "\n"
    assert table.frame().empty


def test_without_pandas_the_csv_is_written_and_a_frame_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "pandas.py").write_text("raise ImportError('absent')")
    code = """
from neuralop_irno.study.table import Table
table = Table("main", "About.", [{"problem": "p", "base": "b", "variant": "v", "at": ""}], [], [], [])
print(table.csv().splitlines()[1])
try:
    table.frame()
except ImportError as error:
    print(error)
"""
    done = fresh(code, path=[str(tmp_path)])
    assert done.returncode == 0, done.stderr
    said = "expected pandas for data frames, got none; try pip install 'neuralop_irno[pandas]'"
    assert done.stdout.splitlines() == ["p,b,v,", said]
