"""Growth of the error beyond K steps, by variant of training: `python examples/studies/stability.py`.

Every variant trains the demo's refiner on the demo's flows from the same base and the same weights. Its error
is measured up to 10 K steps with the plain iteration, with step sizes that decay after K, and with Anderson's
method to a tolerance. `worst` is the flow with the largest error at 10 K in units of its own best step.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from neuralop_irno import IterativeRefiner, RefinementLoss, Trainer, scores_per_step
from neuralop_irno.demo import FULL, QUICK, Scale, base_recipe, flows, refiner_recipe, small_fno
from neuralop_irno.training.evaluation import scores_of_solutions

STUDIED = replace(FULL, trajectories=(64, 4, 16), width=16)
ADAMW = {"optimizer": "adamw", "learning_rate": 6e-3}
"""Size and optimizer of this study, fixed so that its figures stay comparable when the demo changes."""


@dataclass(frozen=True)
class Variant:
    """The changed options of one variant."""

    recipe: dict[str, object] = field(default_factory=dict)
    model: dict[str, object] = field(default_factory=dict)
    loss: dict[str, object] = field(default_factory=dict)
    correction: dict[str, object] = field(default_factory=dict)


VARIANTS = {
    "detached": Variant(recipe={"replay": 0.0}),
    "random K, 2 to 12": Variant(recipe={"replay": 0.0}, model={"steps": [2, 12]}),
    "replay 24": Variant(),
    "replay 24, spectral 1.0": Variant(loss={"spectral": 1.0}),
    "replay 24, contraction, power": Variant(loss={"contraction": 0.01, "contraction_target": 0.9}),
    "replay 24, contraction, error": Variant(
        loss={"contraction": 0.01, "contraction_target": 0.5, "contraction_direction": "error"}
    ),
    "replay 24, spectral norm": Variant(correction={"spectral_norm": True}),
}
DECAYING = {"name": "decaying", "value": 1.0, "after": 4, "ratio": 0.7}


def trained(variant: Variant, scale: Scale, data: dict, base: torch.nn.Module, seed: int) -> IterativeRefiner:
    """The variant's refiner."""
    torch.manual_seed(seed)
    words = {"steps": scale.steps, "alpha": 1.0, **variant.model}
    refiner = IterativeRefiner(base, {"name": "unet", "width": scale.width, **variant.correction}, **words)
    recipe = replace(refiner_recipe(scale, seed), **{**ADAMW, **variant.recipe})
    Trainer(refiner, recipe, RefinementLoss(**variant.loss), show=False).fit(data["train"], data["valid"])
    return refiner


def growth(scores: Tensor, flows: int) -> tuple[float, float]:
    """The last error relative to the best step's: for the mean, and for the worst flow."""
    by_flow = scores.reshape(len(scores), flows, -1).mean(2)
    mean = scores.mean(1)
    return (mean[-1] / mean.min()).item(), (by_flow[-1] / by_flow.amin(0)).max().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer flows and epochs")
    parser.add_argument("--only", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="add the figures to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    scale = QUICK if options.quick else STUDIED
    data = flows(scale, seed=0)
    torch.manual_seed(0)
    base = small_fno(scale)
    Trainer(base, base_recipe(scale, seed=0), show=False).fit(data["train"], data["valid"])
    count, last = scale.trajectories[2], 10 * scale.steps
    heads = ("K", "10 K", "mean", "worst", "decaying", "mean", "worst", "anderson", "steps")
    print(f"{'variant':32}" + "".join(f"{head:>9}" for head in heads))
    for name in options.only:
        refiner = trained(VARIANTS[name], scale, data, base, options.seed)
        plain = scores_per_step(refiner, data["test"], last)
        calm = IterativeRefiner(base, refiner.correction, steps=scale.steps, alpha=DECAYING)
        decaying = scores_per_step(calm, data["test"], last)
        solved = scores_of_solutions(refiner, data["test"], solver="anderson", rtol=1e-3, max_steps=40)
        row = [
            plain.mean(1)[scale.steps].item(), plain.mean(1)[-1].item(), *growth(plain, count),
            decaying.mean(1)[-1].item(), *growth(decaying, count),
            solved.scores.mean().item(), solved.steps.double().mean().item(),
        ]  # fmt: skip
        print(f"{name:32}" + "".join(f"{value:9.4f}" for value in row), flush=True)
        if options.json:
            rows = json.loads(options.json.read_text()) if options.json.exists() else []
            rows.append({"variant": name, "seed": options.seed, "heads": heads, "row": row})
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
