"""Kill `irno train` at random points, again and again, and compare the bits of what it ends with.

python tests/reliability/kill_train.py [KILLS] [SEED]
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CONFIG = """
data: {{name: files, train: {folder}/train.npz, valid: {folder}/valid.npz}}
base_training: {{epochs: 2, batch_size: 4}}
model:
  base: {{model_arch: fno, n_modes: [4], hidden_channels: 4, n_layers: 1}}
  correction: {{name: unet, width: 4, depth: 1}}
  steps: 2
training: {{epochs: 20, batch_size: 4, save_every: 1, replay: 4, precision: float32}}
"""
KEPT = ("model.safetensors", "history.json", "base/model.safetensors")


def command(place: Path, name: str) -> list[str]:
    """A training in a folder, resumed where there is something to resume."""
    words = ["train", str(place / "config.yaml"), "--folder", str(place / name), "--resume", "--json"]
    return [sys.executable, "-m", "neuralop_irno", *words]


def kill(place: Path, kills: int, seed: int) -> dict[str, bool]:
    """For each file that a run leaves, whether it has the same bits after so many kills as without any."""
    draw, noise = random.Random(seed), np.random.default_rng(seed)
    for split, samples in (("train", 12), ("valid", 4)):
        x = noise.normal(size=(samples, 1, 16)).astype(np.float32)
        np.savez(place / f"{split}.npz", x=x, y=np.roll(x, 1, -1))
    (place / "config.yaml").write_text(CONFIG.format(folder=place))
    start = time.monotonic()
    subprocess.run(command(place, "whole"), check=True, capture_output=True)
    length = time.monotonic() - start
    for _ in range(kills):
        victim = subprocess.Popen(
            command(place, "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(draw.uniform(0, length))
        victim.kill()
        victim.wait()
    subprocess.run(command(place, "killed"), check=True, capture_output=True)
    return {
        name: (place / "whole" / name).read_bytes() == (place / "killed" / name).read_bytes() for name in KEPT
    }


if __name__ == "__main__":
    kills, seed = map(int, [*sys.argv[1:], *("3", "0")[len(sys.argv) - 1 :]])
    with tempfile.TemporaryDirectory() as folder:
        found = kill(Path(folder), kills, seed)
    sys.stdout.write(f"{kills} kills, the same bits: {found}\n")
    sys.exit(not all(found.values()))
