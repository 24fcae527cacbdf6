"""Time of an update, ours / textbook: `python examples/benchmarks/train_step.py`.

64x64, batch 4, K = 6, U-Net of width 16 and depth 4; spatial, spectral and fixed-point loss.
"""

from __future__ import annotations

import argparse

import torch
from paired import paired
from textbook import PADDING, TextbookUNet, textbook_update
from torch import Tensor

from neuralop_irno import IterativeRefiner, RefinementLoss, UNet

RULES = ("unrolled", "checkpointed", "detached")
STEPS = 6


class Case:
    """One update by the package and one by the textbook loop, with the same data and weights."""

    def __init__(self, in_channels: int, out_channels: int, padding: str, rule: str) -> None:
        torch.manual_seed(0)
        self.x = torch.randn(4, in_channels, 64, 64)
        self.start, self.y = torch.randn(2, 4, out_channels, 64, 64)
        # Pairs as in the textbook: the same weights give the same numbers.
        phi = UNet(in_channels, out_channels, width=16, depth=4, padding=padding, blur=False)
        torch.nn.init.normal_(phi.last.weight, std=0.1)
        self.textbook = TextbookUNet(in_channels, out_channels, 16, 4, PADDING[padding])
        self.textbook.copy_weights(phi)
        self.refiner = IterativeRefiner(self.base, phi, steps=STEPS, alpha=0.2, gradient=rule).train()
        self.loss = RefinementLoss(spectral=1.0, fixed_point=0.01, reduction="mean")
        # A learning rate of 0 keeps the weights of both equal.
        self.our_optimizer = torch.optim.Adam(phi.parameters(), lr=0.0)
        self.their_optimizer = torch.optim.Adam(self.textbook.parameters(), lr=0.0)

    def base(self, x: Tensor) -> Tensor:
        return self.start

    def ours(self) -> Tensor:
        self.our_optimizer.zero_grad()
        trajectory = self.refiner(self.x, y=self.y)
        self.loss(trajectory, self.y).backward()
        self.our_optimizer.step()
        return trajectory.last.detach()

    def theirs(self) -> Tensor:
        h, _ = textbook_update(self.textbook, self.their_optimizer, self.x, self.start, self.y, STEPS)
        return h.detach()

    def differences(self) -> str:
        ours, theirs = self.ours(), self.theirs()
        iterates = ((ours - theirs).abs().max() / theirs.abs().max()).item()
        pairs = zip(self.refiner.correction.last.parameters(), self.textbook.last.parameters(), strict=True)
        gradients = max(((a.grad - b.grad).norm() / b.grad.norm()).item() for a, b in pairs)
        return f"   largest difference {iterates:.1e}, of gradients {gradients:.1e}"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pairs", type=int, default=11)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--padding", default="circular", choices=PADDING)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    print(f"update, ours / textbook: median [middle half], {options.pairs} pairs, {options.padding} padding")
    for in_channels, out_channels in ((44, 11), (1, 1)):
        print(f"{in_channels} + {out_channels} channels")
        for rule in RULES:
            case = Case(in_channels, out_channels, options.padding, rule)
            note = case.differences() if rule == "unrolled" else ""
            print(f"  {rule:14} {paired(case.ours, case.theirs, options.pairs)}{note}", flush=True)


if __name__ == "__main__":
    main()
