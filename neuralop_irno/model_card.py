"""The model card of a refiner: its parts, and figures from the files of its run, with their commands.

A card contains no figure that was not measured of these weights: reports in the folder of the run that were
measured of other weights, or do not state which, are left out by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from neuralop_irno.bands import Bands
from neuralop_irno.conformal import Calibration

CARD = "README.md"
"""The name of a card, by which the Hub shows it."""

FRONT = {"library_name": "neuralop_irno", "tags": ["neural-operator", "iterative-refinement", "pytorch"]}
"""The metadata at the top of a card, as YAML."""

REPORTS = {
    "base_check.json": "check",
    "diagnosis/diagnosis.json": "diagnose",
}
"""Files in the folder of a run that record which weights were measured, and the commands that write them."""


@dataclass(frozen=True)
class Contents:
    """What a refiner consists of.

    Attributes:
        config: of the model.
        parameters: numbers of parameters, by part.
        grids: the grids of training, as text.
        calibration: of the error estimate.
        bands: of the error at each point.
    """

    config: Mapping[str, Any]
    parameters: Mapping[str, int]
    grids: str
    calibration: Calibration | None
    bands: Bands | None


@dataclass(frozen=True)
class RunFiles:
    """The files of a run from which a card takes its figures.

    Attributes:
        folder: of the run.
        notes: those in its model's file.
        weights: the digest of the tensors in that file.
    """

    folder: Path
    notes: Any
    weights: str


def card(model: Contents, run: RunFiles | None, title: str) -> str:
    """The text of a model card, in Markdown with front matter in YAML.

    Args:
        model: what it consists of.
        run: the files of its run; None leaves all figures out.
        title: the first heading.
    """
    lines = ["---", yaml.safe_dump(FRONT, sort_keys=False).rstrip(), "---", "", f"# {title}", ""]
    lines += [
        "A base operator refined by an iterated correction, h_{k+1} = h_k + alpha Phi(x, h_k).",
        "",
        *_table(("part", "config", "parameters"), _parts(model)),
        "",
        f"Trained on: {model.grids}.",
        "",
        "```",
        "import neuralop_irno as irno",
        "",
        "model = irno.IterativeRefiner.from_pretrained(...)  # the id of this repository, or a folder",
        "```",
        "",
        "## Figures",
        "",
    ]
    sections = [] if run is None else list(_of_run(run))
    if model.calibration is not None:
        sections.append(_calibrated(model.calibration))
    if model.bands is not None:
        sections.append(_with_bands(model.bands))
    lines += sections or ["None: the model was saved without the folder of its run.", ""]
    return "\n".join(lines).rstrip() + "\n"


def is_card(path: Path) -> bool:
    """Whether a file is a card that `card` wrote, which may be replaced."""
    return path.read_bytes().startswith(f"---\nlibrary_name: {FRONT['library_name']}\n".encode())


def _parts(model: Contents) -> Iterator[Sequence[Any]]:
    units = ("units",) if "units" in model.config else ()
    for part in ("base", "correction", "solver", "steps", *units):
        count = model.parameters.get(part)
        yield part, f"`{json.dumps(model.config[part])}`", "" if count is None else f"{count:,}"


def _of_run(run: RunFiles) -> Iterator[str]:
    yield from _validation(run)
    left_out = []
    for name, command in REPORTS.items():
        report = _read(run.folder / name)
        if report is None:
            continue
        if not isinstance(report, dict) or report.get("weights") != run.weights:
            left_out.append(name)
            continue
        heading = f"### `irno {command} {run.folder.name} --split {report['split']}`\n"
        yield "\n".join([heading, *(_base(report) if command == "check" else _diagnosis(report)), ""])
    if left_out:
        yield f"Left out, since not measured of these weights: {', '.join(left_out)}.\n"


def _validation(run: RunFiles) -> Iterator[str]:
    """The scores of the epoch from which the weights are, by step."""
    history, epoch = _read(run.folder / "history.json"), run.notes.get("epoch") if run.notes else None
    of_epoch = [record for record in history or () if record.get("epoch") == epoch and "valid" in record]
    if not of_epoch:
        return
    digests = _read(run.folder / "digests.json") or {}
    metric, data = str(digests.get("metric", "score")).rpartition(".")[2], digests.get("data", {})
    samples = data.get("valid", {}).get("length")
    count = "" if samples is None else f", {samples} samples"
    source = "`irno train`" if (run.folder / "config.yaml").exists() else "`irno.Trainer`"
    steps = [(k or "0, the base", f"{value:.4g}") for k, value in enumerate(of_epoch[0]["valid"])]
    heading = (
        f"### Validation, by {source}\n\nEpoch {epoch} of {len(history)}, chosen by this score{count}.\n"
    )
    yield "\n".join([heading, *_table(("step", metric), steps), ""])


def _base(report: Mapping[str, Any]) -> list[str]:
    """What `check_base` found."""
    rows = [
        ("error of the base, in deviations of the truth from its mean", f"{report['score']:.4g}"),
        ("the same of its input", f"{report['persistence']:.4g}"),
        ("samples", report["samples"]),
    ]
    problems = [f"- {problem}" for problem in report["problems"]] or ["No problem was found."]
    return [*_table(("base", "value"), rows), "", *problems]


def _diagnosis(report: Mapping[str, Any]) -> list[str]:
    """The mean errors of the solves, and how often the assumptions of the theory held."""
    errors, trained = report["errors"], report["K"]
    shown = [
        k for k in dict.fromkeys((0, trained, 2 * trained, 3 * trained, len(errors) - 1)) if k < len(errors)
    ]
    rows = [(f"mean error after {k} steps", f"{sum(errors[k]) / len(errors[k]):.4g}") for k in shown]
    rows.append(("samples", str(len(errors[0]))))
    held = report["assumptions_hold"]
    rows.append(("assumptions of the theory held", f"for {sum(map(bool, held))} of {len(held)} samples"))
    return list(_table(("refiner", "value"), rows))


def _calibrated(calibration: Calibration) -> str:
    coverage, samples = f"{calibration.coverage:.0%}", calibration.samples
    return (
        "### Error estimate\n\n"
        f"`solve` returns an error estimate with a stated coverage of {coverage}, calibrated on {samples} "
        "held-out samples (`irno diagnose RUN --calibrate`, or `irno.calibrate`).\n"
    )


def _with_bands(bands: Bands) -> str:
    return (
        "### Error band\n\n"
        f"`solve` returns a half-width of the error at each point: for a new trajectory, {bands}, "
        f"calibrated on {bands.samples} held-out samples.\n"
    )


def _table(head: Sequence[Any], rows: Any) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(str(cell) for cell in row)} |"


def _read(path: Path) -> Any:
    """Plain data from JSON; None if there is no such file."""
    return json.loads(path.read_bytes()) if path.is_file() else None
