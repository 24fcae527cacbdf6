"""``irno evaluate``: the error of a trained refiner after every step."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from irno_cli.options import above_zero, add_run, base_of, count, result

HELP = "print the error of a trained refiner, step by step"
DESCRIPTION = (
    "Reads model.safetensors and config.yaml of a run folder and computes the metric on the test "
    "split of the config's data after every step; with --rtol, --max-steps or --solver, once for "
    "the solution of each sample."
)


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_run(command)
    command.add_argument("--steps", type=count, help="number of steps (default: the model's K)")
    command.add_argument("--metric", help="see `irno list metrics` (default: that of the data set)")
    command.add_argument("--solver", help="see `irno list solvers` (default: the model's own)")
    command.add_argument(
        "--rtol", type=above_zero("1e-3"), default=0.0, help="stop each sample at this tolerance"
    )
    command.add_argument(
        "--resolution",
        type=above_zero("2"),
        default=1.0,
        help="bring the fields to a grid of the same box with this many times as many cells along each axis",
    )
    command.add_argument(
        "--max-steps", type=count, help="with --rtol: maximum number of steps (default: 100)"
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from neuralop_irno.data.resampled import ResampledPairs
    from neuralop_irno.metrics import METRICS, own_metric
    from neuralop_irno.training.run import read_run

    if options.metric is not None:
        METRICS.lookup(options.metric)  # refuse a wrong name before data are read or generated
    experiment, model = read_run(options.folder, options.device, base_of(options))
    data: Any = experiment.splits()[options.split]
    metric = options.metric or own_metric(data)
    if options.resolution != 1:
        model.resolution = replace(model.resolution, extent="fixed")
        data = ResampledPairs(data, options.resolution, model.resolution, model.correction.periodic)
    step_by_step = options.solver is None and not options.rtol and options.max_steps is None
    content, text = (_per_step if step_by_step else _solved)(options, model, data, metric)
    result(options, {"metric": metric, **content}, text)


def _per_step(options: argparse.Namespace, model: Any, data: Any, metric: str) -> tuple[dict[str, Any], str]:
    from neuralop_irno.metrics import METRICS, summarise
    from neuralop_irno.training.evaluation import scores_per_step

    scores = scores_per_step(model, data, options.steps, METRICS.lookup(metric), device=options.device)
    summaries = [summarise(step) for step in scores]
    content = {
        "per_step": [summary.mean for summary in summaries],
        "samples": scores.shape[1],
        "not_finite": [summary.not_finite for summary in summaries],
    }
    lines = [f"{metric} on {scores.shape[1]} samples"]
    lines += [f"  k = {k:2}  {summary}" for k, summary in enumerate(summaries)]
    return content, "\n".join(lines)


def _solved(options: argparse.Namespace, model: Any, data: Any, metric: str) -> tuple[dict[str, Any], str]:
    from neuralop_irno.metrics import METRICS, summarise
    from neuralop_irno.training.evaluation import scores_of_solutions

    solved = scores_of_solutions(
        model,
        data,
        METRICS.lookup(metric),
        device=options.device,
        solver=options.solver,
        rtol=options.rtol,
        max_steps=options.max_steps,
        steps=options.steps,
    )
    summary = summarise(solved.scores)
    steps = solved.steps.double()
    content = {
        "score": summary.mean,
        "samples": summary.count,
        "not_finite": summary.not_finite,
        "evaluations": solved.evaluations,
        "steps": {"mean": steps.mean().item(), "most": int(steps.max())},
        "outcomes": {outcome.name.lower(): n for outcome, n in solved.outcomes.items()},
    }
    lines = [f"{metric} on {summary.count} samples: {summary}"]
    if solved.equation_residual is None:
        lines.append(f"  evaluations of Phi per sample: mean {steps.mean():.1f}, most {int(steps.max())}")
    else:
        content["equation_residual"] = solved.equation_residual.max().item()
        lines.append(f"  steps per sample: mean {steps.mean():.1f}, most {int(steps.max())}")
        lines.append(f"  residual of the equation, most: {content['equation_residual']:.2g} of that at h = 0")
    lines += [f"  {n} samples: {outcome.value}" for outcome, n in solved.outcomes.items()]
    return content, "\n".join(lines)
