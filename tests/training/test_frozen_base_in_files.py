"""A frozen base is in no snapshot: a run continues with the same base, and its file is written once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from neuralop_irno import IterativeRefiner, checkpoint
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.persistence import split_state
from neuralop_irno.recipe import Recipe
from neuralop_irno.rollouts.curriculum import RolloutTraining
from neuralop_irno.rollouts.training import RolloutModel
from neuralop_irno.training import snapshot
from neuralop_irno.training.folder import MODEL
from neuralop_irno.training.trainer import Trainer
from neuralop_irno.verify import DAMAGED, verify

UNET = {"name": "unet", "width": 2, "depth": 0}


def refiner(**options: bool) -> IterativeRefiner:
    torch.manual_seed(0)
    return IterativeRefiner(nn.Conv1d(1, 1, 3, padding=1), UNET, steps=2, **options)


def data() -> FieldDataset:
    x = torch.randn(4, 1, 8, generator=torch.Generator().manual_seed(1))
    return FieldDataset(x, x.roll(1, -1))


def fit(folder: Path, model: nn.Module, valid: FieldDataset | None = None) -> nn.Module:
    Trainer(model, Recipe(epochs=1), folder=folder, show=False).fit(data(), valid, resume=True)
    return model


MODELS = {
    "a refiner": (refiner, False),
    "a refiner whose base trains": (lambda: refiner(freeze_base=False), True),
    "a refiner around a refiner": (lambda: IterativeRefiner(refiner(), UNET, freeze_base=False), False),
    "rollouts of a refiner": (lambda: RolloutModel(refiner(), RolloutTraining(steps=1)), False),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_snapshot_holds_what_may_change(tmp_path: Path, name: str) -> None:
    build, whole = MODELS[name]
    model = fit(tmp_path, build())
    tensors, _ = checkpoint.read(snapshot.main_file(tmp_path))
    held, bases = split_state(model)
    assert {key.removeprefix("model.") for key in tensors if key.startswith("model.")} == held.keys()
    assert whole is not bool(bases)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    after = fit(tmp_path, build()).state_dict()  # from the snapshot, with nothing left to do
    assert all(torch.equal(before[key], tensor) for key, tensor in after.items())


def test_snapshots_of_format_3_hold_the_base_too(tmp_path: Path) -> None:
    fit(tmp_path, refiner(), data())
    path = snapshot.main_file(tmp_path)
    tensors, content = checkpoint.read(path)
    base = {f"model.{key}": tensor for key, tensor in split_state(refiner())[1].items()}
    checkpoint.write(path, {**tensors, **base}, content)
    best, _ = checkpoint.read(tmp_path / MODEL)
    held, _ = split_state(fit(tmp_path, refiner(), data()))
    assert all(torch.equal(best[key], tensor) for key, tensor in held.items())


@pytest.mark.parametrize(
    "damage", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["missing", "empty"]
)
def test_the_file_of_the_base_is_repaired_by_resuming(tmp_path: Path, damage: object) -> None:
    fit(tmp_path, refiner())
    (base,) = tmp_path.glob("base-*")
    whole = base.read_bytes()
    damage(base)
    assert [found.file for found in verify(tmp_path) if found.state == DAMAGED] == [base.name]
    fit(tmp_path, refiner())
    assert base.read_bytes() == whole
