"""The examples with Lightning and Accelerate: the trainer's losses and scores on the same batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import neuralop_irno as irno
from neuralop_irno.training.shards import Shards

EXAMPLES = Path(__file__).parents[2] / "examples"
RECIPE = irno.Recipe(epochs=2, batch_size=4, precision="float32", cache_base=False)
LONGEST = 80

pytestmark = pytest.mark.filterwarnings("ignore")  # of the other packages: few workers, say

X = torch.randn(14, 1, 12, generator=torch.Generator().manual_seed(5))
DATA, VALID = (irno.FieldDataset(x, 0.5 * x.roll(1, -1)) for x in (X, X[:6]))


class Order:
    """The batches of the trainer, epoch by epoch."""

    def __init__(self) -> None:
        self.epoch, self._shards = 0, Shards(len(X), RECIPE.shards)

    def __iter__(self) -> Iterator[list[int]]:
        batches = self._shards.order(RECIPE.batch_size, RECIPE.seed, self.epoch)
        self.epoch += 1
        yield from (batch.tolist() for batch in batches)

    def __len__(self) -> int:
        return -(-len(X) // RECIPE.batch_size)


def loaders() -> tuple[DataLoader, DataLoader]:
    return DataLoader(DATA, batch_sampler=Order()), DataLoader(VALID, batch_size=6)


def refiner() -> irno.IterativeRefiner:
    torch.manual_seed(0)
    base = nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular")
    phi = {"name": "unet", "width": 4, "depth": 0, "dim": 1}
    return irno.IterativeRefiner(base, phi, steps=2, gradient="unrolled", in_channels=1, out_channels=1)


def loss() -> irno.RefinementLoss:
    return irno.RefinementLoss(spectral=0.5, fixed_point=0.1, warmup=4)


class Losses(irno.Reporter):
    """The losses of all updates."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def log(self, values: dict[str, float], update: int) -> None:
        self.losses += [values["update/loss"]] if "update/loss" in values else []


@pytest.fixture(scope="module")
def ours() -> tuple[list[float], list[list[float]]]:
    own = Losses()
    trainer = irno.Trainer(refiner(), RECIPE, loss(), show=False, reporters=[own], report_every=1)
    return own.losses, [record["valid"] for record in trainer.fit(DATA, VALID)]


@pytest.fixture(autouse=True)
def _examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))


def test_lightning_has_the_losses_and_scores_of_the_trainer(
    ours: tuple[list[float], list[list[float]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    import pytorch_lightning as pl
    from with_lightning import RefinerModule

    class Kept(pl.Callback):
        def __init__(self) -> None:
            self.losses: list[float] = []
            self.scores: list[list[float]] = []

        def on_train_batch_end(
            self, trainer: pl.Trainer, module: RefinerModule, outputs: dict, *_: object
        ) -> None:
            self.losses.append(outputs["loss"].item())

        def on_validation_end(self, trainer: pl.Trainer, module: RefinerModule) -> None:
            self.scores.append([trainer.callback_metrics[f"valid/h_{k}"].item() for k in range(3)])

    kept = Kept()
    trainer = pl.Trainer(
        max_epochs=RECIPE.epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
        callbacks=[kept], enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(RefinerModule(refiner(), RECIPE, loss()), *loaders())
    assert kept.losses == pytest.approx(ours[0], rel=1e-4)
    for own, theirs in zip(kept.scores, ours[1], strict=True):
        assert own == pytest.approx(theirs, rel=1e-4)
    assert list(tmp_path.iterdir()) == []


def test_accelerate_has_the_losses_and_scores_of_the_trainer(
    ours: tuple[list[float], list[list[float]]],
) -> None:
    from accelerate import Accelerator
    from with_accelerate import train

    history = train(refiner(), RECIPE, *loaders(), loss(), Accelerator(cpu=True))
    assert [value for record in history for value in record["loss"]] == pytest.approx(ours[0], rel=1e-4)
    for record, theirs in zip(history, ours[1], strict=True):
        assert record["valid"] == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize("name", ["with_lightning.py", "with_accelerate.py"])
def test_they_are_short(name: str) -> None:
    assert (EXAMPLES / name).read_text().count("\n") < LONGEST
