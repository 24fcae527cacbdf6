"""Numbers of the example configs, to compare two commits: `python examples/benchmarks/same_numbers.py`.

Every example config, with small networks and data, is trained for two epochs by AdamW. Then the losses are
printed, and digests of the weights and of the outputs of the base, of a forward pass and of a solve. Run it
on both commits, on one machine.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

from neuralop_irno.config import experiment
from neuralop_irno.digest import of_tensors
from neuralop_irno.training.run import read_run, train_experiment
from neuralop_irno.yaml_files import read_yaml

CONFIGS = Path(__file__).parents[1] / "configs"
FLOWS = {"trajectories": [4, 1, 2], "frames": 4, "size": 16}
TURBULENCE = {**FLOWS, "resolution": 16, "warmup": 0.1, "outputs": 1}
DATA = {"burgers": FLOWS, "paper": TURBULENCE, "turbulence": TURBULENCE}
SMALL = {"hidden_channels": 4, "n_layers": 1, "width": 4, "depth": 1}
ADAMW = {
    "optimizer": "adamw",
    "learning_rate": 4e-3,
    "epochs": 2,
    "precision": "float32",
}


def shrunk(config: Any) -> Any:
    """The same with small networks."""
    if isinstance(config, dict):
        return {key: SMALL.get(key, shrunk(value)) for key, value in config.items()}
    return config


def numbers_of(name: str) -> dict[str, Any]:
    """Losses, scores and digests of one config."""
    config = shrunk(read_yaml(CONFIGS / f"{name}.yaml"))
    config["data"].update(DATA[name])
    for section in ("training", "base_training"):
        config[section] = {**(config.get(section) or {}), **ADAMW}
    with tempfile.TemporaryDirectory() as place:
        run = Path(place) / "run"
        history = train_experiment(experiment(config), run, say=lambda text: None, show=False)
        own, refiner = read_run(run)
    sample = own.splits()["test"][0]["x"][None]
    with torch.no_grad():
        solution = refiner.solve(sample, rtol=1e-2, max_steps=20)
        answers = {"base": refiner.iterates(sample)[0], "forward": refiner(sample), "solve": solution.value}
    return {
        "losses": [record["loss"] for record in history],
        "scores": [record["valid"] for record in history],
        "steps": solution.steps.tolist(),
        **{key: of_tensors({"": value}) for key, value in answers.items()},
        "weights": of_tensors(dict(refiner.correction.named_parameters())),
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(json.dumps({name: numbers_of(name) for name in sorted(DATA)}, indent=1))
