"""Time of a solve, ours / textbook: `python examples/benchmarks/solve_step.py`.

64x64, batch 4, K = 6, U-Net of width 16 and depth 4.
"""

from __future__ import annotations

import argparse

import torch
from paired import paired
from textbook import PADDING, TextbookUNet, textbook_solve
from torch import Tensor

from neuralop_irno import IterativeRefiner, UNet

STEPS = 6


class Case:
    """One solve by the package and one by the textbook loop, with the same data and weights."""

    def __init__(self, in_channels: int, out_channels: int, padding: str) -> None:
        torch.manual_seed(0)
        self.x = torch.randn(4, in_channels, 64, 64)
        self.start = torch.randn(4, out_channels, 64, 64)
        phi = UNet(in_channels, out_channels, width=16, depth=4, padding=padding, blur=False)
        torch.nn.init.normal_(phi.last.weight, std=0.1)
        self.textbook = TextbookUNet(in_channels, out_channels, 16, 4, PADDING[padding])
        self.textbook.copy_weights(phi)
        self.refiner = IterativeRefiner(self.base, phi, steps=STEPS, alpha=0.2).eval()

    def base(self, x: Tensor) -> Tensor:
        return self.start

    @torch.no_grad()
    def ours(self) -> Tensor:
        return self.refiner(self.x)

    def ours_bf16(self) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.ours()

    def theirs(self) -> Tensor:
        return textbook_solve(self.textbook, self.x, self.start, STEPS)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pairs", type=int, default=15)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--padding", default="circular", choices=PADDING)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    print(f"solve, ours / textbook: median [middle half], {options.pairs} pairs, {options.padding} padding")
    for in_channels, out_channels in ((44, 11), (1, 1)):
        print(f"{in_channels} + {out_channels} channels")
        case = Case(in_channels, out_channels, options.padding)
        reference = case.theirs()
        for name, call in (("float32", case.ours), ("bf16 autocast", case.ours_bf16)):
            difference = ((call() - reference).abs().max() / reference.abs().max()).item()
            ratio = paired(call, case.theirs, options.pairs)
            print(f"  {name:14} {ratio}   largest difference {difference:.1e}", flush=True)


if __name__ == "__main__":
    main()
