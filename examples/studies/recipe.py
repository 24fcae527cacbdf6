"""Ablation of the demo's recipe: `python examples/studies/recipe.py`.

Every variant trains the demo's refiner on the demo's flows from the same base and the same weights, with one
option changed. Seeds change weights and batches, not the flows. About two minutes per variant and seed.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from neuralop_irno import IterativeRefiner, RefinementLoss, Trainer, scores_per_step, summarise
from neuralop_irno.demo import FULL, QUICK, base_recipe, flows, refiner_recipe, small_fno
from neuralop_irno.training import optimizers

STUDIED = replace(FULL, trajectories=(64, 4, 16), width=16)
ADAMW = {"optimizer": "adamw", "learning_rate": 6e-3}
"""Size and optimizer of this study, fixed so that its figures stay comparable when the demo changes."""


@dataclass(frozen=True)
class Variant:
    """The changed options of one variant."""

    recipe: dict[str, object] = field(default_factory=dict)
    model: dict[str, object] = field(default_factory=dict)
    loss: dict[str, object] = field(default_factory=dict)
    betas: tuple[float, float] = optimizers.BETAS


VARIANTS = {
    "the demo's recipe": Variant(),
    "replay 8": Variant(recipe={"replay": 8.0}),
    "no replay, detached": Variant(recipe={"replay": 0.0}),
    "no replay, unrolled": Variant(recipe={"replay": 0.0}, model={"gradient": "unrolled"}),
    "second moment 0.999": Variant(betas=(0.9, 0.999)),
    "weight decay 0.01": Variant(recipe={"weight_decay": 0.01}),
    "weight decay 0.3": Variant(recipe={"weight_decay": 0.3}),
    "rate 3e-3": Variant(recipe={"learning_rate": 3e-3}),
    "float32": Variant(recipe={"precision": "float32"}),
    "spectral 1.0, complex": Variant(loss={"spectral": 1.0}),
    "spectral 1.0, amplitude": Variant(loss={"spectral": 1.0, "compare": "amplitude"}),
    "fixed point 0.1": Variant(loss={"fixed_point": 0.1}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer flows and epochs")
    parser.add_argument("--only", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="add the figures to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    scale = QUICK if options.quick else STUDIED
    data = flows(scale, seed=0)
    torch.manual_seed(0)
    base = small_fno(scale)
    Trainer(base, base_recipe(scale, seed=0), show=False).fit(data["train"], data["valid"])
    print(f"{'variant':26} seed {'base':>7} {'1':>7} {'K':>7} {'3 K':>7} {'3 K / K':>8} {'seconds':>8}")
    for name in options.only:
        for seed in options.seeds:
            variant = VARIANTS[name]
            optimizers.BETAS = variant.betas
            torch.manual_seed(seed)
            words = {"steps": scale.steps, "alpha": 1.0, **variant.model}
            refiner = IterativeRefiner(base, {"name": "unet", "width": scale.width}, **words)
            recipe = replace(refiner_recipe(scale, seed), **{**ADAMW, **variant.recipe})
            start = time.perf_counter()
            Trainer(refiner, recipe, RefinementLoss(**variant.loss), show=False).fit(
                data["train"], data["valid"]
            )
            seconds = time.perf_counter() - start
            scores = scores_per_step(refiner, data["test"], 3 * scale.steps)
            errors = [summarise(step).mean for step in scores]
            at_k, at_3k = errors[scale.steps], errors[-1]
            print(
                f"{name:26} {seed:4} {errors[0]:7.4f} {errors[1]:7.4f} {at_k:7.4f} {at_3k:7.4f} "
                f"{at_3k / at_k:8.3f} {seconds:8.0f}",
                flush=True,
            )
            if options.json:
                _add(options.json, {"variant": name, "seed": seed, "errors": errors, "seconds": seconds})


def _add(path: Path, row: dict[str, object]) -> None:
    rows = json.loads(path.read_text()) if path.exists() else []
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([*rows, row], indent=1))


if __name__ == "__main__":
    main()
