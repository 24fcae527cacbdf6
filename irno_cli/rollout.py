"""``irno rollout``: predict frame after frame with a trained refiner and measure the errors."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from irno_cli.options import add_run, base_of, count, number, result

VIDEOS = ("gif", "mp4")

HELP = "predict frame after frame with a trained refiner, and compare with the reference"
DESCRIPTION = (
    "Starts from the first frame of every trajectory of the split and predicts the following frames, "
    "each from the model's previous ones, with the refiner and with the base alone. Prints errors by "
    "step and field, valid and correlation times, drifts, and the number of samples that diverged. "
    "Writes rollout.json, rollout.txt, figures and a video to the folder rollout of the run. Data "
    "must be windows of trajectories in memory, such as turbulence and burgers: x holds frames and "
    "constant channels, y the next frames. For meshes and data read from files, call rollout() in "
    "Python. SIGTERM and SIGHUP stop after the current frame, without a report, with exit code 143."
)


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_run(command)
    command.add_argument("--steps", type=count, default=20, help="frames to predict (default: 20)")
    command.add_argument("--refine", type=count, help="refinement steps per frame (default: the model's K)")
    command.add_argument("--fields", type=count, default=1, help="channels of one frame (default: 1)")
    command.add_argument("--inputs", type=count, default=1, help="frames in x (default: 1)")
    command.add_argument("--step", type=number, default=1.0, help="the time between frames (default: 1)")
    command.add_argument(
        "--threshold", type=number, default=0.4, help="largest VRMSE of a valid frame (default: 0.4)"
    )
    command.add_argument(
        "--correlation", type=number, default=0.8, help="smallest ACC of a correlated frame (default: 0.8)"
    )
    command.add_argument(
        "--video", choices=VIDEOS, default="gif", help="format of the video of one sample (default: gif)"
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from neuralop_irno.data.joined import join_pairs
    from neuralop_irno.diagnostics.rollout import evaluate_rollout
    from neuralop_irno.rollouts import Refine, Window
    from neuralop_irno.rollouts.rollout import rollout
    from neuralop_irno.rollouts.sink import Memory
    from neuralop_irno.training.run import read_run
    from neuralop_irno.training.stopping import Stopped, stop_request

    experiment, model = read_run(options.folder, options.device, base_of(options))
    data = fields_in(experiment.splits()[options.split])
    found = join_pairs(data, options.steps, options.fields, options.inputs)
    device = options.device
    static = None if found.static is None else found.static.to(device)
    steps = model.steps if options.refine is None else options.refine
    reports = {}
    with stop_request() as request:
        for name, refinement in {"refined": Refine(steps), "base": Refine(0)}.items():
            predicted = rollout(
                model,
                found.start.to(device),
                options.steps,
                window=Window(options.inputs, found.outputs),
                static=static,
                refinement=refinement,
                to=Memory(stop=lambda: bool(request)),
            )
            if request:
                done = int(predicted.lasted.max())
                print(f"irno: {request.signal}: stopped after frame {done}; no report", file=sys.stderr)
                raise Stopped(request.signal)
            assert predicted.frames is not None
            reports[name] = evaluate_rollout(
                predicted.frames.cpu(),
                found.frames,
                step=options.step,
                threshold=options.threshold,
                correlation=options.correlation,
                lengths=model.resolution.box(found.frames.shape[3:]),
                sphere=model.resolution.sphere,
            )
    folder = reports["refined"].write(options.folder / "rollout", options.video)
    text = "\n".join(f"{name}\n{'=' * len(name)}\n{report}\n" for name, report in reports.items())
    plain = {name: report.to_plain() for name, report in reports.items()}
    result(options, plain, f"{text}\nThe report on the refined rollout is in {folder}.")


def fields_in(data: Any) -> Any:
    """The data if they are windows of grid fields in memory; raises a TypeError for others."""
    from neuralop_irno.data.fields import FieldDataset
    from neuralop_irno.errors import expected

    if isinstance(data, FieldDataset):
        return data
    sample = data[0]
    got = "data read from files piece by piece" if isinstance(sample, dict) else "meshes or graphs"
    wanted = "trajectories on a grid in memory, such as turbulence and burgers"
    hint = "irno.rollout(model, start, steps) in Python, see docs/rollouts.md"
    raise TypeError(expected(wanted, f"{got}, which this command does not support", hint))
