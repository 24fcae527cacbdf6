"""What the trainer promises about its updates, its choices and its failures."""

from __future__ import annotations

import io
import json
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from conftest import identity
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from neuralop_irno import IterativeRefiner, RefinementLoss
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.recipe import Recipe
from neuralop_irno.training.evaluation import scores_per_step
from neuralop_irno.training.replay import Replay
from neuralop_irno.training.states import States
from neuralop_irno.training.trainer import Trainer


def problem(samples: int = 16) -> FieldDataset:
    x = torch.randn(samples, 1, 12, generator=torch.Generator().manual_seed(5))
    return FieldDataset(x, 0.5 * x.roll(1, -1))


def refiner(**options: object) -> IterativeRefiner:
    torch.manual_seed(0)
    base = nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular")
    phi = {"name": "unet", "width": 4, "depth": 0, "dim": 1}
    return IterativeRefiner(base, phi, **{"steps": 3, "in_channels": 1, "out_channels": 1, **options})


def fit(model: nn.Module, folder: Path | None = None, **options: object) -> list[dict[str, object]]:
    small = {"epochs": 6, "batch_size": 4, "precision": "float32"}
    recipe = Recipe(**{**small, **options})
    return Trainer(model, recipe, folder=folder, show=False).fit(problem(), problem(6))


@pytest.mark.parametrize("options", [{}, {"replay": 3.0}, {"shifts": True}, {"precision": "bfloat16"}])
def test_training_lowers_the_error_at_every_step(options: dict[str, object]) -> None:
    history = fit(refiner(), epochs=15, **options)
    first, last = history[0]["valid"], history[-1]["valid"]
    assert len(last) == 4
    assert last[0] == first[0]  # the base is frozen
    assert all(after < 0.85 * last[0] for after in last[1:])


def test_cached_answers_of_the_base_change_nothing() -> None:
    with_cache, without = refiner(gradient="unrolled"), refiner(gradient="unrolled")
    assert fit(with_cache, cache_base=True) == fit(without, cache_base=False)
    for ours, theirs in zip(with_cache.parameters(), without.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_best_weights_are_kept(tmp_path: Path) -> None:
    model, x = refiner(), problem(6).x
    with torch.no_grad():
        # The base is exact here: what training adds is an error that grows.
        answered = FieldDataset(x, model.base(x))
    recipe = Recipe(epochs=8, batch_size=4, precision="float32", learning_rate=0.01)
    history = Trainer(model, recipe, folder=tmp_path, show=False).fit(problem(), answered)
    scores = [record["valid"][-1] for record in history]
    assert scores[-1] > 1.5 * min(scores)
    score = scores_per_step(model, answered)[-1].mean().item()
    assert score == pytest.approx(min(scores))
    saved = IterativeRefiner.from_checkpoint(tmp_path / "model.safetensors", base=model.base.module)
    assert scores_per_step(saved, answered)[-1].mean().item() == pytest.approx(min(scores))
    assert json.loads((tmp_path / "history.json").read_text()) == history


def test_patience_ends_a_run_that_no_longer_improves() -> None:
    history = fit(refiner(), learning_rate=0.0, epochs=50, patience=2)
    assert len(history) == 3  # the best is the first; two more are not better


def test_gradients_are_clipped() -> None:
    norms: list[float] = []
    model = refiner()

    class Watched(RefinementLoss):
        def per_sample(self, trajectory: object, y: Tensor) -> Tensor:
            return 1e6 * super().per_sample(trajectory, y)

    def look(*_: object) -> None:
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        norms.append(torch.stack([g.norm() for g in grads]).norm().item())

    hook = register_optimizer_step_pre_hook(look)
    Trainer(model, Recipe(epochs=1, clip=0.5), Watched(), show=False).fit(problem())
    hook.remove()
    assert norms
    assert all(norm == pytest.approx(0.5, rel=1e-3) for norm in norms)


def test_a_loss_that_is_not_finite_ends_the_run_and_leaves_the_files(tmp_path: Path) -> None:
    fit(refiner(), tmp_path, epochs=1)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    class Broken(RefinementLoss):
        def per_sample(self, trajectory: object, y: Tensor) -> Tensor:
            return super().per_sample(trajectory, y) * torch.nan

    trainer = Trainer(refiner(), Recipe(epochs=1, batch_size=4, learning_rate=1e-2), Broken(), tmp_path)
    with pytest.raises(RuntimeError, match="expected a finite loss, got nan"):
        Trainer(refiner(), Recipe(epochs=1), Broken(), show=False).fit(problem())
    with pytest.raises(ValueError, match="a folder without a run"):
        trainer.fit(problem())
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_score_that_is_not_finite_is_counted_and_never_the_best() -> None:
    data = problem(4)
    data.y[1] = torch.inf
    model = refiner()
    history = Trainer(model, Recipe(epochs=1), show=False).fit(problem(), data)
    assert history[0]["not_finite"] == 1


def test_any_model_from_x_to_y_trains() -> None:
    model = nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular")
    history = fit(model, epochs=40, learning_rate=5e-2)
    assert history[-1]["valid"][0] < 0.05


def test_replay_needs_a_frozen_base() -> None:
    with pytest.raises(ValueError, match="a refiner with a frozen base for replay"):
        fit(refiner(freeze_base=False), replay=2.0)


def test_replayed_states_are_the_iterates_of_their_samples() -> None:
    """With weights that stand still, a state that has k steps behind it is h_k."""
    model = refiner()
    nn.init.normal_(model.correction.last.weight, std=0.3)
    data = problem(6)
    starts = torch.stack([model.base(x[None])[0] for x in data.x])
    replay = Replay(States(starts), life=3.0)
    iterates = torch.stack(model.iterates(data.x, steps=12))
    seen: set[int] = set()
    for _ in range(8):
        index = torch.randperm(6)[:4]
        start, taken = replay.take(index)
        torch.testing.assert_close(start, iterates[taken, index])
        with torch.no_grad():
            trajectory = model.train()(data.x[index], y=data.y[index], start=start, taken=taken)
        replay.put(index, trajectory.last, trajectory.last)  # no state is lost
        seen |= set(taken.tolist())
    assert len(seen) > 2
    replay.put(torch.tensor([0]), torch.full_like(starts[:1], torch.nan), starts[:1])
    assert torch.equal(replay.states[torch.tensor([0])], starts[:1])


def test_states_further_from_the_truth_than_the_base_start_again() -> None:
    starts, truth = torch.ones(4, 1, 3), torch.zeros(4, 1, 3)
    truth[3, 0, 0] = torch.nan  # outside of a mask: not compared
    replay, everyone = Replay(States(starts), life=1e9), torch.arange(4)
    states = torch.tensor([0.5, -1.5, 1.0, 0.5])[:, None, None].repeat(1, 1, 3)
    states[3, 0, 0] = 9.0
    replay.put(everyone, states, truth)
    wanted = torch.where(torch.tensor([True, False, True, True])[:, None, None], states, starts)
    assert torch.equal(replay.states[everyone], wanted)
    assert replay.taken.tolist() == [1, 0, 1, 1]
    states[3, 0, 0] = torch.inf  # outside of the mask too: a network would spread it
    replay.put(everyone, states, truth)
    assert torch.equal(replay.states[everyone[3:]], starts[3:])


def test_replayed_steps_are_counted_on_the_device_of_the_states() -> None:
    replay = Replay(States(torch.zeros(3, 1, 4, device="meta")), life=2.0)
    assert replay.taken.device.type == "meta"
    replay.restore(torch.ones(3, dtype=torch.long), lambda number: torch.zeros(16, dtype=torch.uint8))
    assert replay.taken.device.type == replay.states.values.device.type == "meta"


def test_the_rate_rises_and_falls_to_zero() -> None:
    recipe = Recipe(learning_rate=1.0, warmup=0.2)
    rates = [recipe.rate(update, 100) for update in range(101)]
    assert rates[19] == max(rates) == 1.0
    assert rates[0] == pytest.approx(1 / 20)
    assert rates[100] == pytest.approx(0.0, abs=1e-12)
    assert all(a >= b for a, b in pairwise(rates[19:]))


def test_random_numbers_of_steps_serve_any_k() -> None:
    model = IterativeRefiner(identity, nn.Conv1d(2, 1, 1), steps=[2, 5], gradient="unrolled").train()
    data = problem(2)
    lengths = {len(model(data.x, y=data.y).iterates) for _ in range(60)}
    assert lengths == {2, 3, 4, 5}
    assert model.eval().solve(data.x).steps.tolist() == [5, 5]


@pytest.mark.parametrize("watched", [True, False], ids=["a terminal", "a log"])
@pytest.mark.parametrize("show", [True, False])
def test_progress_is_a_bar_on_a_terminal_and_lines_in_a_log(
    watched: bool, show: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(stderr, "isatty", lambda: watched, raising=False)
    monkeypatch.setattr(sys, "stderr", stderr)
    Trainer(refiner(), Recipe(epochs=1, batch_size=4), show=show).fit(problem())
    shown = stderr.getvalue()
    assert ("training: 100%" in shown) is (show and watched)
    assert ("training: update 4 of 4, loss " in shown) is (show and not watched)
    assert show or not shown
