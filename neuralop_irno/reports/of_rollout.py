"""The page of a rollout with a truth, from ``rollout.json`` and its film."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from neuralop_irno.diagnostics.rollout_tables import frames_shown
from neuralop_irno.reports.files import read_json
from neuralop_irno.reports.film import MIME, film
from neuralop_irno.reports.markup import Markup
from neuralop_irno.reports.numbers import finite, mean, quantile
from neuralop_irno.reports.page import Page, Section
from neuralop_irno.reports.plots import Line, colour, plot, ramp, side_by_side
from neuralop_irno.reports.tables import table

ROLLOUT = "rollout.json"

Reports = Mapping[str, Mapping[str, Any]]
"""The reports of `neuralop_irno.diagnostics.rollout.evaluate_rollout` as plain data, by the model."""

LABELS = {"vrmse": "VRMSE", "relative_l2": "relative L2", "relative_l1": "relative L1", "acc": "ACC"}
"""Scores by the names of their functions, as they are written."""


def page_of_rollout(file: Path, name: str) -> Page:
    """The page.

    Args:
        file: ``rollout.json``.
        name: of the rollout, for the heading.
    """
    content = read_json(file)
    reports: Reports = {"predicted": content} if "scores" in content else content
    one = next(iter(reports.values()))
    fields = ", ".join(one["fields"])
    return Page(
        kind="rollout",
        title=name,
        source=f"irno report {name}",
        about=f"{one['samples']} trajectories, {one['steps']} frames at distances of {one['step']:g}, "
        f"of {fields}; models: {', '.join(reports)}.",
        figures=dict(_figures(reports)),
        alerts=list(_alerts(reports)),
        sections=[
            Section("Film", [_film(file.parent)]),
            Section("Errors in time", [side_by_side(_error_plots(reports)), *_error_tables(reports)]),
            Section("How long a trajectory is good", [_durations(reports)]),
            Section("Spectra", [side_by_side(_spectra(reports))]),
            Section("Drift", [side_by_side(_drift_plots(reports)), _drift_table(reports)]),
        ],
    )


def _figures(reports: Reports) -> Iterator[tuple[str, Any]]:
    for model, report in reports.items():
        yield f"median valid time, {model}", quantile(report["valid_time"], 0.5)
    for model, report in reports.items():
        yield f"mean VRMSE of the last frame, {model}", mean(_of_frame(report, "vrmse", report["steps"] - 1))
    for model, report in reports.items():
        yield f"blown up, {model}", f"{report['blown_up'][-1]} of {report['samples']}"


def _alerts(reports: Reports) -> Iterator[str]:
    for model, report in reports.items():
        lost = report["blown_up"][-1]
        if lost:
            first = next(number for number, count in enumerate(report["blown_up"], 1) if count)
            yield f"{model}: {lost} of {report['samples']} trajectories blow up, the first in frame {first}."


def _film(folder: Path) -> Markup | None:
    found = next((path for suffix in MIME if (path := folder / f"rollout{suffix}").is_file()), None)
    if found is None:
        return None
    about = (
        "The first field of the trajectory with the median error; all differences on the scale of the fields."
    )
    return film(found, found.name, about)


def _of_frame(
    report: Mapping[str, Any], score: str, frame: int, field: int | None = None
) -> list[float | None]:
    """The score of every trajectory in a frame: of one field, or the mean over all of them."""
    rows = (sample[frame] for sample in report["scores"][score])
    if field is not None:
        return [row[field] for row in rows]
    return [None if None in row else math.fsum(row) / len(row) for row in rows]


def _times(report: Mapping[str, Any]) -> list[float | None]:
    return [report["step"] * number for number in range(1, report["steps"] + 1)]


def _error_plots(reports: Reports) -> Iterator[Markup]:
    """The median of each score over the trajectories, and their middle half."""
    one = next(iter(reports.values()))
    limits = {"vrmse": one["threshold"], "acc": one["correlation"]}
    for score in one["scores"]:
        lines = []
        for place, (model, report) in enumerate(reports.items()):
            frames = [_of_frame(report, score, frame) for frame in range(report["steps"])]
            low, middle, high = ([quantile(row, share) for row in frames] for share in (0.25, 0.5, 0.75))
            lines.append(Line(model, _times(report), middle, low, high, colour(place)))
        label = LABELS.get(score, score)
        yield plot(
            label, lines, "time", label, at_y=limits.get(score), log=False if score == "acc" else None,
            note="Median over the trajectories, and their middle half; means over the fields."
            + (" Dotted: the limit of good frames." if score in limits else ""),
        )  # fmt: skip


def _error_tables(reports: Reports) -> Iterator[Markup]:
    """Means over the trajectories with finite scores, a table for each field."""
    one = next(iter(reports.values()))
    frames = frames_shown(one["steps"], (report["blown_up"] for report in reports.values()))
    some = "" if len(frames) == one["steps"] else f"; some of {one['steps']} frames"
    of = (lambda score, model: f"{score}, {model}") if len(reports) > 1 else (lambda score, model: score)
    head = ["frame", "time"]
    head += [of(LABELS.get(score, score), model) for score in one["scores"] for model in reports]
    head += [of("blown up", model) for model in reports]
    for place, field in enumerate(one["fields"]):
        rows = [
            [
                number,
                number * one["step"],
                *(
                    mean(_of_frame(report, score, number - 1, place))
                    for score in one["scores"]
                    for report in reports.values()
                ),
                *(report["blown_up"][number - 1] for report in reports.values()),
            ]
            for number in frames
        ]
        yield table(head, rows, f"{field}: means over the trajectories with finite scores{some}")


def _durations(reports: Reports) -> Markup:
    rows = []
    for model, report in reports.items():
        sound = [frames * report["step"] for frames in report["sound_frames"]]
        named = {
            f"valid, VRMSE up to {report['threshold']:g}": report["valid_time"],
            f"correlated, ACC from {report['correlation']:g}": report["correlation_time"],
            "sound, neither huge nor not finite": sound,
        }
        end = report["steps"] * report["step"]
        for name, times in named.items():
            through = sum(time >= end for time in times)
            rows.append((name, model, min(times), quantile(times, 0.5), max(times), through))
    head = ("the time that a trajectory is", "model", "least", "median", "most", "to the end")
    return table(head, rows)


def _spectra(reports: Reports) -> Iterator[Markup]:
    """Energies by frequency in the first, middle and last frame."""
    for model, report in reports.items():
        spectra = report["spectra"]
        last = report["steps"] - 1
        frames = sorted({0, last // 2, last})
        lines, errors = [], []
        for place, frame in enumerate(frames):
            shade = ramp(place, len(frames))
            number = f"frame {frame + 1}"
            lines.append(Line("", spectra["frequency"], spectra["true"][frame], colour=shade, dashed=True))
            lines.append(Line(number, spectra["frequency"], spectra["predicted"][frame], colour=shade))
            errors.append(Line(number, spectra["frequency"], spectra["error"][frame], colour=shade))
        x_label = "frequency / Nyquist"
        yield plot(f"Energy, {model}", lines, x_label, "energy", note="Dashed: the truth.")
        yield plot(f"Energy of the error, {model}", errors, x_label, "energy")


def _drift_plots(reports: Reports) -> Iterator[Markup]:
    for name in next(iter(reports.values()))["drift"]:
        lines = []
        for place, (model, report) in enumerate(reports.items()):
            frames = list(zip(*report["drift"][name], strict=True))
            low, middle, high = ([quantile(row, share) for row in frames] for share in (0.25, 0.5, 0.75))
            lines.append(Line(model, _times(report), middle, low, high, colour(place)))
        yield plot(f"Drift, {name}", lines, "time", "predicted - true", log=False, at_y=0.0,
                   note="Median over the trajectories, and their middle half.")  # fmt: skip


def _drift_table(reports: Reports) -> Markup:
    rows = []
    for name in next(iter(reports.values()))["drift"]:
        for model, report in reports.items():
            ends = zip(report["drift"][name], report["sound_frames"], strict=True)
            sizes = finite(
                abs(size) for values, frames in ends if frames and (size := values[frames - 1]) is not None
            )
            rows.append((name, model, quantile(sizes, 0.5), max(sizes, default=math.nan)))
    return table(("drift at the last sound frame", "model", "median", "largest"), rows)
