"""Kill a rollout that streams to a file with SIGKILL at random moments, go on, and compare every bit.

    python tests/reliability/kill_rollout.py 100

A child is killed again and again; the file is checked, and the rollout goes on, until it is finished; then
the next rollout begins. The parent itself never opens a file: Zarr keeps a thread, which children would lack.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from killing import child, seconds_of
from torch import Tensor, nn

from neuralop_irno import Correction, IterativeRefiner, rollout
from neuralop_irno.rollouts import HDF5, Known, Refine, Rollout, Window, Zarr
from neuralop_irno.rollouts.files import check_file
from neuralop_irno.rollouts.hold import remove

KINDS: dict[str, Any] = {"h5": HDF5, "zarr": Zarr}
STEPS, PAUSE = 30, 0.005


class Base(nn.Module):
    """Two frames in, two frames out."""

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(PAUSE)
        return torch.tanh(1.1 * x + 0.1 * x.roll(1, -1)) + 1e-30 * x * x


class Halving(Correction):
    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return 0.5 * (torch.tanh(x) - h)


def refined(to: Any = None) -> Rollout:
    """Bundles of two frames, each call from a warm start: what is handed on has to be stored as well."""
    model = IterativeRefiner(Base(), Halving(), steps=2, alpha=0.7).eval()
    start = torch.linspace(-2, 2, 3 * 2 * 256, dtype=torch.float64).reshape(3, 2, 1, 256)
    start[1] *= 1e40  # this sample leaves on the way
    wall = torch.arange(256) < 2
    window, refine = Window(inputs=2, outputs=2), Refine(warm_start=True)
    return rollout(model, start, STEPS, window=window, refinement=refine, amend=Known(wall), to=to)


def check(kind: str, path: Path, whole: Tensor, frames: int) -> None:
    """The file is sound, holds the same bits, and at least so many frames."""
    assert check_file(path) == []
    found = KINDS[kind](path).read().frames
    assert found is not None
    assert found.shape[1] >= frames
    assert torch.equal(found.nan_to_num(7), whole[:, : found.shape[1]].nan_to_num(7))


def kill_often(kind: str, kills: int, folder: Path, seed: int = 0) -> int:
    """Kill so many times, checking file and bits in between; returns how many rollouts were finished."""
    draw, whole = random.Random(seed), refined().frames
    assert whole is not None
    path = folder / f"whole.{kind}"
    length = seconds_of(partial(refined, KINDS[kind](path)))
    remove(path)
    done = finished = 0
    while done < kills:
        path = folder / f"{finished}.{kind}"
        file = KINDS[kind](path, existing="continue")
        while done < kills and child(partial(refined, file), draw.uniform(0.0, length)):
            done += 1
            if path.exists():
                child(partial(check, kind, path, whole, 1))
        child(partial(refined, file))
        child(partial(check, kind, path, whole, STEPS))
        assert {place.name for place in folder.iterdir()} == {path.name}
        remove(path)
        finished += 1
    return finished


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=100)
    kills = parser.parse_args().kills
    torch.set_num_threads(1)
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as place:
            finished = kill_often(kind, kills, Path(place))
        sys.stdout.write(f"{kind}: {kills} kills of {finished} rollouts, the same bits each time\n")


if __name__ == "__main__":
    main()
