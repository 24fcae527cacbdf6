"""What a training keeps, skips, refuses and says when something goes wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import identity
from neuralop import LpLoss
from test_trainer import problem
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner, RefinementLoss
from neuralop_irno.checkpoint import read
from neuralop_irno.claim import claim
from neuralop_irno.conformal import Calibration
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.recipe import Recipe
from neuralop_irno.training import snapshot
from neuralop_irno.training.divergence import DivergenceError
from neuralop_irno.training.evaluation import scores_of_solutions, scores_per_step
from neuralop_irno.training.trainer import Trainer

SMALL = {"epochs": 2, "batch_size": 2, "precision": "float32"}


def model(**options: Any) -> IterativeRefiner:
    torch.manual_seed(0)
    given = {"steps": 2, "alpha": 0.5, "in_channels": 1, "out_channels": 1, **options}
    return IterativeRefiner(nn.Conv1d(1, 1, 1), nn.Conv1d(2, 1, 3, padding=1), **given)


class Spoilt(RefinementLoss):
    """A finite loss whose gradients are NaN in some updates, counted from 1."""

    def __init__(self, updates: Callable[[int], bool]) -> None:
        super().__init__()
        self._spoils, self._calls = updates, 0

    def per_sample(self, trajectory: Any, y: Tensor) -> Tensor:
        self._calls += 1
        losses = super().per_sample(trajectory, y)
        if not self._spoils(self._calls):
            return losses
        zero = losses - losses.detach()
        return losses.detach() + zero.abs().sqrt()  # the slope of a root at zero


def fit(folder: Path | None = None, resume: bool = False, **options: Any) -> list[dict[str, Any]]:
    given = {"model": model(), "recipe": Recipe(**SMALL), "show": False, **options}
    return Trainer(**given, folder=folder).fit(problem(6), problem(2), resume)


def test_an_update_without_finite_gradients_is_skipped_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoilt, clean = model(), model()
    recipe = Recipe(**{**SMALL, "save_every": 1})
    history = fit(tmp_path, model=spoilt, recipe=recipe, loss=Spoilt(lambda call: call in (2, 3)), show=True)
    assert [record["skipped"] for record in history] == [2, 0]
    assert "training: 2 of 3 updates of epoch 1 skipped" in capsys.readouterr().err
    assert all(weight.isfinite().all() for weight in spoilt.parameters())
    assert [record["skipped"] for record in fit(model=clean)] == [0, 0]
    assert all(tensor.isfinite().all() for tensor in read(snapshot.main_file(tmp_path))[0].values())


def test_an_epoch_without_a_finite_gradient_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(DivergenceError, match="expected finite gradients, got none in epoch 2"):
        fit(tmp_path, loss=Spoilt(lambda call: call > 3))
    assert read(snapshot.main_file(tmp_path))[1]["progress"]["epoch"] == 1


def test_weights_that_are_not_finite_are_never_stored(tmp_path: Path) -> None:
    class Poisoned(RefinementLoss):
        calls = 0

        def per_sample(self, trajectory: Any, y: Tensor) -> Tensor:
            losses = super().per_sample(trajectory, y)
            self.calls += 1
            if self.calls == 6:
                with torch.no_grad():
                    own.unused.fill_(torch.nan)
            return losses

    own = model()
    own.correction.unused = nn.Parameter(torch.zeros(1))
    own.unused = own.correction.unused
    with pytest.raises(DivergenceError, match=r"expected finite weights to store, got .*unused with NaN"):
        fit(tmp_path, model=own, loss=Poisoned())
    for file in ("snapshot.safetensors", "model.safetensors"):
        assert all(tensor.isfinite().all() for tensor in read(tmp_path / file)[0].values())


def damaged(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)


OWN = ".snapshot-{epoch}-{update}.rank0.safetensors"


@pytest.mark.parametrize("file", ["snapshot.safetensors", OWN])
def test_a_damaged_snapshot_falls_back_on_the_one_before(
    tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = model()
    expected = fit(tmp_path / "whole", model=whole, recipe=Recipe(**SMALL, replay=2))

    class Interrupted(RefinementLoss):
        def per_sample(self, trajectory: Any, y: Tensor) -> Tensor:
            if self.training and trajectory.phi is not None and self.updates == 5:
                raise KeyboardInterrupt
            return super().per_sample(trajectory, y)

    recipe = Recipe(**SMALL, save_every=2, replay=2)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "cut", loss=Interrupted(), recipe=recipe)
    progress = read(snapshot.main_file(tmp_path / "cut"))[1]["progress"]
    damaged(tmp_path / "cut" / file.format(**progress))
    resumed = model()
    Interrupted.per_sample = RefinementLoss.per_sample
    history = fit(tmp_path / "cut", True, model=resumed, loss=Interrupted(), recipe=recipe, show=True)
    assert history == expected
    assert "snapshot.safetensors is damaged (" in capsys.readouterr().err
    assert all(map(torch.equal, resumed.state_dict().values(), whole.state_dict().values()))


def test_two_damaged_snapshots_are_refused_and_left(tmp_path: Path) -> None:
    fit(tmp_path)
    files = [snapshot.main_file(tmp_path), snapshot.previous_file(tmp_path)]
    whole = [file.read_bytes() for file in files]
    for file in files:
        damaged(file)
    with pytest.raises(ValueError, match=r"expected a whole snapshot in .*, got .*is damaged"):
        fit(tmp_path, resume=True)
    for file, content in zip(files, whole, strict=True):
        damaged(file)  # mends it
        assert file.read_bytes() == content


def test_a_snapshot_of_an_older_version_is_refused_and_left(tmp_path: Path) -> None:
    fit(tmp_path)
    tensors, content = read(snapshot.main_file(tmp_path))
    del content["identity"]
    snapshot.checkpoint.write(snapshot.main_file(tmp_path), tensors, content)
    before = snapshot.main_file(tmp_path).read_bytes()
    with pytest.raises(ValueError, match="got one of an older version; try another folder"):
        fit(tmp_path, resume=True)
    assert snapshot.main_file(tmp_path).read_bytes() == before


def test_a_folder_in_use_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with claim(tmp_path), pytest.raises(ValueError, match="which is in use"):
        fit(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == []


def test_files_of_killed_writers_are_swept(tmp_path: Path) -> None:
    stray = tmp_path / f".model.safetensors.{'0' * 32}"
    stray.write_bytes(b"half")
    fit(tmp_path)
    assert not stray.exists()


@pytest.mark.parametrize(("which", "name"), [(0, "training"), (1, "validation")])
def test_an_empty_data_set_is_refused_by_name(which: int, name: str) -> None:
    sets = [problem(2), problem(2)]
    sets[which] = FieldDataset(torch.zeros(0, 1, 4), torch.zeros(0, 1, 4))
    with pytest.raises(ValueError, match=f"expected at least one {name} sample, got an empty data set"):
        Trainer(model(), show=False).fit(*sets)


def test_a_loss_on_fields_is_refused_and_explained() -> None:
    with pytest.raises(TypeError, match=r"expected a loss on trajectories, got LpLoss; try .*train_output"):
        Trainer(model(), loss=LpLoss(d=1))
    data = problem(2)
    trajectory = model().train()(data.x, y=data.y)
    with pytest.raises(TypeError, match=r"'flatten', as of a field; try .*train_output='field'"):
        LpLoss(d=1)(trajectory, data.y)
    with pytest.raises(AttributeError, match=r"'size', as of a field; try .*train_output='field'"):
        trajectory.size()


@pytest.mark.parametrize("score", [scores_per_step, scores_of_solutions])
def test_a_score_that_fails_leaves_the_model_in_its_mode(score: Callable[..., Any]) -> None:
    def broken(prediction: Tensor, y: Tensor) -> Tensor:
        raise RuntimeError("no score")

    own = model().train()
    own.correction.eval()
    before = [part.training for part in own.modules()]
    with pytest.raises(RuntimeError, match="no score"):
        score(own, problem(2), metric=broken)
    assert [part.training for part in own.modules()] == before


def test_a_finished_run_that_is_resumed_keeps_its_model_file(tmp_path: Path) -> None:
    fit(tmp_path)
    own = model()
    own.load_checkpoint(tmp_path, "model")
    own.calibration = Calibration("residual", 2.0, 0.9, 10)
    own.save(tmp_path / "model.safetensors", {"mine": 1})
    before = (tmp_path / "model.safetensors").read_bytes()
    fit(tmp_path, resume=True)
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_the_history_is_there_after_every_epoch(tmp_path: Path) -> None:
    assert json.loads((tmp_path / "history.json").read_text() if fit(tmp_path) else "") == fit(tmp_path, True)


def test_training_works_outside_the_main_thread(tmp_path: Path) -> None:
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(fit(tmp_path)))
    thread.start()
    thread.join(600)
    assert len(done[0]) == 2


def test_identity_of_a_function_as_base_trains() -> None:
    own = IterativeRefiner(identity, nn.Conv1d(2, 1, 1), steps=1)
    assert len(fit(model=own)) == 2
