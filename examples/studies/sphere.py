"""SFNO on shallow water, refined by a U-Net: `python examples/studies/sphere.py --seeds 0 1 2`.

Trains SFNO on flows on the equiangular grid of 16 x 32 points, then a U-Net with padding across the poles
around it, and prints for held-out flows, on that grid and on the same flows at 32 x 64 points,

    |h - y| / |y|   by area, mean over the samples, of SFNO, of the refiner after K and after 3 K steps

and the cut of SFNO's error, 1 - refined / base. Float32, one thread, on the CPU.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from neuralop.models import SFNO
from torch import Tensor

from neuralop_irno import (
    FieldDataset,
    IterativeRefiner,
    Recipe,
    RefinementLoss,
    SphereDomain,
    Trainer,
    shallow_water,
)

STEPS = 4
FLOWS = {"trajectories": (32, 4, 8), "frames": 9, "frame": 1.0, "resolution": 32}
SIZES = {"1x": 16, "2x": 32}


def relative_errors(answers: Tensor, y: Tensor) -> Tensor:
    """|h - y| / |y| by area, ``(samples,)``."""
    domain = SphereDomain(len(y), y.shape[2:])
    return domain.norm(answers - y) / domain.norm(y)


@torch.no_grad()
def errors(model: IterativeRefiner, data: FieldDataset) -> list[float]:
    """The mean error of the base, after K and after 3 K steps."""
    found = []
    for x, y in zip(data.x.split(16), data.y.split(16), strict=True):
        iterates = model.iterates(x, steps=3 * STEPS)
        found.append(torch.stack([relative_errors(iterates[k], y) for k in (0, STEPS, 3 * STEPS)]))
    return [float(mean) for mean in torch.cat(found, 1).mean(1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--base-epochs", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--width", type=int, default=16, help="of the U-Net")
    parser.add_argument("--to", type=Path, help="a JSON file for the numbers")
    options = parser.parse_args()
    torch.set_num_threads(1)
    splits = {name: shallow_water(size=size, **FLOWS) for name, size in SIZES.items()}
    data, rows = splits["1x"], []
    print(f"{'seed':>4}{'grid':>6}{'base':>9}{'K':>9}{'3 K':>9}{'cut':>7}{'seconds':>9}")
    for seed in options.seeds:
        start = time.perf_counter()
        torch.manual_seed(seed)
        base = SFNO(n_modes=(16, 16), in_channels=4, out_channels=3, hidden_channels=16, n_layers=4)
        recipe = Recipe(optimizer="adamw", epochs=options.base_epochs, batch_size=16, seed=seed)
        Trainer(base, recipe, RefinementLoss(), show=False).fit(data["train"], data["valid"])
        torch.manual_seed(seed)
        model = IterativeRefiner(
            base,
            {"name": "unet", "width": options.width, "depth": 2},
            steps=STEPS,
            resolution={"extent": "fixed"},
        )
        recipe = Recipe(epochs=options.epochs, batch_size=8, weight_decay=0.1, replay=24.0, seed=seed)
        Trainer(model, recipe, RefinementLoss(), show=False).fit(data["train"], data["valid"])
        took = time.perf_counter() - start
        for name, each in splits.items():
            before, after, later = errors(model.eval(), each["test"])
            cut = 1 - after / before
            rows.append({"seed": seed, "grid": name, "base": before, "K": after, "3K": later, "cut": cut})
            print(f"{seed:4}{name:>6}{before:9.4f}{after:9.4f}{later:9.4f}{cut:7.1%}{took:9.0f}", flush=True)
    if options.to:
        options.to.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
