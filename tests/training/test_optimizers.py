"""Optimizers, schedules, averages and divided batches: the laws that hold for every choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner, RefinementLoss
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.recipe import DECAYS, RATES, SCHEDULES, Recipe
from neuralop_irno.training.average import Average
from neuralop_irno.training.optimizers import optimizer_for
from neuralop_irno.training.stopping import Stopped
from neuralop_irno.training.trainer import Trainer
from neuralop_irno.training.updates import Updater


def data(samples: int = 10) -> FieldDataset:
    x = torch.randn(samples, 1, 8, generator=torch.Generator().manual_seed(3))
    return FieldDataset(x, x.roll(1, -1))


def refiner() -> IterativeRefiner:
    torch.manual_seed(0)

    def circular(inputs: int, outputs: int) -> nn.Module:
        return nn.Conv1d(inputs, outputs, 3, padding=1, padding_mode="circular")

    correction = nn.Sequential(circular(2, 4), nn.GroupNorm(1, 4), nn.GELU(), circular(4, 1))
    alpha = {"name": "learned", "value": 0.5}
    return IterativeRefiner(circular(1, 1), correction, steps=2, alpha=alpha, in_channels=1, out_channels=1)


def trained(folder: Path | None = None, resume: bool = False, valid: bool = True, **words: Any) -> Any:
    recipe = Recipe(
        **{"epochs": 2, "batch_size": 4, "precision": "float32", "save_every": 1, "seed": 1, **words}
    )
    loss = RefinementLoss(spectral=0.5)
    trainer = Trainer(refiner(), recipe, loss, folder, show=False)
    history = trainer.fit(data(), data(4) if valid else None, resume)
    return history, {name: weight.clone() for name, weight in trainer.model.state_dict().items()}


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    for name, weight in ours.items():
        assert torch.equal(weight, theirs[name]), name


CHOICES = [
    {"optimizer": optimizer, "schedule": schedule, "ema": ema, "accumulate": accumulate}
    for optimizer in RATES
    for schedule in SCHEDULES
    for ema in (0.0, 0.9)
    for accumulate in (1, 3)
]


@pytest.mark.parametrize("words", CHOICES, ids=lambda words: "-".join(map(str, words.values())))
def test_every_choice_trains_and_is_resumed_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: dict[str, Any]
) -> None:
    history, expected = trained(**words)
    assert history[-1]["loss"] < history[0]["loss"]
    called = Updater.__call__

    def interrupted(self: Updater, *arguments: Any) -> Any:
        done = called(self, *arguments)
        if self.run.progress.update == 4:  # within the second epoch; this update is not saved
            raise Stopped("by the test")
        return done

    monkeypatch.setattr(Updater, "__call__", interrupted)
    with pytest.raises(Stopped):
        trained(tmp_path, **words)
    monkeypatch.setattr(Updater, "__call__", called)
    again, found = trained(tmp_path, resume=True, **words)
    assert again == history
    assert_same(found, expected)


@pytest.mark.parametrize("optimizer", RATES)
@pytest.mark.parametrize("replay", [0, 1])
def test_a_divided_batch_makes_the_same_update(optimizer: str, replay: float) -> None:
    """In float64, where rounding is far below the tolerance; replay of life 1 draws nothing that matters."""
    torch.set_default_dtype(torch.float64)
    try:
        fields = FieldDataset(*(torch.randn(6, 1, 8, dtype=torch.float64) for _ in range(2)))
        found = []
        for accumulate in (1, 2, 4, 6):
            recipe = Recipe(
                epochs=2, batch_size=6, accumulate=accumulate, optimizer=optimizer, replay=replay,
                precision="float32",
            )  # fmt: skip
            trainer = Trainer(refiner(), recipe, RefinementLoss(spectral=0.5, warmup=3), show=False)
            trainer.fit(fields)
            found.append(trainer.model.state_dict())
    finally:
        torch.set_default_dtype(torch.float32)
    for other in found[1:]:
        for name, weight in other.items():
            torch.testing.assert_close(weight, found[0][name], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("optimizer", RATES)
@pytest.mark.parametrize("decay", DECAYS)
def test_biases_norms_and_alpha_decay_if_all_do(optimizer: str, decay: str) -> None:
    """With gradients of zero a step is decay and nothing else."""
    model = nn.ModuleDict({"layer": nn.Conv1d(2, 2, 3), "norm": nn.GroupNorm(1, 2)})
    model.register_parameter("alpha", nn.Parameter(torch.ones(())))
    model.register_parameter("spectral", nn.Parameter(torch.ones(2, 2, dtype=torch.complex64)))
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    step = optimizer_for(model, Recipe(optimizer=optimizer, weight_decay=0.5, decay=decay))
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    step.step()
    for name, weight in model.named_parameters():
        decays = decay == "all" or name in ("layer.weight", "spectral")
        assert torch.equal(weight, before[name]) != (decays and bool(before[name].any()))
        assert not decays or (weight.abs() <= before[name].abs()).all()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_rates_rise_to_the_peak_and_fall(schedule: str) -> None:
    recipe = Recipe(schedule=schedule, learning_rate=2.0, warmup=0.25)
    rates = [recipe.rate(update, 40) for update in range(40)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[9] == max(rates) == 2.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == 2.0 if schedule == "constant" else rates[-1] < 0.1


def test_what_is_kept_is_the_average(tmp_path: Path) -> None:
    """Of constant weights it is these; the model that is kept is the one that was validated."""
    _, still = trained(ema=0.9, learning_rate=0.0)
    assert_same(refiner().state_dict(), {**still})
    _, raw = trained(epochs=1)
    history, averaged = trained(tmp_path, epochs=1, ema=0.9)
    assert any(not torch.equal(raw[name], averaged[name]) for name in raw)
    parts = {"base": refiner().base, "correction": refiner().correction.module}
    stored = IterativeRefiner.from_checkpoint(tmp_path / "model.safetensors", **parts)
    assert_same(stored.state_dict(), averaged)
    _, without_validation = trained(epochs=1, ema=0.9, valid=False)
    assert_same(without_validation, averaged)
    assert history[0]["valid"]


def test_the_average_of_a_line_lags_behind_it() -> None:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(layer.weight)
    average = Average(layer, decay=0.5)
    for update in range(1, 60):
        nn.init.constant_(layer.weight, update)
        average.update(update)
    assert average.values["weight"].item() == pytest.approx(59 - 1)  # d / (1 - d) updates late


@pytest.mark.parametrize(
    "words", [{"ema": 1.0}, {"accumulate": 17}, {"optimizer": "mun"}, {"schedule": "cos"}, {"decay": "some"}]
)
def test_what_makes_no_sense_is_refused(words: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^expected .*, got .*; try "):
        Recipe(**words)
