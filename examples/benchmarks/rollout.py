"""Overhead of `rollout` over a plain loop, and its memory: `python examples/benchmarks/rollout.py`.

Time: an FNO of width 32 and 16 x 16 modes, alone and refined (K = 4), 10 steps at 64x64, ours / by hand,
in CPU time; and the time of one step with a model that does nothing. The C library is configured to keep
freed memory: returning and requesting it changes the time of either loop randomly by 15 %.

Memory: the largest resident set of a separate process during a rollout of 100 and 1,000 frames of
4 x 4 x 64 x 64 numbers, streamed to a file or kept in memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from paired import paired, seconds
from torch import Tensor, nn

STEPS = 10
KEEP = {"MALLOC_MMAP_THRESHOLD_": "4000000000", "MALLOC_TRIM_THRESHOLD_": "8000000000"}


def by_hand(model: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """The loop that a user would write."""
    frames = []
    with torch.no_grad():
        for _ in range(STEPS):
            start = model(start)
            frames.append(start)
    return torch.stack(frames, 1)


def overhead(pairs: int) -> None:
    """Print the ratios of times."""
    for batch in (1, 4):
        overhead_at(batch, pairs)


def overhead_at(batch: int, pairs: int) -> None:
    """Print the ratios of times for one size of batch."""
    from neuralop.models import FNO

    from neuralop_irno import IterativeRefiner, rollout

    torch.manual_seed(0)
    base = FNO(n_modes=(16, 16), in_channels=1, out_channels=1, hidden_channels=32).eval()
    refined = IterativeRefiner(base, {"name": "unet", "width": 16, "depth": 3}, steps=4, alpha=0.2).eval()
    start = torch.randn(batch, 1, 64, 64)
    for name, model in (("FNO", base), ("refined", refined)):
        assert torch.equal(rollout(model, start, STEPS).frames, by_hand(model, start))
        ratio = paired(
            lambda model=model: rollout(model, start, STEPS),
            lambda model=model: by_hand(model, start),
            pairs,
            clock=time.process_time,
        )
        print(f"{name:8} batch {batch}, {STEPS} steps, ours / by hand: {ratio}", flush=True)
    took = [seconds(lambda: rollout(lambda u: u, start, 200), time.process_time) / 200 for _ in range(pairs)]
    print(f"one step around nothing, batch {batch}: {1e6 * statistics.median(took):.0f} us", flush=True)


def largest(to: str, steps: int) -> float:
    """The largest resident set during one rollout, in MiB, sampled in every step."""
    from neuralop_irno import rollout

    torch.set_num_threads(1)
    layer = nn.Conv2d(4, 4, 3, padding=1).eval()
    sizes: list[float] = []

    def model(u: Tensor) -> Tensor:
        sizes.append(resident())
        return layer(u)

    start = torch.randn(4, 4, 64, 64)
    with tempfile.TemporaryDirectory() as folder:
        target = None if to == "memory" else f"{folder}/first.{to}"
        rollout(model, start, 5, to=target)  # load libraries first
        sizes.clear()
        rollout(model, start, steps, to=target and f"{folder}/run.{to}")
    return max(sizes)


def resident() -> float:
    """The resident set of this process, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--measure", help="measure one target, such as h5:100, in this process")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.measure == "time":
        overhead(options.pairs)
        return
    if options.measure:
        to, steps = options.measure.split(":")
        print(largest(to, int(steps)))
        return
    words = ["--measure=time", f"--pairs={options.pairs}", f"--threads={options.threads}"]
    subprocess.run([sys.executable, "-W", "ignore", __file__, *words], env=os.environ | KEEP, check=True)
    for to in ("h5", "zarr", "memory"):
        sizes = []
        for steps in (100, 1000):
            command = [sys.executable, "-W", "ignore", __file__, f"--measure={to}:{steps}"]
            sizes.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
        few, many = sizes
        print(f"{to:8} {few:.0f} MiB for 100 frames, {many:.0f} for 1,000: {many / few:.3f}", flush=True)


if __name__ == "__main__":
    main()
