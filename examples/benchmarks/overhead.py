"""Time of an update, this checkout / another: `python examples/benchmarks/overhead.py ../before --pairs 60`.

FNO and U-Net on 64x64, batch 4, K = 4: base, iterates, loss, backward and AdamW. A process for each checkout
takes turns with the other; processor time, median [middle half] of the pairs. The same checkout twice shows
the noise.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from paired import paired

HERE = Path(__file__).resolve().parents[2]


class Worker:
    """A process that performs an update for each line that it reads, and answers with its seconds."""

    def __init__(self, checkout: Path) -> None:
        known = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--work"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=known
        )
        self.seconds = 0.0

    def __call__(self) -> None:
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        self.seconds += float(self.process.stdout.readline())


def work() -> None:
    """Updates as they are asked for."""
    import torch
    from neuralop.models import FNO

    from neuralop_irno import IterativeRefiner, RefinementLoss

    torch.manual_seed(0)
    torch.set_num_threads(1)
    base = FNO(n_modes=(12, 12), in_channels=1, out_channels=1, hidden_channels=16, n_layers=4)
    phi = {"name": "unet", "width": 16, "depth": 3, "blur": False}
    model = IterativeRefiner(base, phi, steps=4, in_channels=1, out_channels=1).train()
    loss = RefinementLoss(spectral=1.0, fixed_point=0.01)
    optimizer = torch.optim.AdamW(model.correction.parameters(), lr=1e-6)
    x, y = torch.randn(2, 4, 1, 64, 64)
    for _ in sys.stdin:
        start = time.process_time()
        optimizer.zero_grad()
        loss(model(x, y=y), y).backward()
        optimizer.step()
        print(time.process_time() - start, flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("before", type=Path, nargs="?", default=HERE, help="another checkout")
    arguments.add_argument("--pairs", type=int, default=60)
    arguments.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.work:
        work()
        return
    now, before = Worker(HERE), Worker(options.before.resolve())
    ratio = paired(now, before, options.pairs, clock=lambda: now.seconds + before.seconds)
    print(f"an update here / in {options.before.name}: {ratio}")


if __name__ == "__main__":
    main()
