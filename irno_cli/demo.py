"""``irno demo``: train, refine and compare on generated turbulence."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from irno_cli.options import add_common, count, result, say

HELP = "train a small FNO on turbulence, refine it, compare with controls"
DESCRIPTION = (
    "Generates 2-D turbulence, trains a small FNO, wraps it, trains the refiner, and prints the "
    "error on held-out flows after every step, next to two matched one-shot networks. Writes "
    "report.json, error_per_step.png, error_spectrum.png and fields.png."
)


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    command.add_argument(
        "--quick",
        action="store_true",
        help="a smaller run, under a minute on 2 cores; too short to judge the results",
    )
    command.add_argument("--folder", type=Path, default=Path("reports/demo"), help="folder of the report")
    command.add_argument(
        "--seed", type=count, default=0, help="seed of data, weights and batches (default: 0)"
    )
    add_common(command)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from neuralop_irno.demo import FULL, LARGE, QUICK, Demo, table

    scale = QUICK if options.quick else LARGE if options.device.startswith("cuda") else FULL
    demo = Demo(scale, options.folder, options.device, options.seed, say, show=not options.json)
    report = demo.run()
    result(options, asdict(report), f"{table(report)}\nThe report is in {options.folder}.")
