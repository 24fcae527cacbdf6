"""Error of the demo by flows and epochs: `python examples/studies/fewer_updates.py --json FILE`.

Varies flows, epochs, depth and optimizer of the demo's refiner at width 12, float32, one thread.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from neuralop_irno import IterativeRefiner, Trainer, scores_per_step
from neuralop_irno.demo import FULL, base_recipe, flows, refiner_recipe, small_fno


@dataclass(frozen=True)
class Row:
    """The options of one training."""

    flows: int
    optimizer: str
    epochs: int
    replay: float = 24.0
    depth: int = 3
    seed: int = 0


ROWS = (
    Row(64, "adamw", 12),
    Row(64, "adamw", 8, replay=16.0),
    Row(64, "muon", 12),
    Row(64, "muon", 8),
    Row(32, "muon", 24),
    Row(32, "muon", 24, seed=1),
    Row(32, "muon", 20),
    Row(32, "muon", 16, replay=16.0),
    Row(32, "muon", 24, depth=2),
)
RATES = {"adamw": 6e-3, "muon": 2e-2}


def errors(row: Row) -> dict[str, float]:
    """VRMSE of the base, and of the refiner after K and 3 K steps."""
    scale = replace(FULL, trajectories=(row.flows, 4, 16))
    data = flows(scale, row.seed)
    torch.manual_seed(row.seed)
    base = small_fno(scale)
    Trainer(base, base_recipe(scale, row.seed), show=False).fit(data["train"], data["valid"])
    torch.manual_seed(row.seed)
    correction = {"name": "unet", "width": 12, "depth": row.depth}
    model = IterativeRefiner(base, correction, steps=scale.steps, alpha=1.0)
    recipe = replace(
        refiner_recipe(scale, row.seed),
        optimizer=row.optimizer,
        learning_rate=RATES[row.optimizer],
        epochs=row.epochs,
        replay=row.replay,
        precision="float32",
    )
    Trainer(model, recipe, show=False).fit(data["train"], data["valid"])
    means = scores_per_step(model, data["test"], 3 * scale.steps).mean(1).tolist()
    return {"base": means[0], "K": means[scale.steps], "3K": means[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    content = []
    for row in ROWS:
        content.append({**vars(row), **errors(row)})
        print(content[-1], flush=True)
    if options.json:
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
