"""Figures of studies, drawn from their tables only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf, isfinite, nan
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from neuralop_irno.diagnostics.plots import COLOURS
from neuralop_irno.study.kinds import BANDS
from neuralop_irno.study.plan import BASE, Study
from neuralop_irno.study.table import Mean, Table

Row = dict[str, Any]

ON_TOP_OF_THE_BASE = ("refined", "same_parameters", "same_compute")
"""Roles whose arithmetic in the table does not include the base."""


def dynamics(study: Study, table: Table) -> Figure:
    """The error relative to the base's in each band, step by step, with intervals over the seeds.

    One row per problem and base, one column per variant; a dotted line marks K.
    """
    places = _by(table.results, "problem", "base")
    columns = len(_by(table.results, "variant"))
    figure = Figure(figsize=(2.9 * columns, 2.6 * len(places)), layout="constrained")
    grid = figure.subplots(len(places), columns, sharey="row", squeeze=False)
    for line, (place, rows) in zip(grid, places.items(), strict=True):
        for axes, ((variant,), own) in zip(line, _by(rows, "variant").items(), strict=True):
            axes.set_title(f"{', '.join(place)}\n{variant}", fontsize=9)
            axes.set(xlabel="steps k", yscale="log")
            for position, band in enumerate(BANDS):
                _curve(axes, own, band, band, COLOURS(position / len(BANDS)))
            _mark_trained_steps(axes, study, own)
        line[0].set_ylabel("error / the base's")
    grid[0][0].legend(fontsize=8)
    return figure


def extrapolation(study: Study, table: Table) -> Figure:
    """The error at every step, with intervals over the seeds: one panel per problem and base."""
    places = _by(table.results, "problem", "base")
    figure = Figure(figsize=(4.2 * len(places), 3.6), layout="constrained")
    panels = figure.subplots(1, len(places), squeeze=False)[0]
    for axes, (place, rows) in zip(panels, places.items(), strict=True):
        axes.set(title=", ".join(place), xlabel="steps k", ylabel="error", yscale="log")
        for position, ((variant,), own) in enumerate(_by(rows, "variant").items()):
            _curve(axes, own, "error", variant, f"C{position}")
        _mark_trained_steps(axes, study, rows)
        axes.legend(fontsize=8)
    return figure


def pareto(study: Study, table: Table) -> Figure:
    """The error of every model against arithmetic and memory, with the Pareto front.

    The arithmetic is that of a forward pass including the base, for every number of steps; memory does not
    depend on the steps and is plotted against the last step's error.
    """
    places = _by(table.results, "problem", "base")
    figure = Figure(figsize=(12, 3.8 * len(places)), layout="constrained")
    grid = figure.subplots(len(places), 3, sharey="row", squeeze=False)
    costs = _by(table.costs, "problem", "base", "variant")
    for line, (place, rows) in zip(grid, places.items(), strict=True):
        variants = {variant: own for (variant,), own in _by(rows, "variant").items()}
        line[0].set(ylabel="error", xlabel="MFLOP of an answer, base included", xscale="log")
        line[0].xaxis.set(
            major_locator=LogLocator(subs=(1, 2, 5)),
            major_formatter=StrMethodFormatter("{x:g}"),
            minor_formatter=NullFormatter(),
        )
        _costs(line[0], {name: _arithmetic(study, variants, name) for name in variants})
        for axes, column in zip(line[1:], ("training MiB", "answer MiB"), strict=True):
            last = {name: _mean(own[-1], "error") for name, own in variants.items()}
            # For a base that was already trained, the memory of training is unknown.
            known = {name: costs[*place, name][0][column] for name in variants}
            _costs(axes, {name: [(cost, last[name])] for name, cost in known.items() if cost != ""})
            axes.set(xlabel=column)
        line[1].set_title(", ".join(place))
        line[2].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


PICTURES: dict[str, Callable[[Study, Table], Figure]] = {
    "dynamics": dynamics,
    "extrapolation": extrapolation,
    "pareto": pareto,
}
"""The figure of each kind of study that has one."""


def front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The Pareto front of pairs (cost, error), sorted by cost.

    Example:
        >>> front([(1.0, 0.5), (4.0, 0.1), (2.0, 0.6), (3.0, 0.2)])
        [(1.0, 0.5), (3.0, 0.2), (4.0, 0.1)]
    """
    best, kept = inf, []
    for cost, error in sorted(points):
        if error < best:
            best = error
            kept.append((cost, error))
    return kept


def _by(rows: Iterable[Row], *names: str) -> dict[tuple[str, ...], list[Row]]:
    """Group rows by the values of some columns, in the order of the table."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


def _mean(row: Row, column: str) -> float:
    """A mean from the table; nan (not drawn) for non-finite entries."""
    value = row[column]
    return value.mean if isinstance(value, Mean) else nan


def _half(row: Row, column: str) -> float:
    """Half the width of its interval; 0 for a single seed."""
    value = row[column]
    return (value.half or 0.0) if isinstance(value, Mean) else nan


def _step(row: Row) -> int:
    return int(row["at"].removeprefix("k = "))


def _curve(axes: Axes, rows: list[Row], column: str, label: str, colour: Any) -> None:
    """Plot a column of the table against the steps, with its intervals as a band."""
    steps = [_step(row) for row in rows]
    means, halves = [_mean(row, column) for row in rows], [_half(row, column) for row in rows]
    axes.plot(steps, means, "o-", color=colour, markersize=3, label=label)
    low = [mean - half for mean, half in zip(means, halves, strict=True)]
    high = [mean + half for mean, half in zip(means, halves, strict=True)]
    axes.fill_between(steps, low, high, color=colour, alpha=0.15)


def _mark_trained_steps(axes: Axes, study: Study, rows: list[Row]) -> None:
    """Draw a dotted line at every K in the study's config of refiners."""
    for problem, base, name in _by(rows, "problem", "base", "variant"):
        variant = study.variants[name]
        steps = study.problems[problem].experiment(base, variant, seed=0).model.options.get("steps")
        if variant.role == "refined" and isinstance(steps, int):
            axes.axvline(steps, color="grey", linewidth=1, linestyle=":")


def _arithmetic(study: Study, variants: dict[str, list[Row]], name: str) -> list[tuple[float, float]]:
    """Arithmetic and error of a variant, for every number of steps."""
    on_top = study.variants[name].role in ON_TOP_OF_THE_BASE
    below = _mean(variants[BASE][0], "MFLOP") if on_top else 0.0
    return [(below + _mean(row, "MFLOP"), _mean(row, "error")) for row in variants[name]]


def _costs(axes: Axes, variants: dict[str, list[tuple[float, float]]]) -> None:
    """Plot cost and error of every variant, and the common Pareto front."""
    for position, (name, points) in enumerate(variants.items()):
        axes.plot(*_unzipped(points), "o-", color=f"C{position}", markersize=4, label=name)
    best = front(point for points in variants.values() for point in points)
    axes.step(*_unzipped(best), where="post", color="grey", linestyle="--", linewidth=1, label="front")
    axes.set_ylim(0, None)


def _unzipped(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Lists of costs and errors, without non-finite errors."""
    known = [(cost, error) for cost, error in points if isfinite(error)]
    return [cost for cost, _ in known], [error for _, error in known]
