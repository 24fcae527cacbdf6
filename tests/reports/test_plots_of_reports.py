"""The axes and lines of a plot: places of numbers, ticks, and gaps."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from report_pages import Parsed

from neuralop_irno.reports.axes import Axis, labels
from neuralop_irno.reports.plots import Line, plot

RANGES = [(0.0, 1.0), (-3.0, 7.0), (1e-9, 3e4), (0.02, 0.5), (5.0, 5.0), (-1e-12, 1e-12), (1e6, 1.0001e6)]


@pytest.mark.parametrize(("low", "high"), RANGES)
@pytest.mark.parametrize("log", [None, True, False])
def test_ticks_lie_on_the_axis_in_their_order(low: float, high: float, log: bool | None) -> None:
    axis = Axis.over([low, high], 10, 110, log).widened(0.04)
    places = [axis.place(tick) for tick in axis.ticks]
    assert 2 <= len(axis.ticks) <= 12
    assert all(10 <= place <= 110 for place in places)
    assert all(one < other for one, other in pairwise(places))
    assert 10 <= axis.place(low) <= axis.place(high) <= 110
    assert len({*labels(axis.ticks)}) == len(axis.ticks)


@pytest.mark.parametrize("gap", [None, math.nan, math.inf])
def test_a_value_that_is_not_finite_interrupts_a_line(gap: float | None) -> None:
    page = Parsed(plot("p", [Line("u", range(5), [1.0, 2.0, gap, 4.0, 5.0])], "k", "error"))
    (line,) = (each for each in page.named("path") if each["class"] == "line")
    assert line["d"].count("M") == 2
    assert len(page.named("circle")) == 4


def test_a_plot_without_finite_values_states_it() -> None:
    page = Parsed(plot("p", [Line("u", [0, 1], [None, math.nan])], "k", "error"))
    assert page.named("svg") == []
    assert "No finite values to show." in page.text
