"""``irno rollout``: predict frame after frame with a trained refiner and measure the errors."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irno_cli.options import above_zero, add_run, base_of, clock, count, names, number, result

if TYPE_CHECKING:
    from irno_cli.rolling import Rolling

VIDEOS = ("gif", "mp4", "none")
EXISTING = ("refuse", "continue", "overwrite")
RULES = ("out", "res", "der")
STEPS = 20

HELP = "predict frame after frame in time, and compare with the truth"
DESCRIPTION = (
    "Starts from the first frames of every trajectory of the split, on grids or meshes, and predicts the "
    "following frames, each from the model's previous ones, with the refiner and with the base alone. Prints "
    "errors by step and field of both side by side, valid and correlation times, drifts, and the number of "
    "samples that diverged. Writes rollout.json, rollout.csv, rollout.txt, figures and a video to the folder "
    "rollout of the run, and with --to the refined frames, as they are computed. Fields, windows, times and "
    "scaling are those of the run's data, which must have time; all results are in the units of its files. "
    "With --start, rollouts start from a file, and only their frames are written. SIGTERM and SIGHUP stop "
    "after the current frame, without a report, with exit code 143."
)


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_run(command)
    command.add_argument(
        "--steps", type=count, help=f"frames to predict (default: those of the truth, at most {STEPS})"
    )
    command.add_argument("--samples", type=count, help="use the first SAMPLES trajectories (default: all)")
    command.add_argument("--batch-size", type=count, help="trajectories at once (default: as memory allows)")
    starts = command.add_argument_group("starts from a file")
    starts.add_argument(
        "--start",
        type=Path,
        help="start from x in a file of arrays, or from the fields of a mesh or of a folder of meshes, in "
        "the formats that irno predict reads; needs --to",
    )
    starts.add_argument("--fields", type=names, default=(), help="fields of the meshes that form x: u,v")
    model = command.add_argument_group("the model in time")
    model.add_argument(
        "--stepper",
        choices=RULES,
        default="out",
        help="what the model predicts: the next frame, its residual to the last one, or the derivative in "
        "time (default: out)",
    )
    model.add_argument(
        "--step", type=above_zero("0.1"), help="the time between frames (default: from the data, or 1)"
    )
    model.add_argument(
        "--clock",
        type=clock,
        metavar="START[,RESTART]",
        help="for models that take t or tau: the time of the last given frame, and the frames between two "
        "restarts, 4 or 0.5 say (default: from the data, 1)",
    )
    refinement = command.add_argument_group("refinement of each frame")
    refinement.add_argument(
        "--refine", type=count, help="steps; with --rtol or --budget the most (default: the model's K)"
    )
    refinement.add_argument("--rtol", type=above_zero("1e-3"), help="stop each sample at this tolerance")
    refinement.add_argument(
        "--budget",
        type=above_zero("2.4"),
        help="evaluations of Phi per frame on average, more where they are needed",
    )
    ensemble = command.add_argument_group("ensembles")
    ensemble.add_argument(
        "--members",
        type=count,
        default=1,
        help="rollouts of each trajectory from perturbed starts (default: 1)",
    )
    ensemble.add_argument(
        "--noise",
        type=above_zero("0.01"),
        help="deviation of the perturbations in units of each field's (default: 0.01)",
    )
    report = command.add_argument_group("results")
    report.add_argument(
        "--to",
        type=Path,
        help="write the refined frames as they are computed: run.h5, run.zarr, or for ParaView run.vtkhdf, "
        "run.pvd",
    )
    report.add_argument(
        "--existing", choices=EXISTING, default="refuse", help="if the file of --to exists (default: refuse)"
    )
    report.add_argument(
        "--threshold", type=number, default=0.4, help="largest VRMSE of a valid frame (default: 0.4)"
    )
    report.add_argument(
        "--correlation", type=number, default=0.8, help="smallest ACC of a correlated frame (default: 0.8)"
    )
    report.add_argument(
        "--video", choices=VIDEOS, default="gif", help="format of the video of one sample (default: gif)"
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from neuralop_irno.training.stopping import Stopped, stop_request

    _check(options)
    with stop_request() as request:
        command = _prepared(options, lambda: bool(request))
        ended = command.run()
        if request:
            done = int(ended.lasted.max())
            kept = f"; --existing continue goes on with {options.to}" if options.to else ""
            print(f"irno: {request.signal}: stopped after frame {done}; no report{kept}", file=sys.stderr)
            raise Stopped(request.signal)
    plain: dict[str, Any] = {"files": [str(path) for path in command.files]} if options.to else {}
    lines = [f"The refined frames are in {path}." for path in command.files]
    if command.units:
        listed = ", ".join(f"{field} in {unit}" for field, unit in command.units.items())
        plain["units"] = command.units
        lines = [f"Units: {listed}.", *lines]
    if command.report is None:
        plain["endings"] = [ending.name.lower() for each in command.refined for ending in each.endings]
        lines = [*(str(each) for each in command.refined), *lines]
    else:
        folder = command.report.write(options.folder / "rollout", _video(options))
        plain = {**command.report.to_plain(), **plain}
        lines = [f"{command.report}\n", *lines, f"The report is in {folder}."]
    result(options, plain, "\n".join(lines))


def _prepared(options: argparse.Namespace, stop: Callable[[], bool]) -> Rolling:
    """The rollouts of the options, checked before the first frame is computed."""
    from irno_cli.rolling import Rolling
    from neuralop_irno.data.flow_sources import flows_of
    from neuralop_irno.data.readers.starts import starts_of
    from neuralop_irno.training.run import read_options_of_files, read_run

    experiment, model = read_run(options.folder, options.device, base_of(options))
    data = experiment.splits()[options.split]
    flows = flows_of(data, options.steps if options.start is None else 1)
    if options.start is not None:
        named = read_options_of_files(options.folder)
        steps = options.steps or STEPS
        flows = starts_of(options.start, flows, steps, options.fields, named, options.step)
    return Rolling(options, model, flows, _refinements(options, model), _clock(options, flows), stop)


def _clock(options: argparse.Namespace, flows: Any) -> Any:
    """The clock of the options; None for that of the times of each flow."""
    from neuralop_irno.rollouts import Clock
    from neuralop_irno.rollouts.of_flows import clock_of

    if options.step is None and options.clock is None:
        return None
    own = clock_of(flows[0].times)
    start, restart = options.clock or (0.0 if own is None else own.start, 1)
    return Clock(start, options.step or (1.0 if own is None else own.step), restart)


def _refinements(options: argparse.Namespace, model: Any) -> dict[str, Any]:
    """The refinement of each model, by its name."""
    from neuralop_irno.errors import expected
    from neuralop_irno.rollouts import Adaptive, Refine

    steps = model.steps if options.refine is None else options.refine
    refined: Any = Refine(steps)
    if options.budget is not None:
        if not 1 <= options.budget <= steps:
            wanted = f"--budget from 1 to {steps}, the most evaluations per frame"
            hint = f"--refine {max(2, math.ceil(options.budget))} --budget {max(1.0, options.budget):g}"
            raise ValueError(expected(wanted, f"{options.budget:g}", hint))
        refined = Adaptive(options.budget, steps)
    elif options.rtol is not None:
        refined = Refine(rtol=options.rtol, max_steps=options.refine)
    return {"refined": refined} if options.start else {"refined": refined, "base": Refine(0)}


def _check(options: argparse.Namespace) -> None:
    """Refuse options that contradict each other, before data are read."""
    from neuralop_irno.diagnostics.projection import refuse_film
    from neuralop_irno.errors import expected
    from neuralop_irno.rollouts.files import sink_of

    for name in ("steps", "samples", "batch_size", "members"):
        if getattr(options, name) == 0:
            option = name.replace("_", "-")
            raise ValueError(expected(f"--{option} >= 1", 0, f"--{option} 1"))
    if options.rtol is not None and options.budget is not None:
        raise ValueError(expected("--rtol or --budget", "both", "one of them"))
    if options.noise is not None and options.members == 1:
        raise ValueError(expected("--members beside --noise", "none", "--members 8"))
    if options.start is None and options.fields:
        raise ValueError(expected("--start beside --fields", "none", "--start mesh.vtu"))
    if options.start is not None and options.to is None:
        raise ValueError(
            expected("--to for the frames of --start, which have no truth", "none", "--to run.h5")
        )
    if options.to is not None:
        sink_of(options.to)
    elif options.existing != "refuse":
        raise ValueError(expected("--to beside --existing", "none", "--to run.h5"))
    refuse_film(_video(options), None)


def _video(options: argparse.Namespace) -> str | None:
    return None if options.video == "none" else options.video
