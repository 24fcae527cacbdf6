"""Train a refiner in a loop of Accelerate, with the package's loss, optimizer and rates.

Run it by ``python``, or on several devices by ``accelerate launch``. Losses are those of `irno.Trainer` on
the same batches, up to rounding. The loop has no replayed states, no cached answers of the base, no averaged
weights, no skipped updates, and does not resume to the same bits.
"""

from __future__ import annotations

import torch
from accelerate import Accelerator
from neuralop.models import FNO
from torch.utils.data import DataLoader

import neuralop_irno as irno
from neuralop_irno.training.optimizers import optimizer_for


def train(
    model: irno.IterativeRefiner,
    recipe: irno.Recipe,
    loader: DataLoader,
    valid: DataLoader,
    loss: irno.RefinementLoss | None = None,
    accelerator: Accelerator | None = None,
) -> list[dict[str, list[float]]]:
    """Train, and return the losses of the updates and the scores of the steps, for each epoch."""
    loss = irno.RefinementLoss() if loss is None else loss
    accelerator = accelerator or Accelerator()
    model, optimizer, loader, valid = accelerator.prepare(model, optimizer_for(model, recipe), loader, valid)
    loss, updates, update, history = loss.to(accelerator.device), recipe.epochs * len(loader), 0, []
    for _ in range(recipe.epochs):
        losses = []
        model.train()
        for batch in loader:
            optimizer.zero_grad()
            value = loss.per_sample(model(**batch), batch["y"]).mean()
            accelerator.backward(value)
            accelerator.clip_grad_norm_(model.parameters(), recipe.clip)
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate(update, updates)
            optimizer.step()
            loss.count()  # the weights of some losses rise with the updates
            update += 1
            losses.append(accelerator.reduce(value.detach(), "mean").item())
        history.append({"loss": losses, "valid": scores(accelerator, model, valid)})
    return history


@torch.no_grad()
def scores(accelerator: Accelerator, model: irno.IterativeRefiner, valid: DataLoader) -> list[float]:
    """The mean score of h_0 .. h_K."""
    own = accelerator.unwrap_model(model).eval()
    columns = []
    for batch in valid:
        steps = [irno.score(irno.vrmse, h, batch["y"]) for h in own.iterates(x=batch["x"])]
        columns.append(accelerator.gather_for_metrics(torch.stack(steps, 1)))
    return torch.cat(columns).mean(0).tolist()


if __name__ == "__main__":
    torch.manual_seed(0)
    data = irno.burgers(trajectories=(16, 2, 4))
    base = FNO(n_modes=(8,), in_channels=1, out_channels=1, hidden_channels=16, n_layers=2)
    model = irno.IterativeRefiner(base, {"name": "unet", "width": 8, "depth": 2}, steps=4, alpha=0.5)
    loader = DataLoader(data["train"], batch_size=16, shuffle=True)
    for record in train(model, irno.Recipe(epochs=4), loader, DataLoader(data["valid"], batch_size=16)):
        print(f"loss {record['loss'][-1]:.4g}, scores {[round(score, 4) for score in record['valid']]}")
