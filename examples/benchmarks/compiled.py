"""Time of an update and of a solve, compiled / eager: `python examples/benchmarks/compiled.py`.

64x64, batch 4, K = 6; spatial, spectral and fixed-point loss. The first call of each makes the graphs, which
takes minutes with a C++ compiler.
"""

from __future__ import annotations

import argparse
import time

import torch
from paired import paired, seconds
from torch import Tensor

from neuralop_irno import IterativeRefiner, RefinementLoss
from neuralop_irno.compiling import compiled

CORRECTIONS = {
    "unet": {"name": "unet", "width": 16, "depth": 4},
    "residual_unet": {"name": "residual_unet"},
}
STEPS = 6


class Case:
    """One refiner, with and without graphs."""

    def __init__(self, correction: str, in_channels: int, out_channels: int, rule: str) -> None:
        torch.manual_seed(0)
        self.x = torch.randn(4, in_channels, 64, 64)
        self.start, self.y = torch.randn(2, 4, out_channels, 64, 64)
        self.refiner = IterativeRefiner(
            self.base, CORRECTIONS[correction], steps=STEPS, alpha=0.2, gradient=rule,
            in_channels=in_channels, out_channels=out_channels,
        )  # fmt: skip
        torch.nn.init.normal_(self.refiner.correction.last.weight, std=0.1)
        self.loss = RefinementLoss(spectral=1.0, fixed_point=0.01, reduction="mean")
        # A learning rate of 0 keeps the weights, so that all updates are the same work.
        self.optimizer = torch.optim.Adam(self.refiner.correction.parameters(), lr=0.0)

    def base(self, x: Tensor) -> Tensor:
        return self.start

    def update(self, on: bool) -> Tensor:
        torch.manual_seed(0)  # the same number of steps for each sample
        self.optimizer.zero_grad()
        with compiled(self.refiner, on):
            trajectory = self.refiner.train()(self.x, y=self.y)
            self.loss(trajectory, self.y).backward()
        self.optimizer.step()
        return torch.cat([p.grad.flatten() for p in self.refiner.correction.parameters()])

    def solve(self, on: bool) -> Tensor:
        return self.refiner.eval().solve(self.x, compile=on).value


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--correction", default="unet", choices=CORRECTIONS)
    arguments.add_argument("--channels", type=int, nargs=2, default=(44, 11), metavar=("IN", "OUT"))
    arguments.add_argument("--rule", default="detached")
    arguments.add_argument("--pairs", type=int, default=15)
    arguments.add_argument("--threads", type=int, default=1)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    case = Case(options.correction, *options.channels, options.rule)
    print(
        f"{options.correction}, {options.rule}, compiled / eager: median [middle half], {options.pairs} pairs"
    )
    for name, call in (("solve", case.solve), ("update", case.update)):
        making = seconds(lambda call=call: call(True), time.perf_counter)
        eager = call(False)
        difference = ((call(True) - eager).norm() / eager.norm()).item()
        ratio = paired(lambda call=call: call(True), lambda call=call: call(False), options.pairs)
        print(f"  {name:8} {ratio}   difference {difference:.1e}   graphs made in {making:.0f} s", flush=True)


if __name__ == "__main__":
    main()
