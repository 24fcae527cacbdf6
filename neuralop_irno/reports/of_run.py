"""The page of a run, from the files that ``irno train`` and `Trainer` wrote to its folder."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from neuralop_irno.reports.files import read_json, read_text
from neuralop_irno.reports.markup import Markup, tag
from neuralop_irno.reports.numbers import finite, mean
from neuralop_irno.reports.of_diagnosis import DIAGNOSIS
from neuralop_irno.reports.of_rollout import ROLLOUT
from neuralop_irno.reports.page import Page, Section, columns, command, folded, paragraph
from neuralop_irno.reports.plots import Line, plot, ramp, side_by_side
from neuralop_irno.reports.run_folder import RunFolder
from neuralop_irno.reports.tables import options, table, table_of
from neuralop_irno.training.folder import CONFIG, HISTORY
from neuralop_irno.training.machines import read_machines

BASE_CHECK = "base_check.json"

PARTS = ("base", "correction", "solver", "gradient", "steps", "units")
"""Parts of a model's config that have a row of their own."""


def page_of_run(folder: Path, name: str) -> Page:
    """The page.

    Args:
        folder: of the run.
        name: of it, for the heading.

    Raises:
        ValueError: a file is damaged.
    """
    run = RunFolder.read(folder)
    epochs = run.identity.get("recipe", {}).get("epochs")
    finished = f"{len(run.history)} of {epochs}" if epochs else len(run.history)
    check = _of_these_weights(run, read_json(folder / BASE_CHECK))
    return Page(
        kind="run",
        title=name,
        source=f"irno report {name}",
        about=f"A training of {finished} epochs; scores are those of the validation set ({run.metric}).",
        figures=dict(_figures(run)),
        alerts=list(_alerts(run, epochs, check)),
        sections=[
            Section("Curves", [side_by_side(_curves(run))]),
            Section("Errors by step", [_errors_by_step(run)]),
            Section("Solves and speed", [_solves(run), side_by_side([_speed(run)])]),
            Section("Model", [_model(run), _base_check(check)]),
            Section("Recipe and data", [columns(_recipe(run), _data(run)), _loss(run)]),
            Section("Machines", [_machines(folder)]),
            Section("Base", [_base(folder / "base")]),
            Section("Epochs", [_epochs(run)]),
            Section("Config", [_config(folder)]),
            Section("Other reports", [_others(folder, name)]),
        ],
    )


def _figures(run: RunFolder) -> Iterator[tuple[str, Any]]:
    if run.best is not None:
        valid = run.best["valid"]
        if len(valid) > 1:
            yield f"{run.metric} of the base", valid[0]
            yield f"{run.metric} after K = {len(valid) - 1}", valid[-1]
            if valid[0]:
                yield "of the base's", valid[-1] / valid[0]
        else:
            yield run.metric, valid[0]
        yield "best epoch", run.best["epoch"]
    if run.history:
        yield "updates", run.history[-1]["update"]
    if (trained := run.parameters.get("correction")) is not None:
        yield "parameters of the correction", trained


def _alerts(run: RunFolder, epochs: int | None, check: Any) -> Iterator[str]:
    if not run.history:
        yield "No epoch is finished."
        return
    stopped = run.history[-1].get("stopped")
    if stopped:
        yield f"The training was ended early: {stopped}."
    elif epochs and len(run.history) < epochs:
        finished = f"{len(run.history)} of {epochs} epochs are finished"
        yield f"{finished}: the run goes on, was interrupted, or its patience ended."
    if skipped := sum(each.get("skipped", 0) for each in run.history):
        yield f"{skipped} updates were skipped because their gradients were not finite."
    if lost := run.history[-1].get("not_finite"):
        yield f"In the last epoch {lost} answers to the validation set are not finite."
    if run.best is not None and len(run.best["valid"]) > 1:
        valid = run.best["valid"]
        if not valid[-1] < valid[0]:
            yield f"K = {len(valid) - 1} steps do not lower the error of the base."
        least = min(range(len(valid)), key=lambda k: valid[k] if math.isfinite(valid[k]) else math.inf)
        if 0 < least < len(valid) - 1:
            yield f"The error is smallest after {least} of {len(valid) - 1} steps."
    for problem in (check or {}).get("problems", ()):
        yield f"Base: {problem}"


def _curves(run: RunFolder) -> Iterator[Markup]:
    epochs = [each["epoch"] for each in run.history]
    if not epochs:
        return
    best = None if run.best is None else float(run.best["epoch"])
    mark = None if best is None else "Dotted: the epoch of the weights in the folder."
    loss = Line("loss", epochs, [each.get("loss") for each in run.history])
    yield plot("Training loss", [loss], "epoch", "loss", whole=True, at_x=best, note=mark)
    scored = [each for each in run.history if "valid" in each]
    if scored:
        yield plot(
            "Validation", list(_by_step(scored)), "epoch", run.metric, whole=True, at_x=best, note=mark
        )
    rate = Line("rate", [each["update"] for each in run.history], [each.get("rate") for each in run.history])
    yield plot("Learning rate", [rate], "update", "rate", log=False)
    if run.log and "update/loss" in run.log[0]:
        rows = [row for row in run.log if row["update/loss"]]
        each = Line(
            "loss", [float(row["update"]) for row in rows], [float(row["update/loss"]) for row in rows]
        )
        if len(rows) > 1:
            yield plot("Loss by update", [each], "update", "loss")


def _by_step(scored: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """The scores of h_0, .. h_K by epoch."""
    epochs = [each["epoch"] for each in scored]
    last = max(len(each["valid"]) for each in scored) - 1
    for k in range(last + 1):
        values = [each["valid"][k] if k < len(each["valid"]) else None for each in scored]
        name = "base" if k == 0 and last else f"k = {k}" if last else ""
        paint = "var(--quiet)" if k == 0 and last else ramp(k - 1, last)
        yield Line(name, epochs, values, colour=paint, dashed=k == 0 and last > 0)


def _errors_by_step(run: RunFolder) -> Markup | None:
    if run.best is None or len(run.best["valid"]) < 2:
        return None
    valid = run.best["valid"]
    line = Line("", list(range(len(valid))), valid)
    drawn = plot(f"Epoch {run.best['epoch']}", [line], "steps k", run.metric, whole=True, at_y=valid[0],
                 note="Dotted: the base.")  # fmt: skip
    rows = [(k, value, value / valid[0] if valid[0] else None) for k, value in enumerate(valid)]
    return side_by_side([drawn, table(("steps k", run.metric, "of the base's"), rows)])


SOLVE = "solve/"


def _solves(run: RunFolder) -> Markup:
    """How the solves of the validation set ended, epoch by epoch, where the log has it."""
    names = [name for name in (run.log[0] if run.log else ()) if name.startswith(SOLVE)]
    rows = [row for row in run.log if names and row[names[0]]]
    if not rows:
        return paragraph(
            "The ends of solves are recorded of models with the gradient rules implicit, neumann and ",
            "one_step, by ", command("irno train --log csv"), "; this folder has none.",
        )  # fmt: skip
    head = ["epoch", *(name.removeprefix(SOLVE).replace("_", " ") for name in names)]
    numbers = [[int(float(row["epoch"])), *(float(row[name] or "nan") for name in names)] for row in rows]
    kept = [place for place in range(len(head)) if place == 0 or any(row[place] for row in numbers)]
    return table(
        [head[place] for place in kept], ([row[place] for place in kept] for row in numbers), "Ends of solves"
    )


def _speed(run: RunFolder) -> Markup:
    speeds = [float(row["samples_per_second"]) for row in run.log if row.get("samples_per_second")]
    if not speeds:
        log = command("irno train --log csv")
        return paragraph("Speed is recorded by ", log, "; this folder has none.")
    epochs = [float(row["epoch"]) for row in run.log if row.get("samples_per_second")]
    note = f"Mean {mean(speeds):.4g}, least {min(speeds):.4g}, most {max(speeds):.4g}."
    line = Line("", epochs, speeds)
    return plot("Samples per second", [line], "epoch", "samples / s", whole=True, log=False, note=note)


def _model(run: RunFolder) -> Markup | None:
    config = run.model.get("model")
    if not config:
        return None
    rows = [
        (part, json.dumps(config[part]), run.parameters.get(part, ""))
        for part in PARTS
        if config.get(part) is not None
    ]
    calibrated = {name: run.model[name] for name in ("calibration", "bands") if run.model.get(name)}
    more = options(calibrated, "Calibrations") if calibrated else None
    grids = (config.get("resolution") or {}).get("cells")
    trained = "" if not grids else f" Cells of the grids of training: {json.dumps(grids)}."
    about = paragraph(f"h_(k+1) = h_k + alpha Phi(x, h_k), K = {config.get('steps')}.{trained}")
    return tag("div", about, _parts(rows), more)


def _parts(rows: Sequence[tuple[str, str, Any]]) -> Markup:
    return table(("part", "config", "parameters"), rows)


def _of_these_weights(run: RunFolder, report: Any) -> Any:
    """A report on the weights in the folder; None for one on others, or of an older version."""
    return report if isinstance(report, dict) and report.get("weights") == run.weights else None


def _base_check(check: Any) -> Markup | None:
    if check is None:
        return None
    rows = {
        "error, in deviations of the truth": check["score"],
        "the same of its input": check["persistence"],
        "samples": check["samples"],
        "not finite": check["not_finite"],
        "problems": check["problems"] or "none was found",
    }
    return options(rows, f"Check of the base, on the split {check.get('split')}")


def _recipe(run: RunFolder) -> Markup | None:
    recipe = run.identity.get("recipe")
    return options(recipe, "Recipe") if recipe else None


def _data(run: RunFolder) -> Markup | None:
    data = run.identity.get("data")
    if not data:
        return None
    rows: dict[str, Any] = {}
    for split, about in data.items():
        rows[f"{split}, samples"] = about["length"]
        for file, facts in about["files"].items():
            rows[f"{split}, {file}"] = f"{facts['size']:,} bytes"
        rows[f"{split}, digest of the content"] = about["content"] or "none: samples differ when read again"
    rows["metric"] = run.metric
    rows["digest of what does not train"] = run.identity.get("base")
    return options(rows, "Data")


def _loss(run: RunFolder) -> Markup | None:
    loss = run.identity.get("loss")
    return folded("Loss, with all options", options(loss)) if isinstance(loss, dict) else None


def _machines(folder: Path) -> Markup:
    """The machines on which the run was started and resumed, with versions."""
    found = read_machines(folder)
    if not found:
        return paragraph("Not recorded: the run is of an earlier version.")
    return table_of([{"start": number, **each} for number, each in enumerate(found, 1)])


def _base(folder: Path) -> Markup | None:
    """The training of the base, if the run has one."""
    history = read_json(folder / HISTORY)
    if not history:
        return None
    epochs = [each["epoch"] for each in history]
    loss = Line("", epochs, [each.get("loss") for each in history])
    found = [plot("Training loss of the base", [loss], "epoch", "loss", whole=True)]
    scored = [each for each in history if "valid" in each]
    if scored:
        values = [each["valid"][-1] for each in scored]
        line = Line("", [each["epoch"] for each in scored], values)
        note = f"Least: {min(finite(values), default=math.nan):.4g}."
        found.append(plot("Validation of the base", [line], "epoch", "score", whole=True, note=note))
    return side_by_side(found)


def _epochs(run: RunFolder) -> Markup | None:
    """The whole history."""
    if not run.history:
        return None
    width = max(len(each.get("valid", ())) for each in run.history)
    scores = [f"{run.metric}, k = {k}" for k in range(width)]
    names = [name for name in dict.fromkeys(key for each in run.history for key in each) if name != "valid"]
    rows = [
        [
            *(each.get(name) for name in names),
            *(each["valid"][k] if k < len(each.get("valid", ())) else None for k in range(width)),
        ]
        for each in run.history
    ]
    return folded(f"{len(rows)} epochs", table([name.replace("_", " ") for name in names] + scores, rows))


def _config(folder: Path) -> Markup | None:
    content = read_text(folder / CONFIG)
    return None if content is None else folded(CONFIG, tag("pre", content))


def _others(folder: Path, name: str) -> Markup | None:
    """The commands that report on what else the folder has."""
    found = {"rollout": ROLLOUT, "diagnosis": DIAGNOSIS}
    lines = [
        tag("li", command(f"irno report {name}/{part}"))
        for part, file in found.items()
        if (folder / part / file).is_file()
    ]
    return tag("ul", *lines) if lines else None
