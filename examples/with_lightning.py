"""Train a refiner with Lightning: the package's loss, optimizer and rates, and a score of every step.

Losses are those of `irno.Trainer` on the same batches, up to rounding. Lightning's loop has no replayed
states, no cached answers of the base, no averaged weights, no skipped updates, and does not resume to the
same bits.
"""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from neuralop.models import FNO
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

import neuralop_irno as irno
from neuralop_irno.training.optimizers import optimizer_for


class RefinerModule(pl.LightningModule):
    """A refiner, its loss and its recipe as a module of Lightning.

    Args:
        model: the refiner.
        recipe: gives optimizer, rates and clip; epochs and batches are Lightning's.
        loss: of trajectories.
    """

    def __init__(
        self, model: irno.IterativeRefiner, recipe: irno.Recipe, loss: irno.RefinementLoss | None = None
    ) -> None:
        super().__init__()
        self.model, self.recipe = model, recipe
        self.loss = irno.RefinementLoss() if loss is None else loss

    def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
        loss = self.loss.per_sample(self.model(**batch), batch["y"]).mean()
        self.log("loss", loss, batch_size=len(batch["y"]))
        return loss

    def on_train_batch_end(self, *_: object) -> None:
        self.loss.count()  # the weights of some losses rise with the updates

    def validation_step(self, batch: dict[str, Tensor], _: int) -> None:
        y = batch["y"]
        for k, h in enumerate(self.model.iterates(x=batch["x"])):
            self.log(f"valid/h_{k}", irno.score(irno.vrmse, h, y).mean(), batch_size=len(y))

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        value = self.recipe.clip if gradient_clip_val is None else gradient_clip_val
        self.clip_gradients(optimizer, value, gradient_clip_algorithm or "norm")

    def configure_optimizers(self) -> dict[str, object]:
        optimizer = optimizer_for(self.model, self.recipe)
        updates = int(self.trainer.estimated_stepping_batches)
        rates = LambdaLR(optimizer, lambda update: self.recipe.rate(update, updates) / self.recipe.peak)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": rates, "interval": "step"}}


if __name__ == "__main__":
    pl.seed_everything(0, verbose=False)
    data = irno.burgers(trajectories=(16, 2, 4))
    base = FNO(n_modes=(8,), in_channels=1, out_channels=1, hidden_channels=16, n_layers=2)
    model = irno.IterativeRefiner(base, {"name": "unet", "width": 8, "depth": 2}, steps=4, alpha=0.5)
    trainer = pl.Trainer(max_epochs=4, accelerator="cpu", logger=False, enable_checkpointing=False)
    train, valid = (
        DataLoader(data[split], batch_size=16, shuffle=split == "train") for split in ("train", "valid")
    )
    trainer.fit(RefinerModule(model, irno.Recipe()), train, valid)
    print({name: round(value.item(), 4) for name, value in trainer.callback_metrics.items()})
