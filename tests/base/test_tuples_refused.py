"""What has one field refuses a tuple, and options that do not fit are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from tuple_cases import CASES, UNET, Airflow, on_points

from neuralop_irno import (
    IterativeRefiner,
    PointOperator,
    Recipe,
    Trainer,
    TupleOperator,
    rollout,
)


def on_other_axes(x):
    return {"velocity": x, "pressure": x.mean(-1)}


REFUSED: dict[str, tuple[Callable[[IterativeRefiner, Tensor], Any], str]] = {
    "truth": (lambda m, x: m.train()(x, y=x), "the fields 'velocity', 'pressure', got a tensor"),
    "missing": (lambda m, x: m.train()(x, y={"velocity": x}), "the part 'pressure' of the base's answer"),
    "residual": (
        lambda m, x: m.solve(x, residual_fn=lambda x, h: h, residual_tol=1),
        "one field for residual_fn",
    ),
    "rollout": (lambda m, x: rollout(m, x, steps=2), "one field for a rollout"),
    "patches": (lambda m, x: m.in_patches(4)(x), "a correction of 2 fields, got InPatches"),
    "measure": (lambda m, x: m(x, measure=torch.ones(8, 6)), "a measure that broadcasts"),
    "correction": (
        lambda m, x: setattr(m, "correction", nn.Conv2d(4, 2, 1)) or m(x),
        "a correction of 2 fields",
    ),
}


@pytest.mark.parametrize("use", REFUSED)
def test_what_has_one_field_refuses_a_tuple(use: str) -> None:
    call, message = REFUSED[use]
    model = CASES["plane"].refiner()
    with pytest.raises((ValueError, TypeError), match=message):
        call(model, torch.randn(2, 3, 8, 6))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out_channels": None}, r"out_channels for each of 2 fields, got \[None, None\]"),
        ({"out_channels": 3}, "out_channels for each of 2 fields, got 3"),
        ({"out_channels": (2, 1, 1)}, "out_channels for each of 2 fields"),
        ({"correction": [UNET]}, "a correction for each of 2 fields, got 1"),
        ({"correction": nn.Conv2d(1, 1, 1)}, "a correction for each of 2 fields, got one Conv2d"),
        ({"output": ("velocity", "velocity")}, "another entry of output"),
        ({"output": ()}, "at least one field in output"),
        ({"output": "velocity"}, "one out_channels for one field"),
        ({"output": "velocity", "out_channels": 2, "correction": [UNET]}, "one correction for one field"),
        ({"layout": "C B H W"}, "layouts of several fields with B first"),
        ({"condition": ("mask",)}, "scalars as conditions of a tuple"),
        ({"correction": [UNET, {**UNET, "padding": "zero"}]}, "the same periodic axes"),
        ({"resolution": {"fields": [{}]}}, "a resolution for each of 2 fields"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    case = CASES["plane"]
    with pytest.raises((ValueError, TypeError), match=message):
        case.refiner(**options)(**case.call())


def test_fields_that_cannot_be_carried_are_refused() -> None:
    case = CASES["plane"]
    model = IterativeRefiner(on_other_axes, UNET, output=case.names, in_channels=3, out_channels=(3, 3))
    with pytest.raises(ValueError, match="an answer with the batch and the dimensions of x"):
        model(torch.randn(2, 3, 8, 6))
    net = Airflow()
    with pytest.raises(ValueError, match="without padding"):
        TupleOperator([PointOperator(net, fields="normals", pos="surface", mask="inside")])
    with pytest.raises(ValueError, match="adapters around one model, got 2 models"):
        TupleOperator([*on_points().parts[:1], *on_points().parts[1:]])
    with pytest.raises(ValueError, match="another field for each entry"):
        IterativeRefiner(lambda x: [x, x], UNET, output=(0, 1), in_channels=1, out_channels=(1, 1))(
            torch.ones(1, 1, 8)
        )


@pytest.mark.parametrize("option", [{"shifts": True}, {"resolutions": [1, 2]}])
def test_recipes_for_one_grid_refuse_a_tuple(option: dict[str, Any]) -> None:
    case = CASES["plane"]
    model = case.refiner(correction={**UNET, "padding": "circular"})
    x = torch.randn(3, 8, 6)
    data = [{"x": x, "y": (x[:2], x[:1, ::2, ::2])}] * 2
    with pytest.raises(ValueError, match=r"fields on one grid for .*, got tuples of fields"):
        Trainer(model, Recipe(epochs=1, **option), show=False).fit(data)
