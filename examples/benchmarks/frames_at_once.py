"""Frames one after the other, and all at once: `python examples/benchmarks/frames_at_once.py`.

Time of a rollout of 64 frames with ``parallel=16`` over that of the usual one, from paired runs (A B A B ..):
the median and the quartiles, the sweeps of a window of 16 frames, and the largest relative difference of a
frame.
The model is an untrained FNO that contracts by a factor q in every frame; `refined` is a refiner around it,
whose refinement and time are iterated together, against refinement to the same tolerance in every frame. Few
points leave a processor idle, many keep it busy. On a GPU: `--device cuda`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch
from neuralop.models import FNO
from paired import paired
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner, Parallel, Refine, Rollout, rollout

STEPS, FRAMES = 64, 16


class Fading(nn.Module):
    """q times the field, moved by one point, and a smooth nonlinear part."""

    def __init__(self, q: float) -> None:
        super().__init__()
        self.q = q
        self.fno = FNO(n_modes=(8, 8), in_channels=1, out_channels=1, hidden_channels=16, n_layers=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.q * x.roll(1, -1) + 0.1 * torch.tanh(self.fno(x)) + 0.1


class Halving(nn.Module):
    """Half of the way to a smoothed field."""

    def forward(self, joined: Tensor) -> Tensor:
        x, h = joined.chunk(2, 1)
        return 0.5 * ((x + x.roll(1, -2)) / 2 - h)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--pairs", type=int, default=9)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    print(f"{'':22}{'rtol':>8}{'sweeps':>8}{'difference':>12}   time over that of frame after frame")
    for q in (0.5, 0.9):
        for size in (16, 64):
            torch.manual_seed(0)
            base = Fading(q).to(options.device).eval()
            refiner = IterativeRefiner(base, Halving(), in_channels=1, out_channels=1).eval()
            start = torch.randn(1, 1, size, size, device=options.device)
            for rtol in (1e-6, 1e-3):
                way = Parallel(FRAMES, rtol=rtol)
                usual = partial(rollout, base, start, STEPS)
                compare(f"q = {q}, {size} x {size}", usual, way, options)
            tolerance = {"refinement": Refine(rtol=1e-3, max_steps=100)}
            usual = partial(rollout, refiner, start, STEPS, **tolerance)
            compare("    refined", usual, Parallel(FRAMES, rtol=1e-3), options)


def compare(name: str, usual: Callable[..., Rollout], way: Parallel, options: argparse.Namespace) -> None:
    """Print one row."""

    def timed(**changes: Parallel) -> None:
        usual(**changes)
        if options.device == "cuda":
            torch.cuda.synchronize()

    together, alone = usual(parallel=way), usual()
    assert together.sweeps is not None
    found, exact = together.frames.flatten(2), alone.frames.flatten(2)
    difference = ((found - exact).norm(dim=2) / exact.norm(dim=2)).max()
    ratio = paired(partial(timed, parallel=way), timed, options.pairs)
    sweeps = together.sweeps.double().mean()
    print(f"{name:22}{way.rtol:8.0e}{sweeps:8.1f}{difference:12.1e}   {ratio}", flush=True)


if __name__ == "__main__":
    main()
