"""``irno export`` as a user runs it."""

import json
from pathlib import Path

import pytest
import torch
from test_cli import CONFIG, Capsys, refused, written

from irno_cli.main import main
from neuralop_irno.training.run import read_run


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    place = tmp_path_factory.mktemp("export")
    config = written(place / "config.yaml", CONFIG)
    assert main(["train", str(config), "--folder", str(place / "run"), "--json"]) == 0
    return place / "run"


def test_a_run_becomes_a_file_that_returns_its_answers(
    run_folder: Path, tmp_path: Path, capsys: Capsys
) -> None:
    to = tmp_path / "model.pt2"
    assert main(["export", str(run_folder), "--to", str(to), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["B", 1, 8]}]
    assert said["solve"] == {"steps": 2}
    x = torch.randn(3, 1, 8)
    value, *_ = torch.export.load(to).module()(x)
    torch.testing.assert_close(value, read_run(run_folder)[1](x), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "model.onnx"], "no Fourier transform of complex numbers; try model.pt2"),
        (
            ["--to", "model.pt2", "--max-steps", "3"],
            "expected a tolerance beside max_steps, got none; try --steps 3",
        ),
    ],
)
def test_exports_that_are_refused(words: list[str], said: str, run_folder: Path, capsys: Capsys) -> None:
    assert said in refused(capsys, "export", run_folder, *words)
