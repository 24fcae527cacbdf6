"""Memory of a field refined in patches: `python examples/benchmarks/patches.py --side 4096 --size 512`.

An untrained base (pointwise) and a U-Net with random weights refine a field of four channels on disk, patch
by patch, in two steps. Printed: the growth of the process's peak memory while one patch with its halo is
refined, and while the field is streamed, each in a process of its own, whose allocator gives large blocks
back (glibc keeps up to a third more); then the largest difference to a field refined whole, relative to its
largest value.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from threading import Event, Thread
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


class Peak:
    """The growth of this process's own memory, without pages of files, in MiB; on Linux."""

    mebibytes = 0.0

    def __enter__(self) -> Peak:
        self._done, self._thread = Event(), Thread(target=self._watch, args=(self._own(),), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self, before: float) -> None:
        while not self._done.wait(0.002):
            self.mebibytes = max(self.mebibytes, self._own() - before)

    @staticmethod
    def _own() -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        (line,) = [line for line in lines if line.startswith("RssAnon")]
        return int(line.split()[1]) / 1024


def one_patch(side: int, size: int) -> float:
    """The growth for one patch with its halo."""
    model = refiner()
    (reach, _), unit = model.correction.receptive_field, model.correction.alignment
    whole = size + 2 * (-(-reach // unit) * unit)
    x = torch.randn(1, CHANNELS, whole, whole)
    with Peak() as peak:
        model.solve(x, steps=1)
    return peak.mebibytes


def streamed(side: int, size: int) -> float:
    """The growth for the whole field, in patches."""
    model = refiner()
    with tempfile.TemporaryDirectory() as folder:
        x, y = arrays(Path(folder), side)
        with Peak() as peak:
            stream(model, x, y, size=size, base_halo=0)
        return peak.mebibytes


def difference(side: int, size: int) -> float:
    """The largest difference to the whole."""
    model = refiner()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        x, y = arrays(Path(folder), side)
        stream(model, x, y, size=size, base_halo=0)
        whole = model(torch.from_numpy(np.array(x))[None])[0]
        return float((torch.from_numpy(np.array(y)) - whole).abs().max() / whole.abs().max())


def apart(function: Callable[[int, int], float], *arguments: int) -> float:
    """A figure from a process of its own, in which blocks above 1 MiB are given back when they are freed."""
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(2**20)
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
