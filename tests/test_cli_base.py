"""Bases that no config can build: a function of the caller, and weights of other programs."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from neuralop.models import FNO
from safetensors.torch import save_file

from irno_cli.main import main
from neuralop_irno import IterativeRefiner
from neuralop_irno.config import experiment
from neuralop_irno.training.run import read_run

DATA = {"name": "burgers", "trajectories": [4, 2, 2], "frames": 3, "size": 8}
CONFIG: dict[str, Any] = {
    "data": DATA,
    "model": {
        "correction": {"name": "unet", "width": 4, "depth": 1, "dim": 1}, "steps": 2, "output": "field",
        "in_channels": 1, "out_channels": 1,
    },
    "training": {"epochs": 1, "batch_size": 4},
}  # fmt: skip
MODULE = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv1d(1, 1, 3, padding=1)
    def forward(self, x):
        return {"loss": x.mean(), "field": self.conv(x)}

def base():
    return Net()

def nothing():
    base()

def broken():
    raise RuntimeError("no weights here")
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a module, of a name of its own, and a config."""
    (tmp_path / "bases_of_a_user.py").write_text(MODULE)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(CONFIG))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # undone after the test, unlike what the command does
    return tmp_path


BASE = ["--base", "bases_of_a_user:base"]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(list(arguments)) == 2
    return capsys.readouterr().err


def test_every_command_takes_a_base_that_python_builds(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", "c.yaml", "--folder", "run", "--json"]
    assert main([*train, *BASE, "base_training.epochs=1"]) == 0
    assert main([*train, *BASE, "base_training.epochs=1", "--resume"]) == 0
    for command in (
        ["evaluate", "run", "--json"],
        ["check", "run", "--json"],
        ["diagnose", "run", "--samples", "1", "--iterations", "2", "--steps", "2", "--json"],
        ["rollout", "run", "--steps", "1", "--json"],
    ):
        assert main([*command, *BASE]) == 0
        words = refused(capsys, *command)
        assert (
            "expected the base of this checkpoint, with a Net that was given as an object, got none" in words
        )
        assert (
            "try from_checkpoint(..., base=<the same as when it was built>), or --base module:function"
            in words
        )
    assert "--base module:function" in refused(capsys, *train, "base_training.epochs=1", "--resume")
    assert main(["list", "run"]) == 0  # it needs no base
    assert "base: Net" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("bases_of_a_user", "expected module:function, got 'bases_of_a_user'; try "),
        ("no_such_module:base", "got ModuleNotFoundError: No module named 'no_such_module'; try a function"),
        ("bases_of_a_user:bass", "got AttributeError: module 'bases_of_a_user' has no attribute 'bass'"),
        ("bases_of_a_user:broken", "got RuntimeError: no weights here; try a function"),
        ("bases_of_a_user:nothing", "got None; try a function"),
    ],
)
def test_a_base_that_cannot_be_built_is_refused_in_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], base: str, words: str
) -> None:
    with suppress(SystemExit):  # of the parser
        assert main(["train", "c.yaml", "--base", base]) == 2
    assert words in capsys.readouterr().err
    assert not (place / "runs").exists()


def test_a_config_names_a_base_of_python_but_never_imports_it(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "bases_of_a_user.py").write_text("raise SystemExit('imported')")
    named = {**CONFIG, "model": {**CONFIG["model"], "base": {"object": "bases_of_a_user:base"}}}
    (place / "named.yaml").write_text(yaml.safe_dump(named))
    assert "--base module:function, or base= in Python" in refused(capsys, "train", "named.yaml")
    assert "no other base beside 'a:b'" in refused(capsys, "train", "named.yaml", "--base", "a:b")
    assert "a base in the model, got None" in refused(capsys, "train", "c.yaml")


FNO_WORDS = {"model_arch": "fno", "n_modes": [2], "hidden_channels": 4, "n_layers": 1}


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_weights_of_another_program_are_loaded(place: Path, suffix: str) -> None:
    trained = FNO((2,), 1, 1, 4, n_layers=1)
    tensors = {name: value for name, value in trained.state_dict().items() if name != "_metadata"}
    if suffix == "pt":
        torch.save(tensors, "base.pt")
    else:
        save_file(tensors, "base.safetensors")
    base = {**FNO_WORDS, "weights": f"base.{suffix}"}
    model = {"base": base, "correction": {"name": "unet", "width": 4, "depth": 1}, "steps": 1}
    (place / "w.yaml").write_text(yaml.safe_dump({**CONFIG, "model": model}))
    assert main(["train", "w.yaml", "--folder", "run", "--json"]) == 0
    (place / f"base.{suffix}").unlink()  # the run holds them
    refiner = read_run(place / "run")[1]
    assert torch.equal(refiner.base.module.projection.fcs[0].weight, trained.projection.fcs[0].weight)
    assert "weights" not in refiner.config["base"]


def test_weights_that_do_not_fit_are_refused(place: Path) -> None:
    def build(weights: Any) -> None:
        found = experiment({"data": DATA, "model": {"base": {**FNO_WORDS, "weights": weights}}})
        found.build_base(found.splits())

    with pytest.raises(FileNotFoundError, match=r"a file of weights, got no none\.pt; try "):
        build("none.pt")
    with pytest.raises(
        TypeError, match=r"the file or folder of the base's weights, got 3; try weights: base.pt"
    ):
        build(3)
    torch.save({"weight": torch.ones(1)}, "other.pt")
    with pytest.raises(
        ValueError, match=r"this base, FNO, in other\.pt, got 16 missing, .* and 1 of other names"
    ):
        build("other.pt")
    torch.save(IterativeRefiner(torch.sin, "unet", in_channels=1, out_channels=1), "pickle.pt")
    with pytest.raises(ValueError, match=r"a file of tensors and plain data, got pickle\.pt"):
        build("pickle.pt")
    with pytest.raises(ValueError, match=r"an option of the base, got 'weigths'; try 'weights'"):
        experiment({"data": DATA, "model": {"base": {**FNO_WORDS, "weigths": "base.pt"}}})
