"""Update and solve, ours / the paper's public code: `python examples/benchmarks/public_code.py FOLDER`.

FOLDER is a checkout of https://github.com/anonymoussubmissionicml26-dev/Iterative-Refinement-Neural-Operator.
64x64, batch 4, K = 6, 44 + 11 channels, float32: an update of its `train_epoch` (unrolled, alpha 0.2, Adam,
clipped at 1.0) with the network and the losses of its files, and the loop of its `validate`.
A refiner of this package is timed beside them, its training with detached and with unrolled gradients; what
differs is its network, unless it is the public one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from paired import paired
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner, RefinementLoss
from neuralop_irno.compiling import compiled

STEPS, ALPHA, IN, OUT = 6, 0.2, 44, 11
PARTS = {"all parts": (1.0, 0.01), "spatial": (0.0, 0.0)}
"""The weights of the spectral and of the fixed-point part."""


class Public:
    """The loops of the public code, with its network and its losses."""

    def __init__(
        self, folder: Path, x: Tensor, start: Tensor, y: Tensor, weights: tuple[float, float]
    ) -> None:
        sys.path.insert(0, str(folder))
        from models import losses, model

        self.losses, self.x, self.start, self.y = losses, x, start, y
        self.spectral, self.fixed_point = weights
        self.phi = model.RefinementOperator(IN + OUT, OUT)
        self.optimizer = torch.optim.Adam(self.phi.parameters(), lr=0.0)

    def update(self) -> None:
        self.phi.train()
        h, parts = self.start, []
        for k in range(STEPS):
            h = h + ALPHA * self.phi(torch.cat([self.x, h], 1))
            part = self.losses.spatial_loss(h, self.y)
            part.item()
            if self.spectral:
                more = self.losses.progressive_spectral_loss(h, self.y, k, STEPS, 1.0, 2.0)
                part = part + self.spectral * more
                more.item()
            parts.append(part)
        loss = sum(parts) / STEPS
        if self.fixed_point:
            loss = loss + self.fixed_point * self.losses.fixed_point_loss(self.phi, self.x, self.y)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.phi.parameters(), 1.0)
        self.optimizer.step()
        loss.item()

    @torch.no_grad()
    def solve(self) -> None:
        self.phi.eval()
        h = self.start
        for _ in range(STEPS):
            h = h + ALPHA * self.phi(torch.cat([self.x, h], 1))


class Ours:
    """A refiner of this package, with or without graphs."""

    def __init__(self, correction: str, x: Tensor, start: Tensor, y: Tensor, weights: tuple[float, float],
                 rule: str, graphs: bool) -> None:  # fmt: skip
        self.x, self.y, self.graphs = x, y, graphs
        self.refiner = IterativeRefiner(
            lambda x: start, {"name": correction, "width": 16, "depth": 4}, steps=STEPS, alpha=ALPHA,
            gradient=rule, in_channels=IN, out_channels=OUT,
        )  # fmt: skip
        self.loss = RefinementLoss(spectral=weights[0], fixed_point=weights[1], reduction="mean")
        self.optimizer = torch.optim.Adam(self.refiner.correction.parameters(), lr=0.0)

    def update(self) -> None:
        torch.manual_seed(0)  # the same states
        self.optimizer.zero_grad()
        with compiled(self.refiner, self.graphs):
            loss = self.loss(self.refiner.train()(self.x, y=self.y), self.y)
            loss.backward()
        nn.utils.clip_grad_norm_(self.refiner.correction.parameters(), 1.0)
        self.optimizer.step()
        loss.item()

    def solve(self) -> None:
        self.refiner.eval().solve(self.x, compile=self.graphs)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument(
        "--correction", default="residual_unet", choices=["residual_unet", "unet", "public_unet"]
    )
    arguments.add_argument("--compile", action="store_true")
    arguments.add_argument("--pairs", type=int, default=15)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = arguments.parse_args()
    torch.set_num_threads(1)
    print(
        f"{options.correction}, ours / public: median [middle half] of {options.pairs} pairs, for each seed"
    )
    for seed in options.seeds:
        torch.manual_seed(seed)
        x, (start, y) = torch.randn(4, IN, 64, 64), torch.randn(2, 4, OUT, 64, 64)
        for name, weights in PARTS.items():
            public = Public(options.folder, x, start, y, weights)
            for rule in ("detached", "unrolled"):
                ours = Ours(options.correction, x, start, y, weights, rule, options.compile)
                ratio = paired(ours.update, public.update, options.pairs)
                print(f"  {seed}  update, {rule}, {name}: {ratio}", flush=True)
        print(f"  {seed}  solve: {paired(ours.solve, public.solve, options.pairs)}", flush=True)


if __name__ == "__main__":
    main()
