"""Evaluations of the preconditioner in implicit steps, with and without a trained network.

    python examples/studies/implicit_steps.py --seeds 0 1 2

A network Phi(x, h, r) is trained on random states to approximate the inverse of the Jacobian of
`burgers_step` or `navier_stokes_step`. `newton_krylov` then solves steps from held-out states, with the
network as the preconditioner and without one.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner
from neuralop_irno.linearisation import Linearisation
from neuralop_irno.solver.preconditioner import Learned

PROBLEMS = {
    "burgers": ({"name": "burgers_step", "dt": 0.1, "viscosity": 0.1}, (64,), 12),
    "navier_stokes": ({"name": "navier_stokes_step", "dt": 0.5, "viscosity": 0.01}, (16, 16), 8),
}
"""Equation, grid and modes of the network."""

RTOL = 1e-8


def states(samples: int, shape: tuple[int, ...], decay: float = 2.0) -> Tensor:
    """Random periodic fields of unit deviation; their spectrum falls beyond wavenumber 3."""
    axes = tuple(range(2, 2 + len(shape)))
    spectrum = torch.fft.fftn(torch.randn(samples, 1, *shape, dtype=torch.float64), dim=axes)
    numbers = [torch.fft.fftfreq(n, 1 / n, dtype=torch.float64) for n in shape]
    squares = sum(k**2 for k in torch.meshgrid(*numbers, indexing="ij"))
    field = torch.fft.ifftn(spectrum * (1 + squares / 9) ** -decay, dim=axes).real
    field = field - field.mean(axes, keepdim=True)
    return field / field.std(axes, keepdim=True)


def train(model: IterativeRefiner, shape: tuple[int, ...], updates: int) -> None:
    """Minimise 1 - <r, A z>^2 / (|r|^2 |A z|^2) for z = M r, over random h and r."""
    optimiser = torch.optim.Adam(model.correction.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, updates)
    for _ in range(updates):
        x = states(8, shape)
        h = x + 0.3 * states(8, shape)
        system, _ = model.system((x,), {}, start=h)
        jacobian = Linearisation(system.physics, h, differentiable=True)
        white, error = torch.randn_like(x), states(8, shape, decay=0.5)
        r = torch.where(torch.rand(8, *[1] * (x.dim() - 1)) < 0.5, white, jacobian.push(error).detach())
        image = jacobian.push(Learned().of(system, h, r))
        domain = system.domain
        share = domain.inner(r, image) ** 2 / (domain.inner(r, r) * domain.inner(image, image))
        optimiser.zero_grad()
        (1 - share).mean().backward()
        optimiser.step()
        schedule.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--updates", type=int, default=600)
    options = parser.parse_args()
    print("| problem | seed | Newton steps | without | network | ratio | training, CPU s |")
    print("|---|---|---|---|---|---|---|")
    for name in options.problems:
        equation, shape, modes = PROBLEMS[name]
        for seed in options.seeds:
            torch.manual_seed(seed)
            words = {"name": "fno", "n_modes": [modes] * len(shape), "hidden_channels": 16, "n_layers": 2}
            model = IterativeRefiner(nn.Identity(), words, equation=equation, in_channels=1, out_channels=1)
            begin = time.process_time()
            train(model.train(), shape, options.updates)
            spent = time.process_time() - begin
            held_out = states(8, shape)
            counts, steps = [], []
            for preconditioner in ("identity", "phi"):
                solver = {"name": "newton_krylov", "preconditioner": preconditioner, "restart": 60}
                solution = model.eval().solve(held_out, solver=solver, rtol=RTOL).or_raise()
                counts.append(solution.evaluations / len(held_out))
                steps.append(solution.steps.double().mean().item())
            plain, learned = counts
            took = "{:.1f} / {:.1f}".format(*steps)
            row = f"{took} | {plain:.1f} | {learned:.1f} | {learned / plain:.2f} | {spent:.0f}"
            print(f"| {name} | {seed} | {row} |", flush=True)


if __name__ == "__main__":
    main()
