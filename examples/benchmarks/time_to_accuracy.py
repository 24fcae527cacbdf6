"""Training time to the final errors of older recipes: `python .../time_to_accuracy.py --seed 0`.

The demo's problem with 64 flows, one base, three ways to train a refiner with K = 4, 24 epochs each:

    the paper's   `unet`, unrolled K steps, Adam 3e-4, spectral 1.0 on amplitudes, fixed point 0.01, float32
    the first     `unet`, replayed states, AdamW 6e-3: the first recipe of this package
    today's       the demo's: `residual_unet`, replayed states, Muon 2e-2

The paper's is not its exact recipe, which has 150 epochs, alpha 0.2, gradients clipped at 1.0 and Adam's
usual betas. Every way runs its full schedule. Printed for two ways A and B: the epochs after which A has the
final error of B on held-out flows, and the time of that over all epochs of B; updates of both are timed
alternately.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from paired import paired
from torch import nn
from torch.utils.data import Dataset, Subset

from neuralop_irno import IterativeRefiner, Recipe, RefinementLoss, Trainer
from neuralop_irno.demo import FULL, QUICK, Scale, base_recipe, flows, refiner_recipe, small_fno

STUDIED = replace(FULL, trajectories=(64, 4, 16), width=16)
PAPER, FIRST, TODAY = "the paper's", "the first", "today's"
COMPARED = ((FIRST, PAPER), (TODAY, PAPER), (TODAY, FIRST))


@dataclass(frozen=True)
class Way:
    """One recipe for training a refiner."""

    base: nn.Module
    options: dict[str, Any]
    recipe: Recipe
    loss: dict[str, Any]

    def train(self, data: Dataset, held_out: Dataset | None = None) -> list[Sequence[float]]:
        """Train; returns the errors after 0 .. K steps at the end of every epoch."""
        torch.manual_seed(self.recipe.seed)
        refiner = IterativeRefiner(copy.deepcopy(self.base), **self.options)
        show = held_out is not None
        history = Trainer(refiner, self.recipe, RefinementLoss(**self.loss), show=show).fit(data, held_out)
        return [record["valid"] for record in history if "valid" in record]

    def short(self) -> Way:
        """The same recipe with one epoch."""
        return replace(self, recipe=replace(self.recipe, epochs=1))


def ways(scale: Scale, base: nn.Module, seed: int) -> dict[str, Way]:
    """The three ways, by name."""
    recipe = refiner_recipe(scale, seed)
    adam: dict[str, Any] = {
        "optimizer": "adamw",
        "learning_rate": 3e-4,
        "warmup": 0.0,
        "weight_decay": 0.0,
        "clip": 1e9,
    }
    own = {"steps": scale.steps, "alpha": 1.0, "gradient": "detached"}
    unet = {"name": "unet", "width": scale.width, "depth": 3}
    paper = {**own, "alpha": 1 / scale.steps, "gradient": "unrolled", "correction": unet}
    parts = {"spectral": 1.0, "fixed_point": 0.01, "compare": "amplitude"}
    return {
        PAPER: Way(base, paper, replace(recipe, **adam, precision="float32", replay=0.0), parts),
        FIRST: Way(
            base, {**own, "correction": unet}, replace(recipe, optimizer="adamw", learning_rate=6e-3), {}
        ),
        TODAY: Way(base, {**own, "correction": {**unet, "name": "residual_unet"}}, recipe, {}),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer flows and epochs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="add the figures to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    scale = QUICK if options.quick else STUDIED
    data = flows(scale, options.seed)
    torch.manual_seed(options.seed)
    base = small_fno(scale)
    Trainer(base, base_recipe(scale, options.seed)).fit(data["train"], data["valid"])
    found = ways(scale, base, options.seed)
    curves = {name: way.train(data["train"], data["test"]) for name, way in found.items()}
    for name, curve in curves.items():
        print(f"{name:12} ends at {curve[-1][-1]:.4f} after {len(curve)} epochs")

    few = Subset(data["train"], range(8 * scale.batch_size))
    times = {}
    for fast, slow in COMPARED:
        target = curves[slow][-1][-1]
        a, b = (partial(found[name].short().train, few) for name in (fast, slow))
        update = paired(a, b, pairs=9)
        enough = [epoch for epoch, errors in enumerate(curves[fast], start=1) if errors[-1] <= target]
        time = update.median * enough[0] / len(curves[slow]) if enough else None
        times[f"{fast} / {slow}"] = {"update": asdict(update), "epochs": enough[:1], "time": time}
        shown = "never" if time is None else f"after {enough[0]} epochs, {time:.3f} of its time"
        print(f"{fast} has the error of {slow} {shown} (an update: {update})")
    if options.json:
        before = json.loads(options.json.read_text()) if options.json.exists() else []
        content = {"scale": asdict(scale), "seed": options.seed, "threads": options.threads}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(
            json.dumps([*before, {**content, "times": times, "curves": curves}], indent=1)
        )


if __name__ == "__main__":
    main()
