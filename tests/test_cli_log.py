"""``irno train --log``: trackers by name."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
from test_cli import CONFIG, written

from irno_cli.main import main
from neuralop_irno.training.training_log import values_of

TINY = {**CONFIG, "base_training": {"epochs": 1, "batch_size": 4}, "training": {"epochs": 1, "batch_size": 4}}


def test_base_and_refiner_have_a_log_each_beside_their_history(tmp_path: Path) -> None:
    config, run = written(tmp_path / "c.yaml", TINY), tmp_path / "run"
    assert (
        main(["train", str(config), "--folder", str(run), "--json", "--log", "csv", "--log-every", "1"]) == 0
    )
    for folder in (run / "base", run):
        (record,) = json.loads((folder / "history.json").read_text())
        with (folder / "log.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [int(row["update"]) for row in rows] == [*range(1, record["update"] + 1), record["update"]]
        assert {name: float(rows[-1][name]) for name in values_of(record)} == values_of(record)
        assert not (folder / "pictures").exists()  # a CSV file has no place for them


@pytest.mark.parametrize(
    ("log", "refusal"),
    [
        (
            "tensorbord",
            "expected a reporter, got 'tensorbord'; try 'tensorboard' (the choices are csv, mlflow",
        ),
        (
            "tensorboard",
            "expected tensorboard for logs, got none; try pip install 'neuralop_irno[tensorboard]'",
        ),
        ("mlflow", "expected mlflow for logs, got none; try pip install 'neuralop_irno[mlflow]'"),
        ("csv,wandb", "expected wandb for logs, got none; try pip install wandb"),
    ],
)
def test_unknown_and_absent_trackers_are_refused_before_anything_is_written(
    log: str,
    refusal: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("tensorboard", "mlflow", "wandb"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    config = written(tmp_path / "c.yaml", TINY)
    assert main(["train", str(config), "--folder", str(tmp_path / "run"), "--log", log]) == 2
    assert refusal in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
