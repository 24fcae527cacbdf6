"""`irno train c.yaml section.option=value`."""

import json
from pathlib import Path

import pytest
from test_cli import CONFIG, written

from irno_cli.main import main
from neuralop_irno.yaml_files import read_yaml

Capsys = pytest.CaptureFixture[str]

OVERRIDES = ["training.epochs=1", "model.steps=[1, 3]", "model.correction.width=2"]


def test_overrides_stand_anywhere_and_are_kept_in_the_run(tmp_path: Path, capsys: Capsys) -> None:
    config, run = written(tmp_path / "c.yaml", CONFIG), tmp_path / "run"
    words = ["train", str(config), OVERRIDES[0], "--folder", str(run), *OVERRIDES[1:], "--json"]
    assert main(words) == 0
    kept = read_yaml(run / "config.yaml")
    assert (kept["training"]["epochs"], kept["model"]["steps"]) == (1, [1, 3])
    assert kept["model"]["correction"]["width"] == 2
    assert json.loads(capsys.readouterr().out)["epochs"] == 1
    assert main([*words, "--resume"]) == 0
    assert main([*words, "--resume", "training.seed=3"]) == 2
    assert "other training.seed" in capsys.readouterr().err
    others = {
        "training.compile=true": "other training.compile (True, not False)",
        "training.last_rate=1e-4": "other training.last_rate (0.0001, not 0.0)",
        "loss.spectral=2.0": "other loss.spectral (2.0, not 0.0)",
        "model.solver=anderson": "other model.solver (anderson, not picard)",
    }
    for override, message in others.items():
        assert main([*words, "--resume", override]) == 2
        assert message in capsys.readouterr().err
    assert main([*words, "--resume", "training.compile=false"]) == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epoch=4", "try 'epochs'"),
        ("trainig.epochs=4", "try 'training'"),
        ("training.epochs=[", "a value in YAML for training.epochs"),
        ("training.=4", "expected section.option=value"),
        ("model.steps.first=4", "options below steps"),
        ("training.epochs=four", "epochs of the training as int"),
        ("training.compile=yes", "compile of the training as bool, got 'yes'; try compile: true (in the"),
        ("training.compile=off", "compile of the training as bool, got 'off'; try compile: false (in the"),
        ("training.compile=7", "as bool, got 7; try compile: true or compile: false (in the"),
    ],
)
def test_overrides_are_as_strict_as_the_file(
    tmp_path: Path, capsys: Capsys, override: str, message: str
) -> None:
    config = written(tmp_path / "c.yaml", CONFIG)
    assert main(["train", str(config), override, "--folder", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_overrides_belong_to_train_alone(tmp_path: Path, capsys: Capsys) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", str(tmp_path), "training.epochs=4"])
    assert "expected no further words for irno evaluate, got training.epochs=4" in capsys.readouterr().err
