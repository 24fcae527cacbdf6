"""``irno evaluate``: the error of a trained refiner after every step."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from neuralop_irno.cli.options import add_common, count, result


def add_to(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "evaluate",
        help="print the error of a trained refiner, step by step",
        description=(
            "Reads model.safetensors and config.yaml of a run folder and scores the model on the test "
            "split of the config's data, after every step of the iteration."
        ),
    )
    command.add_argument("folder", type=Path, help="a run folder that `irno train` wrote")
    command.add_argument("--steps", type=count, help="how many steps to look at (default: the model's K)")
    command.add_argument("--metric", default="vrmse", help="see `irno list metrics` (default: vrmse)")
    command.add_argument(
        "--split", default="test", choices=["train", "valid", "test"], help="which data (default: test)"
    )
    add_common(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run it."""
    from neuralop_irno.metrics import summarise
    from neuralop_irno.registry import METRICS
    from neuralop_irno.training.evaluation import scores_per_step
    from neuralop_irno.training.run import read_run

    metric = METRICS.lookup(options.metric)
    experiment, model = read_run(options.folder, options.device)
    data = experiment.splits()[options.split]
    scores = scores_per_step(model, data, options.steps, metric, device=options.device)
    summaries = [summarise(step) for step in scores]
    content = {
        "metric": options.metric,
        "per_step": [summary.mean for summary in summaries],
        "samples": scores.shape[1],
        "not_finite": [summary.not_finite for summary in summaries],
    }
    lines = [f"{options.metric} on {scores.shape[1]} samples"]
    lines += [f"  k = {k:2}  {summary}" for k, summary in enumerate(summaries)]
    result(options, content, "\n".join(lines))
