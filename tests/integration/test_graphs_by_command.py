"""Graphs through the commands: trained, calibrated, diagnosed, and solved with an error estimate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from irno_cli.main import main
from neuralop_irno.training.run import read_run
from neuralop_irno.yaml_files import written

CONFIG = {
    "data": {"name": "waves", "samples": [2, 1, 4], "spacing": 0.4},
    "model": {
        "base": {"model_arch": "rigno", "width": 4, "steps": 1, "time": False},
        "correction": {"name": "meshgraph", "width": 4, "steps": 1},
        "steps": 2,
    },
    "training": {"epochs": 1},
}


def test_a_refiner_on_graphs_is_trained_calibrated_and_diagnosed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, run = tmp_path / "c.yaml", tmp_path / "run"
    config.write_bytes(written(CONFIG))
    assert main(["train", str(config), "--folder", str(run), "--json"]) == 0
    capsys.readouterr()
    options = ["--calibrate", "--coverage", "0.5", "--samples", "1", "--steps", "3", "--iterations", "3"]
    assert main(["diagnose", str(run), *options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["contraction"]["factor"]) == 1
    assert (run / "diagnosis/diagnosis.json").exists()

    experiment, refiner = read_run(run)
    assert (refiner.calibration.coverage, refiner.calibration.samples) == (0.5, 2)  # half of the test set
    solution = refiner.solve(experiment.splits()["test"][0], rtol=1e-2, max_steps=3)
    assert solution.error_estimate.shape == (1,)
