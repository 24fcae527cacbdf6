"""Time of a refined answer on a finer grid: `python examples/benchmarks/finer_time.py`.

Printed: the time with Phi at the resolution of training over that with Phi on the finer grid. A
U-Net of width 16 and depth 4, K = 4, of 64 x 64 points, around a base that copies x; batch 2, one thread.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch
from paired import paired

from neuralop_irno import IterativeRefiner, Resolution

SIDE = 64


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pairs", type=int, default=9)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    known = Resolution([SIDE, SIDE], extent="fixed")
    phi = {"name": "unet", "dim": 2, "width": 16, "depth": 4}
    model = IterativeRefiner(lambda x: x, phi, in_channels=1, out_channels=1, resolution=known).eval()
    for factor in (2, 4):
        x = torch.randn(2, 1, factor * SIDE, factor * SIDE)

        def answered(x: torch.Tensor = x, **changes: str) -> torch.Tensor:
            model.resolution = replace(known, **changes)
            with torch.no_grad():
                return model(x)

        for detail in ("base", "cosets"):
            ratio = paired(
                lambda x=x, detail=detail: answered(x, detail=detail),
                lambda x=x: answered(x, extent="grows"),
                options.pairs,
            )
            print(f"{factor} x the side, detail {detail:7} {ratio}", flush=True)


if __name__ == "__main__":
    main()
