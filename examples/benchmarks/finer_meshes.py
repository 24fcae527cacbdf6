"""Refined answers on finer meshes: `python examples/benchmarks/finer_meshes.py waves --correction meshgraph`.

A RIGNO base and its correction are trained on meshes of spacing 0.08. The same held-out problems are then
solved on meshes with about 2 and 4 times the nodes. Printed: the VRMSE of the base, of the refiner with Phi
as it is (native), with Phi on coarse nodes (pairs points and means), and as by default (along edges as long
as in training if the correction works along edges); then each over that at 1x.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

import torch

from neuralop_irno import IterativeRefiner, Recipe, Trainer, heat_in_wind, scores_per_step, summarise, waves
from neuralop_irno.data.graphs import GraphDataset
from neuralop_irno.models.rigno import RIGNO

PROBLEMS = {"heat": (heat_in_wind, 4), "waves": (waves, 2)}
CORRECTIONS = {
    "meshgraph": {"name": "meshgraph", "width": 24, "steps": 2},
    "rigno": {"name": "rigno", "width": 24, "steps": 3, "levels": 3},
    "sage": {"name": "pyg:GraphSAGE", "hidden_channels": 24, "num_layers": 2},
}
SPACING, STEPS = 0.08, 4
WAYS = ({"extent": "grows"}, {"pair": "points"}, {"pair": "means"}, {})


def data(problem: str, samples: Sequence[int], finer: float = 1.0) -> dict[str, GraphDataset]:
    """Training, validation and test meshes with ``finer`` times the nodes."""
    make = PROBLEMS[problem][0]
    return make(samples=samples, spacing=SPACING / finer**0.5)


def trained(
    problem: str, correction: str, samples: Sequence[int], epochs: int, seed: int, redrawn: float
) -> IterativeRefiner:
    """A refiner, after its base."""
    sets = data(problem, samples)
    torch.manual_seed(seed)
    base = RIGNO(PROBLEMS[problem][1], 1, width=24, steps=3, levels=3, time=False)
    Trainer(base, Recipe(optimizer="adamw", epochs=24, batch_size=4, seed=seed), show=False).fit(
        sets["train"]
    )
    torch.manual_seed(seed)
    known = {"redrawn": redrawn}
    model = IterativeRefiner(base, CORRECTIONS[correction], steps=STEPS, alpha=1.0, resolution=known)
    recipe = Recipe(optimizer="adamw", epochs=epochs, batch_size=4, weight_decay=0.1, replay=16.0, seed=seed)
    Trainer(model, recipe, show=False).fit(sets["train"], sets["valid"])
    return model


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("problem", choices=PROBLEMS)
    arguments.add_argument("--correction", choices=CORRECTIONS, default="meshgraph")
    arguments.add_argument("--redrawn", type=float, default=0.0, help="see Resolution")
    arguments.add_argument("--samples", type=int, nargs=3, default=(96, 8, 16))
    arguments.add_argument("--epochs", type=int, default=80)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments.add_argument("--finer", type=float, nargs="+", default=[1, 2, 4])
    options = arguments.parse_args()
    for seed in options.seeds:
        model = trained(
            options.problem, options.correction, options.samples, options.epochs, seed, options.redrawn
        )
        known = model.resolution
        print(f"{options.problem}, {options.correction}, seed {seed}: {known}")
        print(f"{'nodes':>8}{'base':>9}{'native':>9}{'points':>9}{'means':>9}{'default':>9}   each / 1x")
        first: list[float] = []
        for finer in options.finer:
            test = data(options.problem, (1, 1, options.samples[2]), finer)["test"]
            errors = []
            for changes in WAYS:
                model.resolution = replace(known, **changes)
                steps = [summarise(each).mean for each in scores_per_step(model, test, STEPS)]
                errors += [steps[-1]] if errors else [steps[0], steps[-1]]
            model.resolution = known
            first = first or errors
            nodes = sum(len(graph.x) for graph in test) / len(test)
            ratios = "".join(f"{error / one:7.2f}" for error, one in zip(errors, first, strict=True))
            print(f"{nodes:8.0f}" + "".join(f"{error:9.4f}" for error in errors) + "  " + ratios, flush=True)


if __name__ == "__main__":
    main()
