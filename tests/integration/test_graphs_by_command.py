"""Graphs through the commands: trained, checked, calibrated, diagnosed, and answered with error estimates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import meshio
import numpy as np
import pytest

from irno_cli.main import main
from neuralop_irno import read_mesh
from neuralop_irno.data.mesh import random_holes, square_with_holes
from neuralop_irno.training.run import read_run
from neuralop_irno.yaml_files import written

GENERATED = {"samples": [2, 1, 4], "spacing": 0.4}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "waves": (
        {"name": "waves", **GENERATED},
        {"model_arch": "rigno", "width": 4, "steps": 1, "time": False},
    ),
    "heat in wind": (
        {"name": "advection_diffusion", **GENERATED},
        {"model_arch": "gnn_stack", "width": 4, "layers": 2},
    ),
    "own meshes": (
        {"name": "mesh_files", "train": "plate_*.vtu", "split": [2, 1, 4], "x": ["T"], "y": ["q"]},
        {"model_arch": "gnn_stack", "width": 4, "layers": 2},
    ),
}


def plates(folder: Path) -> None:
    """Squares with holes, a mesh for each, with two fields."""
    for number in range(7):
        mesh = square_with_holes(0.4, random_holes(number, number))
        points = np.pad(mesh.pos, ((0, 0), (0, 1)))
        fields = {"T": np.sin(number + points[:, 0]), "q": points[:, 1] * number}
        meshio.Mesh(points, [("triangle", mesh.triangles)], fields).write(folder / f"plate_{number}.vtu")


@pytest.mark.parametrize(("data", "base"), CASES.values(), ids=CASES)
def test_a_refiner_on_graphs_is_trained_checked_calibrated_and_diagnosed(
    data: dict[str, Any], base: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plates(tmp_path)
    config, run = tmp_path / "c.yaml", str(tmp_path / "run")
    if "train" in data:
        data = {**data, "train": str(tmp_path / data["train"])}
    correction = {"name": "meshgraph", "width": 4, "steps": 1}
    model = {"base": base, "correction": correction, "steps": 2}
    config.write_bytes(written({"data": data, "model": model, "training": {"epochs": 1}}))
    assert main(["train", str(config), "--folder", run, "--json"]) == 0
    assert main(["check", run, "--json"]) == 0
    capsys.readouterr()
    options = ["--calibrate", "--coverage", "0.5", "--samples", "1", "--steps", "3", "--iterations", "3"]
    assert main(["diagnose", run, *options, "--share", "0.8", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["contraction"]["factor"]) == 1
    assert 0 <= found["observed_band_coverage"] <= 1
    assert found["band_width"] > 0
    assert (tmp_path / "run/diagnosis/diagnosis.json").exists()
    assert "with probability 50% or more" in (tmp_path / "run/diagnosis/diagnosis.txt").read_text()

    experiment, refiner = read_run(tmp_path / "run")
    assert (refiner.calibration.coverage, refiner.calibration.samples) == (0.5, 2)  # half of the test set
    assert (refiner.bands.coverage, refiner.bands.share, refiner.bands.samples) == (0.5, 0.8, 2)
    solution = refiner.solve(experiment.splits()["test"][0], rtol=1e-2, max_steps=3)
    assert solution.error_estimate.shape == (1,)
    assert solution.error_band.shape == solution.value.shape
    if "train" in data:
        to = tmp_path / "answer.vtu"
        assert main(["predict", run, str(tmp_path / "plate_6.vtu"), "--to", str(to), "--json"]) == 0
        fields = read_mesh(to).fields
        assert fields["q"].shape == fields["q_error"].shape
        assert (fields["q_error"] > 0).all()


def test_a_share_without_a_calibration_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(tmp_path), "--share", "0.9"]) != 0
    assert "expected --share beside --calibrate, got --share alone" in capsys.readouterr().err
