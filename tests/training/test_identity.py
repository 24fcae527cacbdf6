"""A run goes on with what it was started with, or not at all, and the error names what differs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import zero
from test_trainer import problem
from torch import nn

from neuralop_irno import IterativeRefiner, RefinementLoss
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.metrics import METRICS
from neuralop_irno.recipe import Recipe
from neuralop_irno.registry import GRADIENTS, SOLVERS
from neuralop_irno.training import identity
from neuralop_irno.training.described import described, differences
from neuralop_irno.training.identity import of_data
from neuralop_irno.training.trainer import Trainer


def parts(**changes: Any) -> dict[str, Any]:
    """What a small run is made of, with some of it changed."""
    options = {key: changes.pop(key) for key in ("steps", "alpha", "gradient", "solver") if key in changes}
    torch.manual_seed(changes.pop("weights", 0))
    base = nn.Conv1d(1, 1, 1)
    torch.manual_seed(0)
    phi = nn.Sequential(nn.Conv1d(2, changes.pop("width", 2), 1), nn.Tanh(), nn.LazyConv1d(1, 1))
    phi(torch.zeros(1, 2, 4))
    base = changes.pop("base", base)
    given = {"steps": 2, "alpha": 0.5, **options}
    model = IterativeRefiner(base, phi, in_channels=1, out_channels=1, **given)
    recipe = Recipe(**{"epochs": 2, "batch_size": 2, **changes.pop("recipe", {})})
    return {
        "model": model, "recipe": recipe, "loss": RefinementLoss(), "metric": METRICS.lookup("vrmse"),
        "train": problem(4), "valid": problem(2), **changes,
    }  # fmt: skip


def fit(folder: Path, train: FieldDataset, valid: FieldDataset, **options: Any) -> list[dict[str, Any]]:
    return Trainer(**options, folder=folder, show=False).fit(train, valid, resume=True)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("begun")
    fit(folder, **parts())
    return folder


def moved(data: FieldDataset) -> FieldDataset:
    data.x[1, 0, 3] += 1e-6
    return data


CHANGES: dict[str, Callable[[], dict[str, Any]]] = {
    r"data.train.content \(": lambda: parts(train=moved(problem(4))),
    r"data.valid.content \(": lambda: parts(valid=moved(problem(2))),
    r"data.train.length \(5, not 4\)": lambda: parts(train=problem(5)),
    r"base \(": lambda: parts(weights=1),
    r"model.base.module \(FunctionModule, not Conv1d\)": lambda: parts(base=zero),
    r"model.steps \(\[3, 3\], not \[2, 2\]\)": lambda: parts(steps=3),
    r"model.steps \(\[1, 2\], not \[2, 2\]\)": lambda: parts(steps=[1, 2]),
    r"model.solver.alpha.value \(0.25, not 0.5\)": lambda: parts(alpha=0.25),
    r"model.gradient \(Unrolled, not Detached\)": lambda: parts(gradient="unrolled"),
    r"model.solver \(Safeguarded, not Picard\)": lambda: parts(solver="anderson"),
    r"model.correction.\S+ \(3, not 2\)": lambda: parts(width=3),
    r"loss.weights.spectral \(1.0, not 0.0\)": lambda: parts(loss=RefinementLoss(spectral=1.0)),
    r"loss.\S*compare \(bands, not complex\)": lambda: parts(loss=RefinementLoss(compare="bands")),
    r"loss.warmup \(5, not 0\)": lambda: parts(loss=RefinementLoss(warmup=5)),
    r"metric \(\S+rmse, not \S+vrmse\)": lambda: parts(metric=METRICS.lookup("rmse")),
    r"recipe.learning_rate \(0.1, not None\)": lambda: parts(recipe={"learning_rate": 0.1}),
    r"recipe.epochs \(3, not 2\)": lambda: parts(recipe={"epochs": 3}),
    r"recipe.precision \(bfloat16, not auto\)": lambda: parts(recipe={"precision": "bfloat16"}),
}


@pytest.mark.parametrize("named", list(CHANGES))
def test_anything_else_is_refused_by_name(begun: Path, named: str) -> None:
    before = {path: path.read_bytes() for path in begun.iterdir()}
    with pytest.raises(ValueError, match=rf"was started with, got other (.*, )?{named}.*; try the same data"):
        fit(begun, **CHANGES[named]())
    assert {path: path.read_bytes() for path in begun.iterdir()} == before


def test_the_same_goes_on(begun: Path) -> None:
    assert fit(begun, **parts()) == json.loads((begun / "history.json").read_text())


def test_options_of_the_machine_may_change(begun: Path) -> None:
    assert fit(begun, **parts(recipe={"states": "host"})) == json.loads((begun / "history.json").read_text())


@pytest.mark.parametrize(
    "spoil", [Path.unlink, lambda path: path.write_text("{}")], ids=["missing", "another"]
)
def test_without_the_stored_parts_others_are_refused_all_the_same(
    begun: Path, tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    folder = Path(shutil.copytree(begun, tmp_path / "run"))
    spoil(folder / identity.DIGESTS)
    with pytest.raises(ValueError, match=r"got other parts; digests.json does not list the stored ones; try"):
        fit(folder, **parts(weights=1))
    assert fit(folder, **parts()) == json.loads((folder / "history.json").read_text())


def test_snapshots_of_format_3_hold_the_identity_itself(begun: Path) -> None:
    own = identity.read(begun)
    assert own is not None
    identity.check(own, own, begun)
    with pytest.raises(ValueError, match=r"got other base \(2, not "):
        identity.check({**own, "base": 2}, own, begun)


def test_the_same_model_trained_on_is_described_alike() -> None:
    """A second fit in one process goes on too: what a call leaves in a model or a loss is no option of it."""
    given = parts(loss=RefinementLoss(spectral=1.0, compare="bands"))
    before = described(given["model"]), described(given["loss"])
    train, valid = given.pop("train"), given.pop("valid")
    Trainer(**given, show=False).fit(train, valid)
    assert list(differences((described(given["model"]), described(given["loss"])), before)) == []


CORRECTIONS = {
    "unet": {"width": 4, "depth": 1, "dim": 2},
    "fno": {"n_modes": [2, 2], "hidden_channels": 4},
    "mgno": {},
}


@pytest.mark.parametrize("name", list(CORRECTIONS))
def test_corrections_built_twice_are_described_alike(name: str) -> None:
    words = {"name": name, **CORRECTIONS[name]}
    one, other = (
        described(IterativeRefiner(nn.Conv2d(1, 1, 1), words, in_channels=1, out_channels=1))
        for _ in range(2)
    )
    assert one == json.loads(json.dumps(other))


@pytest.mark.parametrize("name", [*SOLVERS.names(), *GRADIENTS.names()])
def test_rules_built_twice_are_described_alike(name: str) -> None:
    registry = SOLVERS if name in SOLVERS.names() else GRADIENTS
    try:
        one, other = (described(registry.build(name)) for _ in range(2))
    except (TypeError, ValueError):
        pytest.skip("it needs options")
    assert one == other
    json.dumps(one)


def test_data_sets_whose_samples_are_drawn_anew_are_compared_by_length() -> None:
    class Noisy(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            return {"x": torch.rand(1, 4, generator=self.generator), "y": torch.zeros(1, 4)}

        generator = torch.Generator().manual_seed(0)

    assert of_data(Noisy()) == {"length": 3, "files": {}, "content": None}


def test_files_are_compared_by_name_size_and_ends(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"1234")
    data = problem(2)
    data.files = (file,)
    before = of_data(data)
    assert list(before["files"]) == ["a.bin"]
    file.write_bytes(b"1235")
    named = list(differences(of_data(data), before, "data"))
    assert [name.partition(" ")[0] for name in named] == ["data.files.a.bin.ends"]


def test_a_class_that_moved_within_the_package_is_the_same_class() -> None:
    today, before = (
        {"type": f"neuralop_irno.losses.{module}.SpatialLoss", "p": 1} for module in ("pointwise", "spatial")
    )
    assert list(differences(today, before)) == []
    assert list(differences(today, {**before, "p": 2})) == ["p (1, not 2)"]
    assert list(differences({"type": "one.A"}, {"type": "two.A"})) != []


def test_a_run_from_before_an_option_had_its_default(begun: Path) -> None:
    own = json.loads((begun / identity.DIGESTS).read_text())
    older = {**own, "recipe": {name: value for name, value in own["recipe"].items() if name != "clip"}}
    identity.check(own, older, begun)
    changed = {**own, "recipe": {**own["recipe"], "clip": 0.5}}
    with pytest.raises(ValueError, match=r"got other recipe\.clip"):
        identity.check(changed, older, begun)
