"""Averages that hide nothing."""

import math

import torch

from neuralop_irno.metrics import summarise


def test_summaries_count_what_is_not_finite_and_average_the_rest() -> None:
    scores = torch.tensor([[1.0, float("nan")], [float("inf"), 4.0], [-float("inf"), 1.0]])
    summary = summarise(scores)
    assert (summary.mean, summary.count, summary.not_finite) == (2.0, 6, 3)
    assert str(summary) == "2.0000 (3 of 6 not finite)"
    assert str(summarise(torch.tensor([0.25]))) == "0.2500"
    nothing = summarise(torch.tensor([float("nan")]))
    assert math.isnan(nothing.mean)
    assert nothing.not_finite == 1
    assert math.isnan(summarise(torch.zeros(0)).mean)
