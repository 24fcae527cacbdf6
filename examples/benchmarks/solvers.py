"""Evaluations of Phi to a tolerance by solver, and the time saved by removing converged samples.

    python examples/benchmarks/solvers.py [--run runs/turbulence]

A linear problem with spectral radius 0.95 at three scales of the data; the refiner of a run folder, if one is
given (`irno train examples/configs/turbulence.yaml` writes one); a step of Anderson's method over one of
Picard's; and a batch of 64 in which half of the
samples converge quickly: its solve against the same number of steps for all samples, timed alternately.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from paired import paired
from torch import Tensor

from neuralop_irno import Correction, FunctionCorrection, IterativeRefiner, UNet, read_run

SOLVERS = ("picard", "anderson", "broyden", "aitken")


def linear(scale: float) -> tuple[IterativeRefiner, Tensor]:
    """h <- G h + b with the eigenvalues of G spread over [0, 0.95], in 256 dimensions."""
    generator = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(256, 256, generator=generator, dtype=torch.float64))
    values = torch.linspace(0, 0.95, 256, dtype=torch.float64)
    iteration = basis @ torch.diag(values) @ basis.T
    x = scale * torch.randn(4, 1, 256, generator=generator, dtype=torch.float64)
    phi = FunctionCorrection(lambda x, h: x + h @ iteration.T - h)
    return IterativeRefiner(torch.zeros_like, phi, alpha=1.0).eval(), x


def counts(model: IterativeRefiner, x: Tensor, rtol: float) -> dict[str, str]:
    """Mean evaluations per sample, and the number of samples that met the tolerance, for every solver."""
    found = {}
    for solver in SOLVERS:
        solution = model.solve(x, solver=solver, rtol=rtol, max_steps=300)
        met = int(solution.good.sum())
        found[solver] = f"{solution.steps.double().mean():6.1f} ({met}/{len(x)})"
    return found


class Pull(Correction):
    """Phi(x, h) = r (x - h) with a rate r per sample, plus the cost of a U-Net."""

    def __init__(self) -> None:
        super().__init__()
        self.net = UNet(2, 1, width=16, depth=3)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return x[:, 1:] * (x[:, :1] - h) + 0 * self.net(x, h)


def mixed_batch() -> None:
    """Half of 64 samples converge in a few steps, the others in many."""
    torch.manual_seed(0)
    rate = torch.where(torch.arange(64) % 2 == 0, 0.9, 0.2).reshape(64, 1, 1, 1).expand(64, 1, 32, 32)
    x = torch.cat([torch.randn(64, 1, 32, 32), rate], 1)
    model = IterativeRefiner(lambda x: torch.zeros_like(x[:, :1]), Pull(), alpha=1.0).eval()
    steps = int(model.solve(x, rtol=1e-4).steps.max())
    ratio = paired(lambda: model.solve(x, rtol=1e-4), lambda: model.solve(x, steps=steps), pairs=7)
    print(f"mixed batch of 64, leaving / staying: {ratio}")


def overhead(channels: int) -> None:
    """What solvers cost themselves: a step of Anderson's over one of Picard's, four samples of 64 x 64."""
    torch.manual_seed(0)
    base = torch.nn.Conv2d(channels, channels, 3, padding=1, padding_mode="circular")
    model, x = IterativeRefiner(base, alpha=0.3).eval(), torch.randn(4, channels, 64, 64)
    model(x)  # makes the weights, some of which begin at zero
    for weights in model.correction.parameters():
        torch.nn.init.normal_(weights, std=0.05)

    def solve(solver: str) -> None:
        model.solve(x, solver=solver, steps=12)

    ratio = paired(lambda: solve("anderson"), lambda: solve("picard"), pairs=15)
    print(f"{channels} channels, a step of Anderson's / Picard's: {ratio}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--run", type=Path, help="a run folder")
    parser.add_argument("--samples", type=int, default=16)
    options = parser.parse_args()
    print(f"{'problem':34} " + " ".join(f"{solver:>16}" for solver in SOLVERS))
    for rtol in (1e-3, 1e-6):
        for scale in (1.0, 1e-3, 1e3):
            model, x = linear(scale)
            row = counts(model, x, rtol)
            print(
                f"{f'linear, rho 0.95, x {scale:g}, rtol {rtol:g}':34} "
                + " ".join(f"{v:>16}" for v in row.values())
            )
    if options.run:
        experiment, model = read_run(options.run)
        x = experiment.splits()["test"].x[:: max(1, 144 // options.samples)][: options.samples]
        for rtol in (1e-3, 1e-6):
            row = counts(model, x, rtol)
            print(f"{f'{options.run.name}, rtol {rtol:g}':34} " + " ".join(f"{v:>16}" for v in row.values()))
    mixed_batch()
    for channels in (1, 4, 11):
        overhead(channels)


if __name__ == "__main__":
    main()
