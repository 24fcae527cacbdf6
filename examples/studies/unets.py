"""Two U-Nets as corrections, refined and asked once: `python examples/studies/unets.py --seeds 0 1 2`.

The grids of the scoreboard (examples/benchmarks/frozen_problems.py), with its recipe and its bases of seed 0.
Trained are, for each seed of weights and batches, a `unet` and `residual_unet` as it is by default, with K
steps and evaluated once. Printed, and added to a file with `--json`: parameters, VRMSE at K and 3 K on
the test samples, and what is left at K of the base's error in the low, middle and high third of the
wavenumbers, up to Nyquist's of an axis and beyond.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuralop_irno import IterativeRefiner, Recipe, Trainer, scores_per_step, summarise
from neuralop_irno.study import controls

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from frozen_problems import PROBLEMS, Data, Problem

KINDS = ("unet", "residual_unet")
GRIDS = ("turbulence", "line", "darcy")
THIRDS = ((0.0, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 2.0))


UNETS = {
    "turbulence": {"width": 16, "depth": 3},
    "line": {"width": 12, "depth": 3},
    "darcy": {"width": 12, "depth": 2},
}
"""The options of `unet` for each problem."""


def corrections(name: str) -> dict[str, dict[str, Any]]:
    """The two networks, with the problem's padding and axes."""
    own = PROBLEMS[name].correction
    fitting = {option: own[option] for option in ("dim", "padding") if option in own}
    return {
        "unet": {"name": "unet", **UNETS[name], **fitting},
        "residual_unet": {"name": "residual_unet", **fitting},
    }


def trained_base(problem: Problem, data: Data) -> Any:
    torch.manual_seed(0)
    base = problem.base()
    recipe = Recipe(optimizer="adamw", epochs=problem.base_epochs, batch_size=problem.base_batch_size, seed=0)
    Trainer(base, recipe, show=False).fit(data.train, data.valid)
    return base


def left_by_thirds(model: IterativeRefiner, samples: Any) -> list[float]:
    """The error of the answer over that of the base in three bands of wavenumbers."""
    x, y = (torch.stack([sample[name] for sample in samples]) for name in ("x", "y"))
    with torch.no_grad():
        answers = model.eval()(x), model.base(x)
    axes = tuple(range(2, x.dim()))
    numbers = [torch.fft.fftfreq(n, 1 / n) for n in x.shape[2:]]
    radius = sum(k**2 for k in torch.meshgrid(*numbers, indexing="ij")) ** 0.5 / (x.shape[-1] / 2)

    def size(error: Tensor, low: float, high: float) -> float:
        within = (radius >= low) & (radius < high)
        return float((torch.fft.fftn(error, dim=axes).abs() * within).norm())

    return [size(answers[0] - y, *band) / size(answers[1] - y, *band) for band in THIRDS]


def figures(name: str, kind: str, once: bool, seed: int, data: Data, base: Any) -> dict[str, Any]:
    problem = PROBLEMS[name]
    options = {
        "correction": corrections(name)[kind],
        "steps": problem.steps,
        "alpha": 1.0,
        "resolution": {"extent": "fixed"},
    }
    recipe = Recipe(
        epochs=problem.epochs, batch_size=problem.batch_size, weight_decay=0.1, replay=24.0, seed=seed
    )
    if once:
        options, recipe = controls.one_shot(options), controls.without_replay(recipe)
    torch.manual_seed(seed)
    model, start = IterativeRefiner(base, **options), time.process_time()
    Trainer(model, recipe, show=False).fit(data.train, data.valid)
    seconds = time.process_time() - start
    steps = 1 if once else problem.steps
    scores = [summarise(each).mean for each in scores_per_step(model, data.test, 1 if once else 3 * steps)]
    return {
        "problem": name,
        "correction": kind,
        "evaluated": "once" if once else "K times",
        "seed": seed,
        "parameters": sum(parameter.numel() for parameter in model.correction.parameters()),
        "base": scores[0],
        "K": scores[steps],
        "3K": scores[-1],
        "left": left_by_thirds(model, data.test),
        "seconds": round(seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--problems", nargs="+", choices=GRIDS, default=list(GRIDS))
    parser.add_argument("--corrections", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="add the figures to this file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.problems:
        data = PROBLEMS[name].data()
        base = trained_base(PROBLEMS[name], data)
        for seed in given.seeds:
            for kind in given.corrections:
                for once in (False, True):
                    row = figures(name, kind, once, seed, data, base)
                    print(json.dumps(row), flush=True)
                    if given.json:
                        known = json.loads(given.json.read_text()) if given.json.exists() else []
                        given.json.write_text(json.dumps([*known, row], indent=1) + "\n")


if __name__ == "__main__":
    main()
