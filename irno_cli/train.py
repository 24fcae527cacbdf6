"""``irno train``: train a refiner from a YAML config."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from irno_cli.options import add_base, add_common, base_of, count, names, result, say

HELP = "train a refiner from a YAML config"
DESCRIPTION = (
    "Trains the base first if the config has base_training, then the refiner. The run folder "
    "gets model.safetensors (the best by validation), history.json, config.yaml and snapshots. "
    "--resume continues an interrupted run with bit-identical results; SIGTERM stops a run after "
    "a snapshot, with exit code 143. Several processes: "
    "torchrun --nproc-per-node 2 -m neuralop_irno train config.yaml"
)


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    command.add_argument("config", type=Path, help="a YAML file; see examples/configs")
    command.add_argument(
        "overrides",
        nargs="*",
        metavar="section.option=value",
        help="in place of the file's, in YAML: training.epochs=40 model.steps=[2,8]",
    )
    command.add_argument("--folder", type=Path, help="the run folder, in place of the config's")
    command.add_argument(
        "--resume", action="store_true", help="continue from the last snapshot in the folder"
    )
    command.add_argument(
        "--trust-base",
        action="store_true",
        help="unpickle the files of a neuraloperator base; this can run any code in them",
    )
    command.add_argument(
        "--log",
        type=names,
        default=(),
        metavar="NAME,..",
        help="trackers that are given numbers, pictures and files: csv, tensorboard, wandb, mlflow",
    )
    command.add_argument(
        "--log-every",
        type=count,
        default=50,
        help="updates between two logs, 0 for epochs only (default: 50)",
    )
    add_base(command)
    add_common(command)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from neuralop_irno.config import read_experiment
    from neuralop_irno.errors import expected
    from neuralop_irno.training.distributed import Peers, local_device
    from neuralop_irno.training.reporters.by_name import reporters_named
    from neuralop_irno.training.run import train_experiment

    reporters = reporters_named(options.log)
    experiment = read_experiment(options.config, options.overrides, given=options.base)
    folder = options.folder or Path(experiment.folder)
    history = train_experiment(
        experiment, folder, options.device, options.resume, say, not options.json, options.trust_base,
        base_of(options), reporters, options.log_every,
    )  # fmt: skip
    if not Peers.join(local_device(options.device)).first:
        return
    last = history[-1] if history else {}
    scores = [record["valid"][-1] for record in history if "valid" in record]
    score = min(filter(math.isfinite, scores), default=float("nan"))
    if scores and not math.isfinite(score):
        wanted = "a finite validation score"
        raise RuntimeError(expected(wanted, f"none in {len(history)} epochs", "a smaller learning_rate"))
    text = f"{len(history)} epochs, best validation score {score:.4f}; the model is in {folder}"
    if skipped := sum(record["skipped"] for record in history):
        text += f"; {skipped} updates were skipped because their gradients were not finite"
    result(options, {"folder": str(folder), "epochs": len(history), "best": score, "last": last}, text)
