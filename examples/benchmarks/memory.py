"""Peak memory of an update by gradient rule: `python examples/benchmarks/memory.py`.

64x64, batch 4, K = 12, U-Net of width 16 and depth 4. Every rule runs in a separate process; reported is the
increase of its largest resident set during the update.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys

RULES = ("unrolled", "checkpointed", "detached", "implicit")


def rise(rule: str, batch: int, steps: int) -> float:
    """The increase of this process's peak memory by one update, in MiB."""
    import torch

    from neuralop_irno import IterativeRefiner, RefinementLoss, UNet

    torch.manual_seed(0)
    phi = UNet(4, 4, width=16, depth=4)
    words = {"name": "implicit", "rtol": 1e-9} if rule == "implicit" else rule  # takes all steps
    model = IterativeRefiner(lambda x: x, phi, steps=steps, alpha=0.2, gradient=words).train()
    loss = RefinementLoss(spectral=1.0, reduction="mean")

    def update(size: int) -> None:
        x, y = torch.randn(2, batch, 4, size, size)
        loss(model(x, y=y), y).backward()

    update(8)  # allocate gradients and load libraries first
    before = peak()
    update(64)
    return peak() - before


def peak() -> float:
    """The largest resident set of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rule", choices=RULES, help="measure one rule in this process")
    options = parser.parse_args()
    if options.rule:
        print(rise(options.rule, options.batch, options.steps))
        return
    cases = [(rule, options.steps) for rule in RULES] + [("unrolled", 1), ("implicit", 50)]
    sizes = {case: [] for case in cases}
    for _ in range(options.runs):
        for rule, steps in cases:
            command = [
                sys.executable,
                __file__,
                "--rule",
                rule,
                f"--batch={options.batch}",
                f"--steps={steps}",
            ]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            sizes[rule, steps].append(float(output))
    whole, one = (statistics.median(sizes["unrolled", steps]) for steps in (options.steps, 1))
    for (rule, steps), rises in sizes.items():
        size = statistics.median(rises)
        ratios = f"{size / whole:.3f} x unrolled  {size / one:.2f} x one step"
        print(f"{rule:14} K = {steps:3} {size:8.0f} MiB  {ratios}")


if __name__ == "__main__":
    main()
