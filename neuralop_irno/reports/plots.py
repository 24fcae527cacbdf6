"""Plots as SVG, whose colours are those of the page, light or dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from neuralop_irno.reports.axes import Axis, labels
from neuralop_irno.reports.markup import Markup, joined, tag
from neuralop_irno.reports.numbers import shown

WIDTH, HEIGHT = 440, 290
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 12, 44
COLOURS = 8

MOST_DOTS = 40
"""Lines with more points have no visible dots."""

Values = Sequence[float | None]


@dataclass(frozen=True)
class Line:
    """One line of a plot.

    Attributes:
        name: in the legend; empty for none.
        x, y: its points; None, nan and inf interrupt the line.
        low, high: the ends of a band around it.
        colour: any of CSS; see `colour` and `ramp`.
        dashed: whether it is dashed.
        thin: whether it is one of many.
    """

    name: str
    x: Values
    y: Values
    low: Values | None = None
    high: Values | None = None
    colour: str = "var(--c0)"
    dashed: bool = False
    thin: bool = False


def colour(place: int) -> str:
    """The colour of the n-th of several things of different kinds."""
    return f"var(--c{place % COLOURS})"


def ramp(place: int, count: int) -> str:
    """The colour of the n-th of several things in order."""
    share = 100 * place / max(count - 1, 1)
    return f"color-mix(in oklab, var(--first), var(--last) {share:.0f}%)"


def plot(
    title: str,
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    *,
    log: bool | None = None,
    log_x: bool = False,
    whole: bool = False,
    at_x: float | None = None,
    at_y: float | None = None,
    note: str | None = None,
) -> Markup:
    """Lines over one pair of axes, with a legend.

    Args:
        title: of the plot.
        lines: in the order of drawing.
        x_label: of the axis of x.
        y_label: of that of y.
        log: whether y is logarithmic; by default if it is positive and spans more than a factor of 20.
        log_x: whether x is logarithmic.
        whole: whether x are whole numbers.
        at_x: a place marked by a dotted line.
        at_y: another one.
        note: a sentence below the plot.
    """
    points = [pair for line in lines for pair in _points(line.x, line.y)]
    if not points:
        return figure(title, tag("p", "No finite values to show.", class_="empty"), (), note)
    edges = [value for line in lines for ends in (line.low, line.high) for value in _finite(ends or ())]
    heights = [y for _, y in points] + ([] if at_y is None else [at_y])
    y_log = log if log is not None else Axis.over(heights, 0, 1).log
    # Bands that reach down to zero do not decide about the scale of a logarithmic axis.
    lowest = min(heights) / 3 if y_log and min(heights) > 0 else -math.inf
    y = Axis.over(
        [*heights, *(edge for edge in edges if edge > lowest)], HEIGHT - BOTTOM, TOP, y_log
    ).widened(0.04)
    across = [x for x, _ in points] + ([] if at_x is None else [at_x])
    x = Axis.over(across, LEFT, WIDTH - RIGHT, log_x, whole).widened(0.02)
    drawing = tag(
        "svg",
        joined(*_frame(x, y, x_label, y_label)),
        None if at_x is None else _rule(x.place(at_x), TOP, x.place(at_x), HEIGHT - BOTTOM),
        None if at_y is None else _rule(LEFT, y.place(at_y), WIDTH - RIGHT, y.place(at_y)),
        *(_band(line, x, y) for line in lines if line.low is not None),
        *(_drawn(line, x, y, x_label) for line in lines),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=title,
    )
    return figure(title, drawing, [line for line in lines if line.name], note)


def figure(
    title: str, drawing: Markup, lines: Sequence[Line], note: str | None, class_: str | None = None
) -> Markup:
    """A drawing under its title, with the legend of its lines."""
    keys = [
        tag("li", tag("span", class_="dashed key" if line.dashed else "key", style=_paint(line)), line.name)
        for line in lines
    ]
    legend = tag("ul", *keys, class_="legend") if len(keys) > 1 else None
    caption = tag("figcaption", tag("strong", title), legend)
    below = None if note is None else tag("p", note, class_="note")
    return tag("figure", caption, drawing, below, class_=class_)


def side_by_side(plots: Iterable[Markup]) -> Markup | None:
    """Plots beside each other, as many as the window has place for; None without any."""
    found = list(plots)
    return tag("div", joined(*found), class_="plots") if found else None


def _frame(x: Axis, y: Axis, x_label: str, y_label: str) -> Iterator[Markup]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for number, text in zip(y.ticks, labels(y.ticks), strict=True):
        height = round(y.place(number), 2)
        yield tag("line", x1=LEFT, x2=right, y1=height, y2=height, class_="grid")
        yield tag("text", text, x=LEFT - 7, y=height + 4, class_="tick end")
    for number, text in zip(x.ticks, labels(x.ticks), strict=True):
        place = round(x.place(number), 2)
        yield tag("line", x1=place, x2=place, y1=bottom, y2=bottom + 4, class_="axis")
        yield tag("text", text, x=place, y=bottom + 17, class_="tick middle")
    yield tag("line", x1=LEFT, x2=right, y1=bottom, y2=bottom, class_="axis")
    yield tag("text", x_label, x=(LEFT + right) / 2, y=HEIGHT - 7, class_="name middle")
    middle = (TOP + bottom) / 2
    turned = f"rotate(-90 13 {middle})"
    yield tag("text", y_label, x=13, y=middle, transform=turned, class_="name middle")


def _band(line: Line, x: Axis, y: Axis) -> Markup | None:
    corners = [
        (at, low, high)
        for at, low, high in zip(line.x, line.low or (), line.high or (), strict=True)
        if _is_finite(at) and _is_finite(low) and _is_finite(high)
    ]
    if not corners:
        return None
    there = [(at, high) for at, _, high in corners]
    back = [(at, low) for at, low, _ in reversed(corners)]
    return tag("path", d=f"{_path([*there, *back], x, y)}Z", class_="band", style=_paint(line))


def _drawn(line: Line, x: Axis, y: Axis, x_label: str) -> Markup:
    kind = "thin line" if line.thin else "dashed line" if line.dashed else "line"
    pieces = "".join(_path(piece, x, y) for piece in _pieces(line.x, line.y))
    dots = []
    if not line.thin:
        few = len(line.x) <= MOST_DOTS and not line.dashed
        for at, value in _points(line.x, line.y):
            about = f"{line.name}: " if line.name else ""
            tip = tag("title", f"{about}{shown(float(value))} at {x_label} {at:.6g}")
            place = {"cx": round(x.place(at), 2), "cy": round(y.place(value), 2)}
            dots.append(tag("circle", tip, **place, r=2.5 if few else 5, class_="dot" if few else "spot"))
    return tag("g", tag("path", d=pieces, class_=kind), *dots, style=_paint(line))


def _rule(x1: float, y1: float, x2: float, y2: float) -> Markup:
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return tag("line", **{name: round(place, 2) for name, place in ends.items()}, class_="rule")


def _paint(line: Line) -> str:
    return f"color:{line.colour}"


def _path(points: Sequence[tuple[float, float]], x: Axis, y: Axis) -> str:
    places = (f"{x.place(at):.2f},{y.place(value):.2f}" for at, value in points)
    return "M" + "L".join(places)


def _pieces(x: Values, y: Values) -> Iterator[list[tuple[float, float]]]:
    """The finite points in a row."""
    piece: list[tuple[float, float]] = []
    for at, value in zip(x, y, strict=True):
        if _is_finite(at) and _is_finite(value):
            piece.append((at, value))
        elif piece:
            yield piece
            piece = []
    if piece:
        yield piece


def _points(x: Values, y: Values) -> list[tuple[float, float]]:
    return [point for piece in _pieces(x, y) for point in piece]


def _finite(values: Values) -> Iterator[float]:
    return (value for value in values if _is_finite(value))


def _is_finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
