"""How long an update takes, ours / textbook: `python examples/benchmarks/train_step.py`.

64x64, batch 4, K = 6, U-Net of width 16 and depth 4; spatial, spectral and fixed-point loss.
"""

from __future__ import annotations

import argparse

import torch
from paired import paired
from textbook import TextbookUNet, textbook_update
from torch import Tensor

from neuralop_irno import IterativeRefiner, RefinementLoss, UNet

RULES = ("unrolled", "checkpointed", "detached")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pairs", type=int, default=11)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--padding", default="circular", choices=["circular", "zero"])
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    print(f"update, ours / textbook: median [middle half], {options.pairs} pairs, {options.padding} padding")
    for in_channels, out_channels in ((44, 11), (1, 1)):
        torch.manual_seed(0)
        x, start = torch.randn(4, in_channels, 64, 64), torch.randn(4, out_channels, 64, 64)
        y = torch.randn(4, out_channels, 64, 64)
        print(f"{in_channels} + {out_channels} channels")
        for rule in RULES:
            phi = UNet(in_channels, out_channels, width=16, depth=4, padding=options.padding)
            torch.nn.init.normal_(phi.last.weight, std=0.1)
            modes = {"circular": "circular", "zero": "zeros"}
            textbook = TextbookUNet(in_channels, out_channels, 16, 4, modes[options.padding])
            textbook.copy_weights(phi)
            refiner = IterativeRefiner(
                lambda x, start=start: start, phi, steps=6, alpha=0.2, gradient=rule
            ).train()
            loss = RefinementLoss(spectral=1.0, fixed_point=0.01, reduction="mean")
            our_optimizer = torch.optim.Adam(phi.parameters(), lr=0.0)
            their_optimizer = torch.optim.Adam(textbook.parameters(), lr=0.0)

            def ours(refiner=refiner, loss=loss, optimizer=our_optimizer) -> Tensor:
                optimizer.zero_grad()
                trajectory = refiner(x, y=y)
                loss(trajectory, y).backward()
                optimizer.step()
                return trajectory.last.detach()

            def theirs(phi=textbook, optimizer=their_optimizer) -> Tensor:
                return textbook_update(phi, optimizer, x, start, y, 6)[0].detach()

            note = ""
            if rule == "unrolled":
                difference = (ours() - theirs()).abs().max() / theirs().abs().max()
                gradients = max(
                    ((a.grad - b.grad).norm() / b.grad.norm().clamp(min=1e-12)).item()
                    for a, b in zip(phi.last.parameters(), textbook.last.parameters(), strict=True)
                )
                note = f"   largest difference {difference:.1e}, gradients {gradients:.1e}"
            print(f"  {rule:14} {paired(ours, theirs, options.pairs)}{note}", flush=True)


if __name__ == "__main__":
    main()
