"""One small training run in a process of its own: `main`, or `python small_run.py FOLDER [option=value ..]`.

It returns, or prints, what the tests compare: a digest of the final weights, and the history.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time

import torch
from neuralop.models import FNO
from torch import Tensor

from neuralop_irno import IterativeRefiner, RefinementLoss
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.recipe import Recipe
from neuralop_irno.training.trainer import Trainer


class Slow(FieldDataset):
    """A data set that takes its time, so that there is some in which to be killed."""

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        time.sleep(0.01)
        return super().__getitem__(index)


def problem(samples: int = 22) -> FieldDataset:
    """From a field to the same field moved and squared."""
    x = torch.randn(samples, 1, 12, generator=torch.Generator().manual_seed(5))
    return Slow(x, x.roll(1, -1) + 0.1 * x.square())


def digest(model: torch.nn.Module) -> str:
    """A word for the weights, to the bit."""
    parts = [t.detach().cpu().numpy().tobytes() for t in model.state_dict().values()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def main(folder: str, *words: str) -> dict[str, object]:
    """Train, with options of the model and the recipe as ``name=value`` in JSON."""
    options = {"gradient": None, "freeze_base": True, "resume": False, "seed": 0}
    recipe = {"epochs": 3, "batch_size": 4, "learning_rate": 3e-3, "save_every": 2, "precision": "float32"}
    for word in words:
        key, value = word.split("=")
        (options if key in options else recipe)[key] = json.loads(value)
    torch.set_num_threads(1)
    torch.manual_seed(options["seed"])
    base = FNO(n_modes=(4,), in_channels=1, out_channels=1, hidden_channels=4, n_layers=1)
    refiner = IterativeRefiner(
        base,
        {"name": "unet", "width": 4, "depth": 1},
        steps=3,
        alpha={"name": "learned", "value": 0.5},
        gradient=options["gradient"],
        freeze_base=options["freeze_base"],
    )
    loss = RefinementLoss(spectral=0.5, fixed_point=0.1, warmup=8)
    trainer = Trainer(refiner, Recipe(**recipe), loss, folder, show=False)
    history = trainer.fit(problem(), problem(6), resume=options["resume"])
    return {"digest": digest(refiner), "history": history}


if __name__ == "__main__":
    outcome = json.dumps(main(*sys.argv[1:]))
    sys.stdout.write(outcome + "\n")  # one write, so that two processes do not mix their lines
