"""Means with their intervals, one above the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neuralop_irno.reports.axes import Axis, labels
from neuralop_irno.reports.markup import Markup, tag
from neuralop_irno.reports.numbers import shown
from neuralop_irno.reports.plots import WIDTH, figure

ROW, TOP, BOTTOM, LEFT, RIGHT = 26, 6, 42, 150, 16

MOST_LETTERS = 22
"""Longer names are cut; the whole one is shown beside the pointer, and in the table."""


def intervals(
    title: str, means: Sequence[tuple[str, Mapping[str, Any]]], x_label: str, at: float | None = None
) -> Markup:
    """A point for each mean, with its 95 % interval as a line.

    Args:
        title: of the plot.
        means: name, and the mean in plain data: mean, half and seeds.
        x_label: of the axis.
        at: a place marked by a dotted line.
    """
    if not means:
        return figure(title, tag("p", "No finite values to show.", class_="empty"), (), None)
    bottom = TOP + ROW * len(means)
    ends = [mean["mean"] + sign * (mean["half"] or 0.0) for _, mean in means for sign in (-1, 1)]
    axis = Axis.over(ends, LEFT, WIDTH - RIGHT).widened(0.03)
    parts = []
    for number, text in zip(axis.ticks, labels(axis.ticks), strict=True):
        x = round(axis.place(number), 2)
        parts.append(tag("line", x1=x, x2=x, y1=TOP, y2=bottom, class_="grid"))
        parts.append(tag("text", text, x=x, y=bottom + 16, class_="tick middle"))
    if at is not None:
        x = round(axis.place(at), 2)
        parts.append(tag("line", x1=x, x2=x, y1=TOP, y2=bottom, class_="rule"))
    for place, (name, mean) in enumerate(means):
        parts.append(_row(name, mean, axis, TOP + ROW * (place + 0.5)))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(tag("text", x_label, x=middle, y=bottom + 36, class_="name middle"))
    box = f"0 0 {WIDTH} {bottom + BOTTOM}"
    drawing = tag("svg", *parts, viewBox=box, role="img", aria_label=title)
    return figure(title, drawing, (), None if at is None else "Dotted: the base.")


def _row(name: str, mean: Mapping[str, Any], axis: Axis, y: float) -> Markup:
    half = mean["half"] or 0.0
    low, middle, high = (round(axis.place(mean["mean"] + half * sign), 2) for sign in (-1, 0, 1))
    cut = name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}…"
    return tag(
        "g",
        tag("title", f"{name}: {shown(mean)}, {mean['seeds']} seeds"),
        tag("text", cut, x=LEFT - 10, y=y + 4, class_="name end"),
        tag("path", d=f"M{low},{y}L{high},{y}", class_="line"),
        tag("circle", cx=middle, cy=y, r=4, class_="dot"),
        style="color:var(--c0)",
    )
