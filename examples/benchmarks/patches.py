"""Memory of a field refined in patches: `python examples/benchmarks/patches.py --side 4096 --size 512`.

An untrained base (pointwise) and a U-Net with random weights refine a field of four channels on disk, patch
by patch, in two steps. Printed: the growth of the process's peak memory while one patch with its halo is
refined, and while the field is streamed, each in a process of its own; then the largest difference to a field
refined whole, relative to its largest value.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner, stream

CHANNELS = 4


def doubled(x: Tensor) -> Tensor:
    """A base that acts on points."""
    return 2 * x


def refiner() -> IterativeRefiner:
    """A refiner around it."""
    torch.manual_seed(0)
    phi = {"name": "unet", "dim": 2, "width": 16, "depth": 2, "padding": "circular"}
    model = IterativeRefiner(doubled, phi, steps=2, in_channels=CHANNELS, out_channels=CHANNELS, alpha=0.1)
    nn.init.normal_(model.correction.last.weight, std=0.1)
    return model.eval()


def arrays(folder: Path, side: int) -> tuple[np.memmap[Any, Any], np.memmap[Any, Any]]:
    """The input, written row by row, and a place for the answer."""
    shape = (CHANNELS, side, side)
    x = np.memmap(folder / "x", np.float32, "w+", shape=shape)
    generator = np.random.default_rng(0)
    for row in range(0, side, 64):
        x[:, row : row + 64] = generator.standard_normal((CHANNELS, min(64, side - row), side), np.float32)
    return x, np.memmap(folder / "y", np.float32, "w+", shape=shape)


def peak() -> float:
    """Peak anonymous memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one_patch(side: int, size: int) -> float:
    """The growth for one patch with its halo."""
    model = refiner()
    (reach, _), unit = model.correction.receptive_field, model.correction.alignment
    whole = size + 2 * (-(-reach // unit) * unit)
    x = torch.randn(1, CHANNELS, whole, whole)
    before = peak()
    with torch.no_grad():
        model.solve(x, steps=1)
    return peak() - before


def streamed(side: int, size: int) -> float:
    """The growth for the whole field, in patches; pages of the files that are in memory count too."""
    model = refiner()
    with tempfile.TemporaryDirectory() as folder:
        x, y = arrays(Path(folder), side)
        before = peak()
        stream(model, x, y, size=size, base_halo=0)
        return peak() - before


def difference(side: int, size: int) -> float:
    """The largest difference to the whole."""
    model = refiner()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        x, y = arrays(Path(folder), side)
        stream(model, x, y, size=size, base_halo=0)
        whole = model(torch.from_numpy(np.array(x))[None])[0]
        return float((torch.from_numpy(np.array(y)) - whole).abs().max() / whole.abs().max())


def apart(function: Callable[[int, int], float], *arguments: int) -> float:
    """A figure from a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--side", type=int, default=4096)
    arguments.add_argument("--size", type=int, default=512)
    arguments.add_argument("--check", type=int, default=1024, help="side of the field to compare whole")
    options = arguments.parse_args()
    patch = apart(one_patch, options.side, options.size)
    print(f"one patch of {options.size} with halo: {patch:.0f} MiB")
    for side in sorted({options.side // 2, options.side}):
        grown = apart(streamed, side, options.size)
        print(f"{side} x {side} streamed: {grown:.0f} MiB, {grown / patch:.2f} of that")
    print(
        f"{options.check} x {options.check}, difference to the whole: "
        f"{apart(difference, options.check, min(options.size, options.check // 4)):.1e}"
    )


if __name__ == "__main__":
    main()
