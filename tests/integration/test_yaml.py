"""Config files: YAML without surprises, and README's own in neuraloperator's get_model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import neuralop
import pytest
import torch
from zencfg.bunch import Bunch

from neuralop_irno import IterativeRefiner
from neuralop_irno.config import experiment, read_experiment
from neuralop_irno.training.run import train_experiment
from neuralop_irno.yaml_files import parsed, read_yaml, written

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)


def test_the_yaml_of_the_readme_in_get_model() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    block = readme.split("```yaml\n")[1].split("```")[0]
    model = neuralop.get_model(Bunch(parsed(block))).eval()
    assert isinstance(model, IterativeRefiner)
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 1, 32, 32)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("1E5", 1e5), ("+.5", 0.5), ("1.", 1.0), ("-7", -7), ("0x10", 16), ("010", 10),
        ("1_000", "1_000"), ("1:30", "1:30"), ("no", "no"), ("on", "on"), ("Yes", "Yes"), ("true", True),
        ("False", False), ("~", None), ("null", None), ("2026-11-01", "2026-11-01"), ("'1e-3'", "1e-3"),
    ],
)  # fmt: skip
def test_plain_text_is_what_it_looks_like(text: str, value: Any) -> None:
    found = parsed(f"key: {text}")["key"]
    assert (found, type(found)) == (value, type(value))
    assert parsed(written({"key": value}).decode()) == {"key": value}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("data: {}\ndata: {}", "the key 'data' twice"),
        ("model: {steps: 1, steps: 2}", "the key 'steps' twice"),
        ("a: &a [*a]", "an alias that holds itself"),
        (BOMB, "of which at most 100000 are read"),
        ("[" * 5000, "recursion"),
        ("a: " + "9" * 5000, "digits"),
        ("a: !!binary aGk=", "a bytes, which is neither text"),
        ("a: !!set {x}", "a set, which is neither text"),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("a: '" + "x" * 300_000 + "'", "expected at most 262144 bytes in c.yaml, got 300005"),
    ],
)
def test_what_is_no_plain_config_is_refused_at_once(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    began = time.process_time()
    with pytest.raises(ValueError, match=r"^expected [^\n]+, got [^\n]+; try [^\n]+$") as caught:
        read_yaml(path)
    assert problem in str(caught.value)
    assert time.process_time() - began < 30


def test_aliases_and_merged_keys_may_be_used() -> None:
    assert parsed("a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}\ne: *x")["d"] == {"b": 3, "c": 2}


@pytest.mark.parametrize("place", ["data", "model", "base", "training", "list"])
def test_a_config_cannot_grant_itself_trust(place: str, tmp_path: Path) -> None:
    trust = {"trusted": True}
    base = {"checkpoint": "folder", "name": "model", **(trust if place == "base" else {})}
    config: dict[str, Any] = {"data": {"name": "burgers"}, "model": {"base": base}, "training": {}}
    if place in config:
        config[place].update(trust)
    if place == "list":
        config["model"]["correction"] = [trust]
    (tmp_path / "c.yaml").write_bytes(written(config))
    with pytest.raises(ValueError, match=r"expected trust from the command line.*--trust-base"):
        read_experiment(tmp_path / "c.yaml")


FNO = {"model_arch": "fno", "n_modes": [2], "hidden_channels": 2}
GUARDED = {"name": "safeguarded", "solver": {"name": "anderson", "memroy": 2}}

WRONG: dict[str, tuple[str, dict[str, Any]]] = {
    "frames": ("data.frames", {"data": {"name": "burgers", "frames": "many"}}),
    "data without an option": ("data", {"data": {"name": "files"}}),
    "section": ("loss", {"loss": 3}),
    "epochs": ("training.epochs", {"training": {"epochs": 10**30}}),
    "own epochs": ("base_training.epochs", {"base_training": {"epochs": "two"}}),
    "weight": ("loss.spectral", {"loss": {"spectral": "much"}}),
    "steps": ("model.steps", {"model": {"base": FNO, "steps": "two"}}),
    "negative steps": ("model", {"model": {"base": FNO, "steps": -1}}),
    "output": ("model", {"model": {"base": FNO, "train_output": "both"}}),
    "channels of the data": ("model.data_channels", {"model": {"base": FNO, "data_channels": True}}),
    "channels of the base": ("model.base.data_channels", {"model": {"base": {**FNO, "data_channels": "x"}}}),
    "layers": ("model.base.n_layers", {"model": {"base": {**FNO, "n_layers": "two"}}}),
    "base by name alone": ("model.base", {"model": {"base": "fno"}}),
    "files without a name": ("model.base", {"model": {"base": {"checkpoint": "runs"}}}),
    "base of a base": ("model.base.base", {"model": {"base": {"model_arch": "irno", "base": "fnoo"}}}),
    "width": ("model.correction.width", {"model": {"correction": {"name": "unet", "width": "wide"}}}),
    "no correction": ("model.correction", {"model": {"correction": None}}),
    "correction in another": (
        "model.correction.correction", {"model": {"correction": {"name": "bounded", "correction": "unett"}}},
    ),
    "model as a correction": ("model.correction", {"model": {"correction": {"name": "fno", "n_mode": [2]}}}),
    "memory": ("model.solver.memory", {"model": {"solver": {"name": "anderson", "memory": "long"}}}),
    "no memory": ("model.solver", {"model": {"solver": {"name": "anderson", "memory": 0}}}),
    "no solver": ("model.solver", {"model": {"solver": None}}),
    "solver in another": ("model.solver.solver", {"model": {"solver": GUARDED}}),
    "number as a solver": (
        "model.solver.solver", {"model": {"solver": {"name": "best_so_far", "solver": 3}}},
    ),
    "step size": ("model.solver.alpha", {"model": {"solver": {"name": "picard", "alpha": "learnt"}}}),
    "two step sizes": ("model", {"model": {"solver": {"name": "picard", "alpha": 0.5}, "alpha": 1.0}}),
    "rule": ("model.gradient", {"model": {"gradient": "last"}}),
    "solver of a rule": (
        "model.gradient.backward.solver", {"model": {"gradient": {"name": "implicit", "backward": GUARDED}}},
    ),
    "number in a rule": (
        "model.gradient.backward", {"model": {"gradient": {"name": "implicit", "backward": 3}}},
    ),
    "tolerance": ("model.gradient", {"model": {"gradient": {"name": "implicit", "rtol": -1.0}}}),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_errors_name_the_path_of_the_key_before_data_are_read(case: str) -> None:
    key, sections = WRONG[case]
    sections = {"model": {}, **sections}
    whole = {"data": {"name": "burgers"}, **sections, "model": {"base": FNO, **sections["model"]}}
    with pytest.raises((TypeError, ValueError), match=r"^expected .*; try .*") as caught:
        experiment(whole)
    assert caught.value.__notes__ == [f"in the config at {key}"]


def test_reading_a_config_draws_no_random_numbers() -> None:
    torch.manual_seed(3)
    first = torch.rand(1)
    torch.manual_seed(3)
    solver = {"name": "confidence", "channels": 1}
    found = experiment({"data": {"name": "burgers"}, "model": {"base": FNO, "solver": solver}})
    assert torch.equal(torch.rand(1), first)
    assert found.model.options["solver"] == solver


def test_the_correction_of_a_config_is_that_of_the_refiner() -> None:
    data = {"name": "burgers", "trajectories": [1, 1, 1], "frames": 2, "size": 8}
    words = {"name": "bounded", "correction": {"name": "unet", "width": 4, "depth": 1}}
    found = experiment({"data": data, "model": {"base": FNO, "correction": words}})
    refiner = found.build_refiner(found.build_base(found.splits()))
    assert refiner.config["correction"] == words


def test_words_of_get_model_are_not_ignored() -> None:
    base = {"model_arch": "fno", "n_modes": [2], "hidden_channels": 2}
    data = {"name": "burgers", "trajectories": [1, 1, 1], "frames": 2, "size": 8}
    with pytest.raises(ValueError, match=r"expected model_arch irno, got 'fno'; try model: \{base"):
        experiment({"data": data, "model": {"model_arch": "fno", "base": base}})
    found = experiment({"data": data, "model": {"data_channels": 3, "base": base}})
    splits = found.splits()
    with pytest.raises(ValueError, match="expected data_channels=1, as the data have it, got 3"):
        found.build_base(splits)


def test_a_base_that_cannot_be_trained_so_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    base = {"model_arch": "fno", "n_modes": [2], "hidden_channels": 2, "n_layers": 1}
    found = experiment({
        "data": {"name": "burgers", "trajectories": [1, 1, 1], "frames": 2, "size": 8},
        "model": {"base": base},
        "base_training": {"replay": 4},
    })  # fmt: skip
    with pytest.raises(ValueError, match="a refiner with a frozen base for replay"):
        train_experiment(found, tmp_path / "run", say=lambda text: None, show=False)
    assert not (tmp_path / "run").exists()
