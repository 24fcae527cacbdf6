"""m > 0 at which price: `python examples/studies/monotone.py --json docs/results/monotone.json`.

The demo's problem with fewer flows and a narrower U-Net N, the same K and alpha = 1, from one base T (seed
0). Three forms of Phi:

    plain       N(x, h)
    leak        T(x) - h + N(x, h), which starts from m = 1 in place of m = 0
    anchored    w (a(x) - h) + (1 - w) N(x, h), with the plain refiner's own answer a(x) = h_K

The first two are trained with each weight of the monotone loss. The third one is not trained: its m is
w + (1 - w) m of N, and w is chosen on the validation flows such that the least m there is the margin.

Printed for held-out flows: VRMSE, and at the truth m over all directions (Lanczos, `--iterations`; `residual`
is |S v - m v| of the unit vector v, the largest of the samples), M, and the least m along the errors
e_0 .. e_K.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno import Correction, FieldDataset, IterativeRefiner, RefinementLoss, Trainer, scores_per_step
from neuralop_irno.correction.unet import UNet
from neuralop_irno.demo import FULL, Scale, base_recipe, flows, refiner_recipe, small_fno
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.linearisation import (
    Linearisation,
    extreme_eigenvalues,
    lowest_eigenvector,
    symmetric_part,
)

STUDIED = replace(FULL, trajectories=(16, 2, 8), width=8, base_epochs=20, epochs=8)
SMALLEST = replace(
    STUDIED, trajectories=(2, 1, 1), size=16, resolution=32, base_epochs=1, epochs=1, width=4, modes=4
)
MEASURED, FOR_NORM = 24, 20
"""Samples whose m is measured, and Lanczos iterations for M, which converges sooner than m."""


class Anchored(Correction):
    """pull (a(x) - h) + share N(x, h), with a fixed answer a(x)."""

    def __init__(
        self, inner: Correction, anchor: Callable[[Tensor], Tensor], pull: float, share: float
    ) -> None:
        super().__init__()
        self.inner, self.anchor = inner, [anchor]  # in a list: its weights are not this correction's
        self.pull, self.share = pull, share
        self.periodic, self.out_channels = inner.periodic, inner.out_channels

    def prepare(self, x: Tensor, domain: GridDomain) -> tuple[Any, Tensor]:
        with torch.no_grad():
            return self.inner.prepare(x, domain), self.anchor[0](x)

    def forward(self, x: tuple[Any, Tensor], h: Tensor) -> Tensor:
        prepared, answer = x
        return self.pull * (answer - h) + self.share * self.inner(prepared, h)


@dataclass(frozen=True)
class Measured:
    """At the truth, sample by sample.

    Attributes:
        m: over all directions.
        residual: of its eigenpair.
        norm: M.
        along: the least m along the errors.
    """

    m: Tensor
    residual: Tensor
    norm: Tensor
    along: Tensor


def measured(model: IterativeRefiner, data: FieldDataset, iterations: int) -> Measured:
    """m, M and m along errors of samples spread over the flows."""
    keep = torch.linspace(0, len(data) - 1, min(MEASURED, len(data))).long()
    x, y = data.x[keep], data.y[keep]
    domain, model = GridDomain.of(y), model.eval()
    linear = Linearisation(model.correction.bind(x, domain), y)
    symmetric = symmetric_part(linear, domain)
    start = torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    v = lowest_eigenvector(lambda u: -symmetric(u), domain, start, iterations)
    v = v / domain.spread(domain.norm(v), v)
    image = -symmetric(v)
    m = domain.inner(v, image)
    _, high = extreme_eigenvalues(lambda u: linear.adjoint(linear.push(u), domain), domain, start, FOR_NORM)
    with torch.no_grad():
        errors = [y - h for h in model.iterates(x)]
    along = [-domain.inner(linear.push(e), e) / domain.inner(e, e) for e in errors]
    residual = domain.norm(image - domain.spread(m, v) * v)
    return Measured(m, residual, high.sqrt(), torch.stack(along).amin(0))


def row(model: IterativeRefiner, test: FieldDataset, iterations: int) -> dict[str, float]:
    """The figures of one refiner."""
    errors = scores_per_step(model, test, 3 * model.steps).mean(1)
    found = measured(model, test, iterations)
    admissible = 2 * found.m.clamp(min=0) / found.norm.square().clamp(min=1e-12)
    values = {
        "base": errors[0], "K": errors[model.steps], "3 K": errors[-1],
        "m > 0": (found.m > 0).double().mean(),
        "m > residual": (found.m > found.residual).double().mean(),
        "m, median": found.m.median(), "m, least": found.m.min(),
        "m, mean": found.m.mean(), "m, deviation": found.m.std(),
        "residual": found.residual.max(), "M, median": found.norm.median(),
        "2 m / M^2, median": admissible.median(), "alpha < 2 m / M^2": (admissible > 1).double().mean(),
        "along: m > 0": (found.along > 0).double().mean(), "along: m, median": found.along.median(),
    }  # fmt: skip
    return {name: float(value) for name, value in values.items()}


class Study:
    """The base, its data, and the refiners around it."""

    def __init__(self, scale: Scale, margin: float, penalty_iterations: int) -> None:
        self.scale, self.margin, self.penalty_iterations = scale, margin, penalty_iterations
        self.data = flows(scale, seed=0)
        torch.manual_seed(0)
        self.base = small_fno(scale)
        recipe = replace(base_recipe(scale, seed=0), precision="float32")
        Trainer(self.base, recipe, show=False).fit(self.data["train"], self.data["valid"])

    def trained(self, form: str, weight: float, seed: int) -> IterativeRefiner:
        """A refiner trained with a weight of the penalty."""
        torch.manual_seed(seed)
        correction: Correction = UNet(2, 4, width=self.scale.width, depth=3, blur=False)
        if form == "leak":
            correction = Anchored(correction, self.base, 1.0, 1.0)
        model = self._around(correction)
        loss = RefinementLoss(
            monotone=weight, monotone_margin=self.margin, monotone_iterations=self.penalty_iterations
        )
        recipe = replace(refiner_recipe(self.scale, seed), precision="float32")
        Trainer(model, recipe, loss, show=False).fit(self.data["train"], self.data["valid"])
        return model.eval()

    def anchored(self, plain: IterativeRefiner, iterations: int) -> tuple[IterativeRefiner, float]:
        """The plain refiner with its own answer as the anchor, and w."""
        least = measured(plain, self.data["valid"], iterations).m.min().item()
        w = max(0.0, (self.margin - least) / (1 - least))
        return self._around(Anchored(plain.correction, plain, w, 1 - w)).eval(), w

    def _around(self, correction: nn.Module) -> IterativeRefiner:
        return IterativeRefiner(self.base, correction, steps=self.scale.steps, alpha=1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--forms", nargs="+", choices=("plain", "leak"), default=["plain", "leak"])
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.03, 0.1, 0.3, 1.0])
    parser.add_argument("--margin", type=float, default=0.2)
    parser.add_argument("--penalty-iterations", type=int, default=4, help="of Lanczos in the penalty")
    parser.add_argument("--iterations", type=int, default=60, help="of Lanczos in what is printed")
    parser.add_argument("--smallest", action="store_true", help="seconds, to see that it runs")
    parser.add_argument("--json", type=Path, help="add the figures to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    study = Study(SMALLEST if options.smallest else STUDIED, options.margin, options.penalty_iterations)
    shown = ("K", "3 K", "m > 0", "m, median", "m, least", "residual", "M, median", "along: m, median")
    print("| form | weight | seed | " + " | ".join(shown) + " |\n" + "|---" * (3 + len(shown)) + "|")

    def report(model: IterativeRefiner, form: str, weight: float, seed: int, seconds: float) -> None:
        figures = row(model, study.data["test"], options.iterations)
        cells = " | ".join(f"{figures[name]:.4f}" for name in shown)
        print(f"| {form} | {weight:.3g} | {seed} | {cells} |", flush=True)
        if options.json:
            entry = {"form": form, "weight": weight, "seed": seed, "margin": options.margin}
            entry["penalty_iterations"] = options.penalty_iterations
            entry |= {"seconds": seconds, "cpu": torch.backends.cpu.get_cpu_capability(), **figures}
            old = json.loads(options.json.read_text()) if options.json.exists() else []
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps([*old, entry], indent=1))

    for form in options.forms:
        for weight in options.weights:
            for seed in options.seeds:
                begin = time.perf_counter()
                model = study.trained(form, weight, seed)
                report(model, form, weight, seed, time.perf_counter() - begin)
                if form == "plain" and weight == 0:
                    other, w = study.anchored(model, options.iterations)
                    report(other, "anchored", w, seed, 0.0)


if __name__ == "__main__":
    main()
