"""Arguments of the wrong kind are refused by name where they are read."""

import pytest
import torch
from conftest import Contracting, identity

from neuralop_irno import IterativeRefiner, calibrate, diagnose
from neuralop_irno.training.batches import at_a_time

X = torch.randn(3, 1, 8, dtype=torch.float64)


def test_what_is_no_truth_no_residual_and_no_count_of_steps_is_refused() -> None:
    ragged = {"residual_fn": lambda x, h: h[:1], "residual_tol": 0.1}
    model = IterativeRefiner(identity, Contracting(), steps=2)
    one, probes = [{"x": X}], {"samples": 2, "iterations": 1, "show": False}
    for wanted, call in {
        r"a tensor with a row for each of 3 of h, got \(1, 1, 8\)": lambda: model.solve(X, **ragged),
        r"residual_fn as a function .*, got 3": lambda: model.solve(X, residual_fn=3, residual_tol=0.1),
        r"samples with a truth y, got \['x'\]": lambda: calibrate(model, one),
        r"samples with a truth y, got .'x'.": lambda: diagnose(model, one, **probes),
        r"taken of shape \(3,\), got 3": lambda: model.train()(X, y=X, taken=3),
        r"samples as dicts, or graphs, with x and y, got tuple": lambda: at_a_time([(X, X)]),
    }.items():
        with pytest.raises((TypeError, ValueError), match=f"^expected {wanted}; try "):
            call()


def test_an_argument_of_a_call_is_not_said_to_be_in_a_config() -> None:
    model = IterativeRefiner(torch.nn.Conv2d(1, 1, 1), "unet", in_channels=1, out_channels=1)
    with pytest.raises(ValueError, match=r"got 'picrd'; try 'picard' \([^()]*\)$"):
        model.solve(torch.zeros(1, 1, 8, 8), solver="picrd")
