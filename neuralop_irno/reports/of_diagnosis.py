"""The page of a diagnosis, from ``diagnosis.json`` and ``resolutions.json``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuralop_irno import quantiles
from neuralop_irno.diagnostics.contraction import Contraction
from neuralop_irno.diagnostics.convergence import Convergence
from neuralop_irno.diagnostics.theory import constants, held
from neuralop_irno.reports.files import read_json
from neuralop_irno.reports.markup import Markup
from neuralop_irno.reports.numbers import finite, mean, quantile
from neuralop_irno.reports.page import Page, Section, columns, paragraph
from neuralop_irno.reports.plots import Line, colour, plot, ramp, side_by_side
from neuralop_irno.reports.tables import options, table, table_of

DIAGNOSIS = "diagnosis.json"

MOST_SAMPLES = 100
"""Samples that have a line of their own in the plot of errors."""

GROWTH = 1.1
"""The last error in units of the smallest, from which an alert states that the error grows."""


def page_of_diagnosis(file: Path, name: str) -> Page:
    """The page.

    Args:
        file: ``diagnosis.json``.
        name: of the diagnosis, for the heading.
    """
    content = read_json(file)
    found = _contraction(content["contraction"])
    errors, trained = content["errors"], content["K"]
    convergence = Convergence(_tensor(content["errors"]), _tensor(content["changes"]), trained)
    samples, measured = len(errors[0]), len(found.alpha)
    split = f" of the split {content['split']}" if "split" in content else ""
    return Page(
        kind="diagnosis",
        title=name,
        source=f"irno report {name}",
        about=f"How a refiner converges: {samples} samples{split}, the constants of the theory at the truth "
        f"of {measured} of them.",
        figures=_figures(content, found),
        alerts=list(_alerts(content, found, convergence)),
        sections=[
            Section("Contraction", [columns(_constants(found, convergence), _assumptions(found))]),
            Section("Errors by step", [_error_plots(content), _error_table(content)]),
            Section("Errors by frequency", [_bands(content)]),
            Section("Error estimate", [_reliability(content), _calibration(content)]),
            Section("Other resolutions", [_resolutions(read_json(file.with_name("resolutions.json")))]),
            Section("Measured of", [_measured_of(content)]),
        ],
    )


def _contraction(content: Mapping[str, Any]) -> Contraction:
    """The constants from plain data, in which inf and nan are None."""
    values = {field.name: _tensor(content[field.name]) for field in fields(Contraction)}
    # Along an error of zero the quotient is inf.
    values["along_errors"] = values["along_errors"].nan_to_num(nan=math.inf)
    return Contraction(**values)


def _tensor(values: Any) -> Tensor:
    def known(entry: Any) -> Any:
        if isinstance(entry, list):
            return [known(part) for part in entry]
        return math.nan if entry is None else entry

    return torch.tensor(known(values), dtype=torch.float64)


def _figures(content: Mapping[str, Any], found: Contraction) -> dict[str, Any]:
    errors, trained = content["errors"], content["K"]
    base, refined = mean(errors[0]), mean(errors[min(trained, len(errors) - 1)])
    return {
        "mean error of the base": base,
        f"mean error after K = {trained}": refined,
        "median q = |I - alpha A|": quantiles.quantile(found.factor, 0.5).item(),
        "median m": quantiles.quantile(found.monotonicity, 0.5).item(),
        "assumptions hold for": f"{int(found.holds.sum())} of {len(found.holds)} samples",
    }


def _alerts(content: Mapping[str, Any], found: Contraction, convergence: Convergence) -> Iterator[str]:
    errors, trained = content["errors"], content["K"]
    broken = [name for name, holds in found.assumptions().items() if not holds.all()]
    if broken:
        yield f"Assumptions of the theory that do not hold for all samples: {'; '.join(broken)}."
    lost = sum(value is None for value in errors[-1])
    if lost:
        yield f"After {len(errors) - 1} steps {lost} of {len(errors[0])} errors are not finite."
    if trained < len(errors) and not mean(errors[trained]) < mean(errors[0]):
        yield f"K = {trained} steps do not lower the mean error of the base."
    growth = mean(finite(convergence.growth.tolist()))
    if growth > GROWTH:
        last = len(errors) - 1
        yield f"After {last} steps the error is {growth:.3g} times each sample's smallest, on average."
    coverage = content.get("observed_coverage")
    if coverage is not None and coverage < content["calibration"]["coverage"]:
        stated = content["calibration"]["coverage"]
        yield f"The error estimate covers {coverage:.0%} of the samples, less than the stated {stated:.0%}."


def _constants(found: Contraction, convergence: Convergence) -> Markup:
    rows = [
        (name, values.min().item(), quantiles.quantile(values, 0.5).item(), values.max().item())
        for name, values in constants(found, convergence).items()
    ]
    return table(("at the truth", "least", "median", "most"), rows)


def _assumptions(found: Contraction) -> Markup:
    rows = [(name, int(holds.sum()), len(holds)) for name, holds in held(found).items()]
    return table(("assumption", "holds for", "samples"), rows)


def _error_plots(content: Mapping[str, Any]) -> Markup | None:
    errors, trained = content["errors"], content["K"]
    steps = range(len(errors))
    each = [
        Line("", list(steps), [row[sample] for row in errors], colour="var(--quiet)", thin=True)
        for sample in range(min(len(errors[0]), MOST_SAMPLES))
    ]
    middle = [quantile(row, 0.5) for row in errors]
    lines = [*each, Line("mean", list(steps), [mean(row) for row in errors])]
    lines.append(Line("median", list(steps), middle, colour=colour(1)))
    changes = content["changes"]
    numbers = list(range(1, len(changes) + 1))
    low, high = ([quantile(row, share) for row in changes] for share in (0.25, 0.75))
    change = Line("", numbers, [quantile(row, 0.5) for row in changes], low, high)
    return side_by_side(
        [
            plot("Error", lines, "steps k", "error", whole=True, at_x=trained,
                 note="Thin lines: samples. Dotted: K."),
            plot("Change in a step, |h_k - h_(k-1)|", [change], "steps k", "change", whole=True, at_x=trained,
                 note="Median, and the middle half of the samples."),
        ]
    )  # fmt: skip


def _error_table(content: Mapping[str, Any]) -> Markup:
    rows = [
        (k, mean(row), quantile(row, 0.5), max(finite(row), default=math.nan))
        for k, row in enumerate(content["errors"])
    ]
    return table(("steps k", "mean error", "median", "largest"), rows)


def _bands(content: Mapping[str, Any]) -> Markup | None:
    """The error in each band in units of the base's, by frequency and by step."""
    frequency, ratios, trained = content["frequency"], content["median_band_ratio"], content["K"]
    last = len(ratios) - 1
    shown = [k for k in dict.fromkeys((1, 2, trained, 2 * trained, last)) if 0 < k <= last]
    by_frequency = [
        Line(f"k = {k}", frequency, ratios[k], colour=ramp(place, len(shown)))
        for place, k in enumerate(sorted(shown))
    ]
    steps = list(range(last + 1))
    thirds = _thirds(len(frequency))
    by_step = [
        Line(name, steps, [mean(row[part]) for row in ratios], colour=colour(place))
        for place, (name, part) in enumerate(thirds.items())
    ]
    label = "error / the base's"
    return side_by_side(
        [
            plot("By frequency", by_frequency, "frequency / Nyquist", label, at_y=1.0,
                 note="Median over the samples."),
            plot("By step", by_step, "steps k", label, whole=True, at_y=1.0, at_x=trained,
                 note="Mean over a third of the bands each."),
        ]
    )  # fmt: skip


def _thirds(bands: int) -> dict[str, slice]:
    first, second = bands // 3, 2 * bands // 3
    return {"low": slice(0, first), "middle": slice(first, second), "high": slice(second, bands)}


def _reliability(content: Mapping[str, Any]) -> Markup:
    curve: Sequence[Sequence[float]] = content["reliability"]
    if not curve:
        return paragraph("No curve: too few samples, or estimates that do not follow the errors.")
    lines = [
        Line("exact", [0.0, 1.0], [0.0, 1.0], colour="var(--quiet)", dashed=True),
        Line("observed", [stated for stated, _ in curve], [seen for _, seen in curve]),
    ]
    drawn = plot("Coverage of error_estimate", lines, "stated", "observed", log=False,
                 note="Calibrated on every other trajectory, tested on the rest.")  # fmt: skip
    numbers = table(("stated coverage", "observed"), curve)
    return side_by_side([drawn, numbers]) or drawn


def _calibration(content: Mapping[str, Any]) -> Markup | None:
    named = {
        "calibration": content.get("calibration"),
        "observed coverage": content.get("observed_coverage"),
        "error bands": content.get("error_bands"),
        "observed coverage of the bands": content.get("observed_band_coverage"),
        "half-width of the bands": content.get("band_width"),
    }
    known = {name: value for name, value in named.items() if value is not None}
    return options(known, "Calibrations of the model") if known else None


def _resolutions(content: Any) -> Markup | None:
    if not content:
        return None
    names = {"factor": "cells along an axis, times", "base": "error of the base"}
    rows = [{names.get(name, name): value for name, value in row.items()} for row in content["rows"]]
    return table_of(rows, f"VRMSE of {content['samples']} samples")


def _measured_of(content: Mapping[str, Any]) -> Markup | None:
    known = {name: content[name] for name in ("split", "weights") if name in content}
    return options(known) if known else None
