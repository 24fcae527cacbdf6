"""examples/studies/seen_base.py: which of its models see the base's answer beside h."""

from pathlib import Path

import pytest
import torch
from torch import nn

from neuralop_irno.study.catalogue import read_study

STUDIES = Path(__file__).parents[2] / "examples/studies"


@pytest.mark.parametrize(
    ("kind", "sees"), [("refined", False), ("refined, sees the base", True), ("asked once", False)]
)
def test_a_step_from_one_state_depends_on_the_answer_where_it_is_seen(
    kind: str, sees: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(STUDIES))
    import seen_base

    problem = read_study("main").problems["kuramoto_sivashinsky"]
    model = seen_base.built(kind, problem, (1, 1), dim=1).eval()
    for weight in model.correction.parameters():
        nn.init.normal_(weight, std=0.1)
    x, state = torch.randn(2, 1, 16), torch.randn(2, 1, 16)
    steps = [
        model.iterates(torch.cat([x, answer], 1), steps=1, start=state)[1]
        for answer in torch.randn(2, 2, 1, 16)
    ]
    assert torch.equal(*steps) == (not sees)
    other = torch.cat([x + 1, torch.zeros_like(x)], 1)
    assert not torch.equal(model.iterates(other, steps=1, start=state)[1], steps[0])
    assert model.steps == (1 if kind == "asked once" else problem.model["steps"])
