"""Transolver on waves on meshes, refined: `python examples/studies/transolver_on_meshes.py --seeds 0 1 2`.

Transolver sees a mesh through a few slices, which hold little of its fine scales. Here one is trained on the
waves of the scoreboard (`frozen_problems.py`), each sample on its own mesh, as long as the RIGNO there, and
refined by a graph network along the edges. Beside it are the two one-shot controls, trained with the same
loss: the same network evaluated once, with as many updates, and a wider one whose evaluation costs as much
as all K of the refiner, with as much arithmetic in training.

Printed for each seed on held-out meshes: the VRMSE, then the root of the mean square error in the low, middle
and high third of the frequencies of the graphs, over that of the base, and the seconds of CPU of each
training. The first line has the same ratios for the error of a field that is zero.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from neuralop_irno import IterativeRefiner, Recipe, RefinementLoss, Trainer, scores_per_step
from neuralop_irno.diagnostics.spectral_error import BandErrors, band_energy, band_middles
from neuralop_irno.models import Transolver
from neuralop_irno.spectrum.of_domain import spectrum_of
from neuralop_irno.study.controls import one_shot_like, with_compute_shared, without_replay

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from frozen_problems import PROBLEMS

STEPS, BANDS = 4, 16
PHI = {"name": "meshgraph", "width": 24, "steps": 2}


def transolver() -> Transolver:
    return Transolver(2, 1, width=32, layers=3, heads=4, slices=16)


@torch.no_grad()
def thirds(model: IterativeRefiner, graphs: Any) -> Tensor:
    """The energies in thirds of the frequencies of the base's error, the last answer's, and the truth."""
    data = Batch.from_data_list(list(graphs))
    call = model.base.problem((data,), {})
    spectrum = spectrum_of(call.domain, data.y.device)
    answers = model.eval().iterates(data)
    fields = (answers[0] - data.y, answers[-1] - data.y, data.y)
    energies = torch.stack([band_energy(spectrum, field, BANDS).mean((0, 1)) for field in fields])
    return BandErrors(band_middles(spectrum, BANDS), energies, energies[-1]).thirds()


def ratios(after: Tensor, before: Tensor) -> str:
    return "low, middle, high: " + "  ".join(f"{ratio:.3f}" for ratio in (after / before).sqrt())


def trained(model: nn.Module, recipe: Recipe, data: Any, loss: RefinementLoss | None = None) -> float:
    """Train a model; returns the seconds."""
    start = time.process_time()  # other work on the machine does not count
    Trainer(model, recipe, loss, show=False).fit(data.train, data.valid)
    return time.process_time() - start


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments.add_argument("--base-epochs", type=int, default=24)
    arguments.add_argument("--epochs", type=int, default=40)
    arguments.add_argument("--sobolev", type=float, default=3.0, help="weight of the loss in H^1.5")
    controls = ("parameters", "compute")
    arguments.add_argument("--match", nargs="*", choices=controls, default=controls, help="which controls")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    data = PROBLEMS["waves"].data()
    for seed in options.seeds:
        torch.manual_seed(seed)
        base = transolver()
        first = Recipe(optimizer="adamw", epochs=options.base_epochs, batch_size=4, seed=seed)
        taken = trained(base, first, data)
        recipe = Recipe(epochs=options.epochs, batch_size=4, weight_decay=0.1, replay=16.0, seed=seed)
        torch.manual_seed(seed)
        refiner = IterativeRefiner(base, PHI, steps=STEPS, alpha=1.0)
        ways = {"refined": (refiner, recipe)}
        shared = with_compute_shared(recipe, refiner.gradient, STEPS)
        recipes = {"parameters": without_replay(recipe), "compute": shared}
        for match in options.match:
            torch.manual_seed(seed)
            ways[f"once, same {match}"] = (one_shot_like(refiner, match, data.train), recipes[match])
        count = sum(p.numel() for p in base.parameters())
        before, _, truth = thirds(refiner, data.test)
        print(f"seed {seed}, base: {count:,} parameters, {taken:.0f} s; zero: {ratios(truth, before)}")
        for way, (model, own) in ways.items():
            loss = RefinementLoss(sobolev=options.sobolev, sobolev_order=1.5)
            taken = trained(model, own, data, loss)
            scores = scores_per_step(model, data.test).mean(1)
            before, after, _ = thirds(model, data.test)
            count = sum(p.numel() for p in model.correction.parameters())
            print(
                f"  {way:22} VRMSE {scores[0]:.4f} -> {scores[-1]:.4f}   {ratios(after, before)}"
                f"   {count:,} parameters, {taken:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
