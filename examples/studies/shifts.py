"""Error of a refiner, and how its update changes under shifts: `python examples/studies/shifts.py`.

Trains U-Nets on a periodic problem of the scoreboard and prints, on its test set, the VRMSE of base and
refiner, and for shifts by 1, 2, 3 and 4 cells along every axis

    |Phi(S x, S h) - S Phi(x, h)| / |Phi(x, h)|     at h = T(x)

Float32, one thread. On 2 slow cores 2 minutes for each row of `--width 8 --epochs 12`, 10 with the
scoreboard's sizes, the default.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

from neuralop_irno import Correction, FieldDataset, IterativeRefiner, Recipe, Trainer, scores_per_step

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from frozen_problems import PROBLEMS

KINDS = {"pairs": {"blur": False}, "pairs, frame": {"blur": False, "frame": True}, "smooth": {}}
"""Averages of pairs without and with the frame of x, and averages of six cells."""
SHIFTS = (1, 2, 3, 4)


@torch.no_grad()
def change_by_shift(phi: Correction, x: Tensor, h: Tensor, cells: int) -> float:
    """The change of the update, after a shift by that many cells along each axis, relative to it."""
    axes = tuple(range(2, x.dim()))
    update = phi(x, h)
    moved = phi(*(field.roll([cells] * len(axes), axes) for field in (x, h)))
    return ((moved - update.roll([cells] * len(axes), axes)).norm() / update.norm()).item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--problem", choices=("turbulence", "line"), default="turbulence")
    parser.add_argument("--width", type=int, help="of the U-Net")
    parser.add_argument("--epochs", type=int, help="of the refiner")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    problem = PROBLEMS[options.problem]
    data = problem.data()
    assert isinstance(data.test, FieldDataset)
    print(f"{'':14}{'seed':>5}{'base':>8}{'K':>8}{'3 K':>8}  " + "".join(f"{n:>7}" for n in SHIFTS))
    for seed in options.seeds:
        torch.manual_seed(seed)
        base = problem.base()
        recipe = Recipe(optimizer="adamw", epochs=problem.base_epochs, seed=seed)
        Trainer(base, recipe, show=False).fit(data.train, data.valid)
        for kind in options.kinds:
            correction = {**problem.correction, **KINDS[kind]}
            correction["width"] = options.width or correction["width"]
            torch.manual_seed(seed)
            model = IterativeRefiner(base, correction, steps=problem.steps)
            recipe = Recipe(
                epochs=options.epochs or problem.epochs,
                batch_size=problem.batch_size,
                weight_decay=0.1,
                replay=24.0,
                seed=seed,
            )
            Trainer(model, recipe, show=False).fit(data.train, data.valid)
            means = scores_per_step(model.eval(), data.test, 3 * problem.steps).mean(1).tolist()
            x = data.test.x[:: max(1, len(data.test) // 32)]
            with torch.no_grad():
                h = base(x)
            changes = [change_by_shift(model.correction, x, h, cells) for cells in SHIFTS]
            row = "".join(f"{error:8.4f}" for error in (means[0], means[problem.steps], means[-1]))
            print(
                f"{kind:14}{seed:5}{row}  " + "".join(f"{100 * each:6.1f}%" for each in changes), flush=True
            )


if __name__ == "__main__":
    main()
