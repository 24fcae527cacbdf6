"""Kill `irno train` with SIGKILL at random moments, go on, and compare the bits of what it ends with.

    python tests/reliability/kill_train.py 100

A run is killed and resumed until it ends; its files are compared, and the next run begins. Only those kills
count that ended a process which was training.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from killing import child, seconds_of

from irno_cli.main import main as irno

CONFIG = """
data: {{name: files, train: {folder}/train.npz, valid: {folder}/valid.npz}}
base_training: {{epochs: 2, batch_size: 4}}
model:
  base: {{model_arch: fno, n_modes: [4], hidden_channels: 4, n_layers: 1}}
  correction: {{name: unet, width: 4, depth: 1}}
  steps: 2
training: {{epochs: 12, batch_size: 4, save_every: 1, replay: 4, precision: float32}}
"""
KEPT = ("model.safetensors", "history.json", "base/model.safetensors")


def train(place: Path, name: str) -> None:
    """A training in a folder, resumed where there is something to resume."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert (
            irno(["train", str(place / "c.yaml"), "--folder", str(place / name), "--resume", "--json"]) == 0
        )


def bits(place: Path, name: str) -> list[bytes]:
    """The files that a run leaves."""
    return [(place / name / kept).read_bytes() for kept in KEPT]


def kill_often(place: Path, kills: int, seed: int = 0) -> int:
    """Kill so many times, comparing the bits of each run that ends; returns how many ended."""
    draw, noise = random.Random(seed), np.random.default_rng(seed)
    for split, samples in (("train", 12), ("valid", 4)):
        x = noise.normal(size=(samples, 1, 16)).astype(np.float32)
        np.savez(place / f"{split}.npz", x=x, y=np.roll(x, 1, -1))
    (place / "c.yaml").write_text(CONFIG.format(folder=place))
    train(place, "first")  # imports what is imported late
    length = seconds_of(partial(train, place, "whole"))
    done = finished = 0
    while done < kills:
        run = partial(train, place, f"run{finished}")
        while done < kills and child(run, draw.uniform(0.0, length)):
            done += 1
        child(run)
        assert bits(place, f"run{finished}") == bits(place, "whole")
        finished += 1
    return finished


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("kills", type=int, nargs="?", default=100)
    kills = parser.parse_args().kills
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        finished = kill_often(Path(place), kills)
    sys.stdout.write(f"{kills} kills of {finished} trainings, the same bits each time\n")


if __name__ == "__main__":
    main()
