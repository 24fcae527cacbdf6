"""A correction trained to precondition by `irno train`, read back and solved with by `irno evaluate`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from irno_cli.main import main

CONFIG = Path(__file__).parents[2] / "examples" / "configs" / "preconditioner.yaml"


@pytest.mark.parametrize("solver", ["fcg", "fgmres", "newton_krylov"])
def test_a_trained_preconditioner_solves_to_the_tolerance(
    solver: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = yaml.safe_load(CONFIG.read_text())
    config["data"] = {"name": "burgers", "trajectories": [2, 1, 2], "frames": 3, "size": 16}
    config["model"]["correction"] |= {"n_modes": [4], "hidden_channels": 4, "n_layers": 1}
    config["training"] |= {"epochs": 1, "batch_size": 2, "precision": "float32"}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    run = str(tmp_path / "run")
    assert main(["train", str(tmp_path / "c.yaml"), "--folder", run]) == 0
    capsys.readouterr()
    options = ["--rtol", "1e-8", "--max-steps", "200", "--solver", solver]
    assert main(["evaluate", run, *options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["outcomes"] == {"converged": found["samples"]}
    assert found["equation_residual"] < 1e-8
    # A step of Newton has as many applications of the preconditioner as its linear system needs.
    steps = round(found["steps"]["mean"] * found["samples"])
    assert found["evaluations"] > steps if solver == "newton_krylov" else found["evaluations"] == steps
    assert main(["evaluate", run, *options]) == 0
    assert "residual of the equation, most: " in capsys.readouterr().out
