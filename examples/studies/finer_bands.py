"""Errors that only the finer grid can show: `python examples/studies/finer_bands.py --seeds 0`.

Turbulence on 64 x 64 points, from a solver on 128 x 128. One base, trained at 32 x 32, is refined by a U-Net
that is trained

    coarse     at 32 x 32
    both       at 64 x 64 and 32 x 32 in turns (`resolutions: [1, 2]`), with twice the updates, so that there
               are as many at 32 x 32

Printed on held-out samples: VRMSE at 32 x 32 and at 64 x 64 of base and refiner, and at 64 x 64 the error in
the waves that 32 x 32 points cannot show, over that of the base; then the cells of all updates.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from neuralop_irno import FieldDataset, IterativeRefiner, Recipe, Trainer, scores_per_step

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from finer_grids import PROBLEMS, STEPS, sets_of

COARSE = 32


def fine_part(field: Tensor) -> Tensor:
    """The energy of the waves beyond those of the coarse grid, of each sample."""
    modes = torch.fft.fft2(field).abs().square()
    wave = torch.fft.fftfreq(field.shape[-1], 1 / field.shape[-1]).abs()
    return modes[..., (wave[:, None] >= COARSE // 2) | (wave >= COARSE // 2)].sum((1, 2))


@torch.no_grad()
def fine_error(model: IterativeRefiner, test: FieldDataset) -> float:
    """The error of the refined answer in these waves over that of the base."""
    answers = model.eval().iterates(test.x, steps=STEPS)
    base, refined = (fine_part(answer - test.y).mean() for answer in (answers[0], answers[-1]))
    return float((refined / base).sqrt())


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments.add_argument("--epochs", type=int, default=40)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    problem = PROBLEMS["turbulence"]
    coarse = sets_of(problem, (1.0,))
    fine = sets_of(replace(problem, coarsest=2 * COARSE), (1.0,))
    phi = {"name": "unet", "dim": 2, "width": 12, "depth": 3}
    for seed in options.seeds:
        torch.manual_seed(seed)
        base = problem.base()
        first = Recipe(optimizer="adamw", epochs=20, batch_size=16, seed=seed)
        Trainer(base, first, show=False).fit(coarse["train"], coarse["valid"])
        ways = {"coarse": (coarse, options.epochs, [1]), "both": (fine, 2 * options.epochs, [1, 2])}
        for way, (sets, epochs, resolutions) in ways.items():
            torch.manual_seed(seed)
            model = IterativeRefiner(base, phi, steps=STEPS, alpha=1.0)
            recipe = Recipe(epochs=epochs, batch_size=16, weight_decay=0.1, replay=24.0, seed=seed)
            recipe = replace(recipe, resolutions=resolutions)
            Trainer(model, recipe, show=False).fit(sets["train"], sets["valid"])
            coarsely, finely = (scores_per_step(model, each["1"], STEPS).mean(1) for each in (coarse, fine))
            size = sets["train"].x.shape[-1]
            cells = sum((size // ratio) ** 2 for ratio in resolutions) / len(resolutions)
            print(
                f"seed {seed}, {way:7}  32 x 32: {coarsely[0]:.4f} -> {coarsely[-1]:.4f}"
                f"  64 x 64: {finely[0]:.4f} -> {finely[-1]:.4f}"
                f"  fine waves: {fine_error(model, fine['1']):.3f} of the base's"
                f"  cells: {epochs * len(sets['train']) * cells:.2e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
