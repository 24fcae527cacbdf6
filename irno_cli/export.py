"""``irno export``: a trained refiner as a file that torch runs without this package."""

from __future__ import annotations

import argparse
from pathlib import Path

from irno_cli.options import above_zero, add_run, base_of, count, result

HELP = "write a trained refiner to a file that torch runs alone"
DESCRIPTION = (
    "Writes base, correction and iteration as a graph of torch.export, or with --compiled as a package of "
    "AOTInductor for the device, for programs in Python or C++ that load torch alone. The program takes the "
    "tensors of a sample of the run's data and returns the refined field, and for each sample the last "
    "residual, the number of its outcome, and its steps. A file at the path is replaced."
)


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_run(command)
    command.add_argument("--to", type=Path, required=True, help="the file to write, model.pt2")
    command.add_argument("--steps", type=count, help="number of steps (default: the model's K)")
    command.add_argument(
        "--rtol", type=above_zero("1e-3"), default=0.0, help="stop each sample at this tolerance"
    )
    command.add_argument(
        "--max-steps", type=count, help="with --rtol: maximum number of steps (default: 100)"
    )
    command.add_argument("--compiled", action="store_true", help="compile it, which takes minutes")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    import torch

    from neuralop_irno.devices import to_device
    from neuralop_irno.exporting import export
    from neuralop_irno.training.batches import at_once, load_all
    from neuralop_irno.training.run import read_run

    experiment, refiner = read_run(options.folder, options.device, base_of(options))
    data = experiment.splits()[options.split]
    _, sample = next(load_all(data, at_once(refiner) or 2, torch.arange(min(2, len(data)))))
    made = export(
        refiner,
        to_device(sample, torch.device(options.device)),
        options.to,
        steps=options.steps,
        rtol=options.rtol,
        max_steps=options.max_steps,
        compiled=options.compiled,
    )
    result(options, made.to_plain(), str(made))
