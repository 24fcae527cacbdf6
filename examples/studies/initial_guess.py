"""Steps to the solution of an equation from zero, from the base's answer and from the refined one.

    python examples/studies/initial_guess.py --seeds 0 1 2

A small FNO and a refiner around it are trained on solutions, which the package's own solvers compute. Then
the equation is solved to a relative residual of 1e-8 from the three starts, on held-out samples.
"""

from __future__ import annotations

import argparse

import torch
from neuralop.models import FNO
from torch import Tensor

from neuralop_irno import IterativeRefiner, Recipe, Trainer
from neuralop_irno.data.fields import FieldDataset

RTOL = 1e-8
PROBLEMS = {
    "poisson": ({"name": "poisson"}, "jacobi", (32, 32)),
    "darcy": ({"name": "darcy", "source": 1.0}, "jacobi", (32, 32)),
    "burgers_step": ({"name": "burgers_step", "dt": 0.1, "viscosity": 0.1}, "identity", (64,)),
}
"""Equation, preconditioner and grid."""


def inputs(name: str, samples: int, shape: tuple[int, ...]) -> Tensor:
    """Smooth random fields; for Darcy's equation exponentials of them, of contrast about 10 to 50."""
    axes = tuple(range(2, 2 + len(shape)))
    numbers = [torch.fft.fftfreq(n, 1 / n) for n in shape]
    squares = sum(k**2 for k in torch.meshgrid(*numbers, indexing="ij"))
    spectrum = torch.fft.fftn(torch.randn(samples, 1, *shape), dim=axes) * (1 + squares / 9) ** -2.0
    spectrum[(slice(None), slice(None), *[0] * len(shape))] = 0
    field = torch.fft.ifftn(spectrum, dim=axes).real
    field = field / field.std(axes, keepdim=True)
    return field.exp() if name == "darcy" else field


def steps(model: IterativeRefiner, x: Tensor, solver: dict[str, str], start: Tensor) -> tuple[float, Tensor]:
    """Evaluations of the preconditioner for each sample, and the solutions."""
    solution = model.solve(x, solver=solver, start=start, rtol=RTOL, max_steps=2000).or_raise()
    return solution.evaluations / len(x), solution.value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args()
    print("| problem | seed | error of base | of refined | zero | base | refined |")
    print("|---|---|---|---|---|---|---|")
    for name in options.problems:
        equation, preconditioner, shape = PROBLEMS[name]
        method = "newton_krylov" if name == "burgers_step" else "fcg"
        solver = {"name": method, "preconditioner": preconditioner}
        for seed in options.seeds:
            torch.manual_seed(seed)
            base = FNO(
                n_modes=(8,) * len(shape), in_channels=1, out_channels=1, hidden_channels=16, n_layers=3
            )
            padding = "circular" if name == "burgers_step" else "zero"
            phi = {"name": "unet", "width": 8, "depth": 2, "padding": padding}
            exact = IterativeRefiner(
                torch.zeros_like, phi, equation=equation, in_channels=1, out_channels=1
            ).eval()
            data = []
            for samples in (256, 32, 32):
                x = inputs(name, samples, shape)
                y = steps(exact, x, solver, torch.zeros_like(x))[1]
                data.append((x, y.float()))
            unit = data[0][1].std()
            train, valid = (FieldDataset(x, y / unit) for x, y in data[:2])
            base_recipe = Recipe(optimizer="adamw", epochs=options.epochs, seed=seed, precision="float32")
            Trainer(base, base_recipe, show=False).fit(train, valid)
            model = IterativeRefiner(base, phi)
            recipe = Recipe(epochs=options.epochs, seed=seed, replay=8.0, precision="float32")
            Trainer(model, recipe, show=False).fit(train, valid)
            x, y = data[2]
            with torch.no_grad():
                starts = torch.zeros_like(y), base(x) * unit, model.eval()(x) * unit
            errors = [((start - y).norm() / y.norm()).item() for start in starts[1:]]
            counts = [steps(exact, x, solver, start)[0] for start in starts]
            row = " | ".join(f"{count:.1f}" for count in counts)
            print(f"| {name} | {seed} | {errors[0]:.3f} | {errors[1]:.3f} | {row} |", flush=True)


if __name__ == "__main__":
    main()
