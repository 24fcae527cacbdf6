"""How long a solve takes, ours / textbook: `python examples/benchmarks/solve_step.py`.

64x64, batch 4, K = 6, U-Net of width 16 and depth 4, circular padding on both sides.
"""

from __future__ import annotations

import argparse

import torch
from paired import paired
from textbook import TextbookUNet, textbook_solve
from torch import Tensor

from neuralop_irno import IterativeRefiner, UNet


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pairs", type=int, default=15)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--padding", default="circular", choices=["circular", "zero"])
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    print(f"solve, ours / textbook: median [middle half], {options.pairs} pairs, {options.padding} padding")
    for in_channels, out_channels in ((44, 11), (1, 1)):
        torch.manual_seed(0)
        x, start = torch.randn(4, in_channels, 64, 64), torch.randn(4, out_channels, 64, 64)
        phi = UNet(in_channels, out_channels, width=16, depth=4, padding=options.padding)
        torch.nn.init.normal_(phi.last.weight, std=0.1)
        modes = {"circular": "circular", "zero": "zeros"}
        textbook = TextbookUNet(in_channels, out_channels, 16, 4, modes[options.padding])
        textbook.copy_weights(phi)
        refiner = IterativeRefiner(lambda x, start=start: start, phi, steps=6, alpha=0.2).eval()

        @torch.no_grad()
        def ours(refiner: IterativeRefiner = refiner, x: Tensor = x) -> Tensor:
            return refiner(x)

        def theirs(phi: TextbookUNet = textbook, x: Tensor = x, start: Tensor = start) -> Tensor:
            return textbook_solve(phi, x, start, 6)

        def ours_bf16() -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return ours()

        reference = theirs()
        scale = reference.abs().max()
        print(f"{in_channels} + {out_channels} channels")
        for name, call in (("float32", ours), ("bf16 autocast", ours_bf16)):
            difference = ((call() - reference).abs().max() / scale).item()
            print(f"  {name:14} {paired(call, theirs, options.pairs)}   largest difference {difference:.1e}")


if __name__ == "__main__":
    main()
