"""neuraloperator's own Trainer trains a refiner as it trains its own models, unchanged."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from neuralop.data.transforms.data_processors import DefaultDataProcessor
from neuralop.data.transforms.normalizers import UnitGaussianNormalizer
from neuralop.models import FNO
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from neuralop_irno import IterativeRefiner, RefinementLoss
from neuralop_irno._neuralop import Trainer


class Smoothing(Dataset[dict[str, Any]]):
    """y is x with its neighbours mixed in; a sample also carries words, as PDE collections do."""

    def __init__(self, samples: int = 8, seed: int = 1) -> None:
        self.x = torch.randn(samples, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
        self.y = (self.x + self.x.roll(1, -1) + self.x.roll(1, -2)) / 3

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"x": self.x[index], "y": self.y[index], "name": f"sample {index}"}


def refiner(seed: int = 2) -> IterativeRefiner:
    torch.manual_seed(seed)
    base = FNO((4, 4), in_channels=1, out_channels=1, hidden_channels=4, n_layers=1)
    words = {"name": "unet", "width": 4, "depth": 1}
    return IterativeRefiner(base, words, steps=2, alpha=0.5, ignore=["name"])


def loader(samples: int = 8, seed: int = 1) -> DataLoader[dict[str, Any]]:
    return DataLoader(Smoothing(samples, seed), batch_size=4)


def train(trainer: Trainer, **options: Any) -> dict[str, Any]:
    optimizer = torch.optim.Adam(trainer.model.parameters(), lr=1e-2)
    return trainer.train(
        train_loader=loader(),
        test_loaders={"test": loader(4, seed=3)},
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.StepLR(optimizer, step_size=10),
        training_loss=RefinementLoss(spectral=0.1, fixed_point=0.01),
        eval_losses={"l2": RefinementLoss()},
        **options,
    )


def weights(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("mixed_precision", [False, True])
def test_the_loss_falls_and_the_base_stays(mixed_precision: bool) -> None:
    model = refiner()
    trainer = Trainer(model=model, n_epochs=15, mixed_precision=mixed_precision)
    base = {name: p.clone() for name, p in model.base.named_parameters()}
    before = trainer.evaluate({"l2": RefinementLoss()}, loader(4, seed=3), "test")["test_l2"]
    after = train(trainer)
    assert after["test_l2"] < 0.95 * before
    assert all(torch.equal(base[name], p) for name, p in model.base.named_parameters())
    assert all(p.dtype == torch.float32 for p in model.correction.parameters())


def test_normalizers_of_neuraloperators_fit_around_it() -> None:
    data = Smoothing()
    normalizers = {
        "in_normalizer": UnitGaussianNormalizer(dim=[0, 2, 3]),
        "out_normalizer": UnitGaussianNormalizer(dim=[0, 2, 3]),
    }
    normalizers["in_normalizer"].fit(data.x)
    normalizers["out_normalizer"].fit(data.y)
    trainer = Trainer(model=refiner(), n_epochs=10, data_processor=DefaultDataProcessor(**normalizers))
    before = trainer.evaluate({"l2": RefinementLoss()}, loader(4, seed=3), "test")["test_l2"]
    assert train(trainer)["test_l2"] < before


def test_the_truth_does_not_leak_into_an_evaluation() -> None:
    answers: list[Tensor] = []

    def keep(answer: Tensor, **sample: Tensor) -> Tensor:
        answers.append(answer)
        return answer.sum()

    model = refiner()
    with torch.no_grad():
        for parameter in model.correction.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    told = loader(4)
    misled = copy.deepcopy(told)
    misled.dataset.y = torch.full_like(misled.dataset.y, 1e3)
    trainer = Trainer(model=model, n_epochs=1)
    for data in (told, misled):
        trainer.evaluate({"keep": keep}, data)
    with torch.no_grad():
        answers.append(model(told.dataset.x))
    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[0], answers[2])


class Watching(Trainer):
    """Keeps the weights with which its first epoch began."""

    first_epoch: int | None = None

    def on_epoch_start(self, epoch: int) -> None:
        if self.first_epoch is None:
            self.first_epoch, self.first_weights = epoch, weights(self.model)
        super().on_epoch_start(epoch)


@pytest.mark.parametrize("when", [{"save_every": 1}, {"save_best": "test_l2"}])
def test_a_fresh_model_resumes_with_the_saved_weights(tmp_path: Path, when: dict[str, Any]) -> None:
    model = refiner()
    train(Trainer(model=model, n_epochs=3), save_dir=tmp_path, **when)
    name = "model" if "save_every" in when else "best_model"
    saved = torch.load(tmp_path / f"{name}_state_dict.pt", weights_only=True)
    if "save_every" in when:
        assert same(saved, weights(model))

    fresh = refiner(seed=5)
    assert not same(weights(fresh), saved)
    trainer = Watching(model=fresh, n_epochs=4)
    train(trainer, resume_from_dir=tmp_path)
    # neuraloperator begins with the last epoch that it saved, once more.
    assert trainer.first_epoch == torch.load(tmp_path / "manifest.pt")["epoch"]
    assert same(trainer.first_weights, saved)

    again = IterativeRefiner.from_checkpoint(tmp_path, name)
    assert same(weights(again), saved)
