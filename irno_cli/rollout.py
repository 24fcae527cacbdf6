"""``irno rollout``: how long a trained refiner, called on its own answers, stays right."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from irno_cli.options import add_common, add_split, count, number, result

VIDEOS = ("gif", "mp4")


def add_to(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "rollout",
        help="let a trained refiner predict frame after frame, and compare with what happened",
        description=(
            "Starts from the first frame of every flow of the split and predicts frame after frame from the "
            "model's own frames, refined, and by the base alone. Prints errors by step and field, valid and "
            "correlation times, drifts and how many samples blew up. Writes rollout.json, rollout.txt, "
            "pictures and a film to the folder rollout of the run. The data have to be windows of flows, "
            "as turbulence and burgers are: x holds frames and what is constant, y the next frames. Meshes "
            "and data that are read from files piece by piece are refused: call rollout() in Python there. "
            "SIGTERM and SIGHUP end it after the frame in progress, with no report and the exit code 143."
        ),
    )
    command.add_argument("folder", type=Path, help="a run folder that irno train wrote")
    command.add_argument("--steps", type=count, default=20, help="frames to predict (default: 20)")
    command.add_argument("--refine", type=count, help="steps of refinement a call (default: the model's K)")
    command.add_argument("--fields", type=count, default=1, help="channels of one frame (default: 1)")
    command.add_argument("--inputs", type=count, default=1, help="frames that x holds (default: 1)")
    command.add_argument("--step", type=number, default=1.0, help="the time between frames (default: 1)")
    command.add_argument("--threshold", type=number, default=0.4, help="VRMSE that is valid (default: 0.4)")
    command.add_argument("--correlation", type=number, default=0.8, help="ACC that is enough (default: 0.8)")
    command.add_argument("--video", choices=VIDEOS, default="gif", help="of one sample (default: gif)")
    add_split(command)
    add_common(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run it."""
    from neuralop_irno.data.chains import flows
    from neuralop_irno.diagnostics.rollout import evaluate_rollout
    from neuralop_irno.rollouts import Refine, Window
    from neuralop_irno.rollouts.rollout import rollout
    from neuralop_irno.rollouts.sink import Memory
    from neuralop_irno.training.run import read_run
    from neuralop_irno.training.stopping import Stopped, stop_request

    experiment, model = read_run(options.folder, options.device)
    data = fields_in(experiment.splits()[options.split])
    found = flows(data, options.steps, options.fields, options.inputs)
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
            )
    folder = reports["refined"].write(options.folder / "rollout", options.video)
    text = "\n".join(f"{name}\n{'=' * len(name)}\n{report}\n" for name, report in reports.items())
    plain = {name: report.to_plain() for name, report in reports.items()}
    result(options, plain, f"{text}\nThe report on the refined rollout is in {folder}.")


def fields_in(data: Any) -> Any:
    """The data, if they are held in memory as windows of fields on a grid; others are refused by name."""
    from neuralop_irno.data.fields import FieldDataset
    from neuralop_irno.errors import expected

    if isinstance(data, FieldDataset):
        return data
    sample = data[0]
    got = "data that are read from files piece by piece" if isinstance(sample, dict) else "meshes or graphs"
    raise TypeError(
        expected(
            "flows on a grid that are held in memory, as turbulence and burgers are",
            f"{got}, whose rollouts this command cannot judge yet",
            "irno.rollout(model, start, steps) in Python, see docs/rollouts.md",
        )
    )
