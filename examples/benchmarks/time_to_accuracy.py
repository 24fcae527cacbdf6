"""Training time to the final accuracy of the paper's recipe: `python .../time_to_accuracy.py`.

The demo's problem, base and correction, trained twice from the same weights on the same batches:

    the paper's   unrolled K steps, Adam 3e-4, spectral 1.0, fixed point 0.01, float32
    ours          the demo's: replayed states, one step per update, bfloat16 inside the correction

This is not the paper's exact recipe, which has 150 epochs, alpha 0.2, gradients clipped at 1.0 and Adam's
usual betas. The paper's recipe runs its full schedule; its final error on held-out flows is the target.
Training is counted in updates, and updates of both recipes are timed alternately.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from paired import paired
from torch import nn
from torch.utils.data import Dataset, Subset

from neuralop_irno import IterativeRefiner, Recipe, RefinementLoss, Trainer
from neuralop_irno.demo import FULL, QUICK, Scale, base_recipe, flows, refiner_recipe, small_fno

STUDIED = replace(FULL, trajectories=(64, 4, 16), width=16)
ADAMW = {"optimizer": "adamw", "learning_rate": 6e-3}
"""Size and optimizer of this study, fixed so that its figures stay comparable when the demo changes."""


@dataclass(frozen=True)
class Way:
    """One recipe for training a refiner."""

    scale: Scale
    base: nn.Module
    recipe: Recipe
    alpha: float
    gradient: str
    loss: dict[str, object]

    def train(self, data: Dataset, held_out: Dataset | None = None) -> list[Sequence[float]]:
        """Train; returns the errors after 0 .. K steps at the end of every epoch."""
        torch.manual_seed(self.recipe.seed)
        refiner = IterativeRefiner(
            copy.deepcopy(self.base),
            {"name": "unet", "width": self.scale.width},
            steps=self.scale.steps,
            alpha=self.alpha,
            gradient=self.gradient,
        )
        show = held_out is not None
        history = Trainer(refiner, self.recipe, RefinementLoss(**self.loss), show=show).fit(data, held_out)
        return [record["valid"] for record in history if "valid" in record]

    def short(self) -> Way:
        """The same recipe with one epoch."""
        return replace(self, recipe=replace(self.recipe, epochs=1))


def both_ways(scale: Scale, base: nn.Module, seed: int) -> tuple[Way, Way]:
    """Ours and the paper's."""
    recipe = replace(refiner_recipe(scale, seed), **ADAMW)
    ours = Way(scale, base, recipe, alpha=1.0, gradient="detached", loss={})
    adam = {"learning_rate": 3e-4, "warmup": 0.0, "weight_decay": 0.0, "clip": 1e9}
    paper = Way(
        scale,
        base,
        replace(recipe, **adam, precision="float32", replay=0.0),
        alpha=1 / scale.steps,
        gradient="unrolled",
        loss={"spectral": 1.0, "fixed_point": 0.01, "compare": "amplitude"},
    )
    return ours, paper


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer flows and epochs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    scale = QUICK if options.quick else STUDIED
    data = flows(scale, options.seed)
    torch.manual_seed(options.seed)
    base = small_fno(scale)
    Trainer(base, base_recipe(scale, options.seed)).fit(data["train"], data["valid"])
    ours, paper = both_ways(scale, base, options.seed)

    their_curve = paper.train(data["train"], data["test"])
    our_curve = ours.train(data["train"], data["test"])
    target, last = their_curve[-1][-1], our_curve[-1]
    few = Subset(data["train"], range(8 * scale.batch_size))
    update = paired(lambda: ours.short().train(few), lambda: paper.short().train(few), pairs=9)
    enough = [epoch for epoch, errors in enumerate(our_curve, start=1) if errors[-1] <= target]
    steps = [k for k, error in enumerate(last) if error <= target]
    time = update.median * enough[0] / len(their_curve) if enough else float("inf")
    evaluations = steps[0] / scale.steps if steps else float("inf")
    print(f"the paper's recipe ends at    {target:.4f} after {len(their_curve)} epochs")
    print(f"ours ends at                  {last[-1]:.4f} after {len(our_curve)} epochs")
    print(f"ours is there after           {enough[0] if enough else 'never'} epochs")
    print(f"time of an update, ours/theirs      {update}")
    print(f"time to accuracy, ours/theirs       {time:.3f}")
    print(f"Phi evaluations to reach it         {evaluations:.2f} x K")
    if options.json:
        content = {
            "scale": asdict(scale), "seed": options.seed, "threads": options.threads, "target": target,
            "update": asdict(update), "time_to_accuracy": time, "evaluations": evaluations,
            "paper": their_curve, "ours": our_curve,
        }  # fmt: skip
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
