"""m and q by what is supervised, in one dimension: `python examples/studies/supervision.py`.

The problem is y = tanh(4 x) on a ring of 32 points, with x a random sum of three waves. The base is a fitted
number times x, which lacks the fronts. One small network is trained from the same weights in two ways, both
with exact gradients through all K steps:

    multi-step   (1 / K) sum_k |h_k - y|^2
    last step    |h_K - y|^2

For test samples it prints the mean error, m over all directions (exact: as many Lanczos steps as points),
the least m along the errors e_0 .. e_K, and q, each in the median, and the shares of samples. One thread,
13 seconds of one core for each training.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from neuralop_irno import (
    Correction,
    FieldDataset,
    IterativeRefiner,
    Recipe,
    RefinementLoss,
    Trainer,
    diagnose,
)
from neuralop_irno.solution import Trajectory

POINTS, TRAIN, TEST = 32, 512, 64


class LastStep(RefinementLoss):
    """The default loss of h_K alone."""

    def per_sample(self, trajectory: Trajectory, y: Tensor) -> Tensor:
        return super().per_sample(replace(trajectory, iterates=trajectory.iterates[-1:]), y)


class Network(Correction):
    """Three periodic convolutions of x and h."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()

        def layer(inputs: int, outputs: int) -> nn.Conv1d:
            return nn.Conv1d(inputs, outputs, 5, padding=2, padding_mode="circular")

        first, middle, last = layer(2, width), layer(width, width), layer(width, 1)
        nn.init.zeros_(last.weight)
        self.layers = nn.Sequential(first, nn.GELU(), middle, nn.GELU(), last)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return self.layers(torch.cat([x, h], 1))


def samples(count: int, seed: int) -> FieldDataset:
    """Random sums of the waves 1 to 3, and their y."""
    draw = torch.Generator().manual_seed(seed)
    angle = 2 * torch.pi * torch.arange(POINTS) / POINTS
    amplitude, phase = torch.randn(2, count, 3, 1, generator=draw)
    waves = amplitude * torch.cos(torch.arange(1, 4)[:, None] * angle + 2 * torch.pi * phase)
    x = 0.3 * waves.sum(1, keepdim=True)
    return FieldDataset(x, (4 * x).tanh())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=4, help="K")
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    torch.set_num_threads(1)
    train, valid, test = samples(TRAIN, 0), samples(TEST, 1), samples(TEST, 2)
    slope = (train.x * train.y).sum() / train.x.square().sum()
    heads = ("base", "K", "3 K", "m > 0", "m", "e: m > 0", "m, e", "q", "q < 1")
    print(f"{'':12}{'seed':>5}" + "".join(f"{head:>9}" for head in heads))
    for seed in options.seeds:
        for name, loss in {"multi-step": RefinementLoss(), "last step": LastStep()}.items():
            torch.manual_seed(seed)
            model = IterativeRefiner(
                lambda x: slope * x, Network(), steps=options.steps, alpha=options.alpha, gradient="unrolled"
            )
            recipe = Recipe(
                optimizer="adamw", epochs=options.epochs, batch_size=32, replay=0.0,
                precision=options.precision, seed=seed,
            )  # fmt: skip
            Trainer(model, recipe, loss, show=False).fit(train, valid)
            report = diagnose(
                model.eval(), DataLoader(test, TEST), TEST, 3 * options.steps, iterations=POINTS, show=False
            )
            found, errors = report.contraction, report.convergence.errors.mean(1)
            row = [
                errors[0], errors[options.steps], errors[-1],
                found.monotone["all_directions"].double().mean(), found.monotonicity.median(),
                found.monotone["along_errors"].double().mean(), found.least_along_errors.median(),
                found.factor.median(), (found.factor < 1).double().mean(),
            ]  # fmt: skip
            print(f"{name:12}{seed:5}" + "".join(f"{float(value):9.3f}" for value in row), flush=True)


if __name__ == "__main__":
    main()
