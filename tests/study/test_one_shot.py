"""A control has the refiner's parameters, or its arithmetic, and is asked once."""

from typing import Any

import pytest
import torch
from torch import nn

from neuralop_irno import IterativeRefiner, UNet
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.study import controls
from neuralop_irno.study.controls import one_shot_like
from neuralop_irno.study.cost import megaflops

DATA = FieldDataset(torch.randn(2, 2, 8, 8), torch.randn(2, 1, 8, 8))
CORRECTIONS: list[Any] = [
    {"name": "unet", "width": 4, "depth": 1},
    {"name": "unet", "depth": 0},
    {"name": "mgno", "width": 4, "layers": 1},
    {"name": "fno", "n_modes": [4, 4], "hidden_channels": 8, "n_layers": 2},
    {"name": "deeponet", "width": 24, "functions": 8},
]


def refiner(correction: Any, steps: int = 4) -> IterativeRefiner:
    base = nn.Conv2d(2, 1, 3, padding=1)
    return IterativeRefiner(base, correction, steps=steps, alpha=0.5, solver="anderson")


def costs(model: IterativeRefiner) -> tuple[int, float]:
    return parameters(model), megaflops(model, DATA)


def parameters(model: IterativeRefiner) -> int:
    return sum(p.numel() for p in model.correction.parameters())


@pytest.mark.parametrize("correction", CORRECTIONS)
def test_it_has_the_same_parameters_around_the_same_base_and_is_asked_once(correction: Any) -> None:
    model = refiner(correction)
    control = one_shot_like(model, "parameters", DATA).eval()
    assert parameters(control) == parameters(model)
    assert control.base.module is model.base.module
    nn.init.normal_(next(iter(control.correction.parameters())))
    x = DATA.x
    solution = control.solve(x)
    assert solution.steps.tolist() == [1, 1]
    phi = control.correction.bind(x, control.problem((x,), {}).domain)
    torch.testing.assert_close(control(x), control.base(x) + phi(control.base(x)))


@pytest.mark.parametrize("steps", [2, 3])
@pytest.mark.parametrize("correction", CORRECTIONS)
def test_widened_it_costs_what_k_calls_cost_or_as_little_more_as_a_width_can(
    correction: Any, steps: int
) -> None:
    model = refiner(correction, steps)
    control = one_shot_like(model, "compute", DATA)
    words = control.config["correction"]
    option = "hidden_channels" if "hidden_channels" in words else "width"
    target, found = megaflops(model, DATA), megaflops(control, DATA)
    narrower = refiner({**words, option: words[option] - 1})
    assert megaflops(one_shot_like(narrower, "parameters", DATA), DATA) < target <= found
    assert parameters(control) > parameters(model)


@pytest.mark.parametrize("deeper", [0, 1, 2])
@pytest.mark.parametrize("correction", CORRECTIONS[:4])
def test_capacity_matched_it_has_at_least_both_and_a_narrower_one_has_not(
    correction: Any, deeper: int
) -> None:
    model = refiner(correction, 3)
    control = one_shot_like(model, "both", DATA, deeper)
    options = control.config["correction"]
    width, depth = (
        next(name for name in names if name in options) for names in (controls.WIDTHS, controls.DEPTHS)
    )
    own = one_shot_like(model, "parameters", DATA).config["correction"]
    assert options[depth] == own[depth] + deeper
    budget = parameters(model), megaflops(model, DATA)
    assert all(found >= least for found, least in zip(costs(control), budget, strict=True))
    narrower = refiner({**options, width: options[width] - 1}, steps=1)
    assert any(found < least for found, least in zip(costs(narrower), budget, strict=True))


@pytest.mark.parametrize("correction", CORRECTIONS[:4])
def test_deeper_and_narrower_it_has_the_same_parameters(correction: Any) -> None:
    model = refiner(correction)
    control = one_shot_like(model, "parameters", DATA, deeper=1)
    options = control.config["correction"]
    width = next(name for name in controls.WIDTHS if name in options)
    others = [
        parameters(refiner({**options, width: options[width] + more}))
        for more in (-1, 1)
        if options[width] + more > 0
    ]
    own = parameters(model)
    assert all(abs(parameters(control) - own) <= abs(other - own) for other in others)


def test_untrained_it_answers_what_the_base_answers_and_its_gradient_is_whole() -> None:
    control = one_shot_like(refiner(CORRECTIONS[0]), "compute", DATA)
    assert torch.equal(control.eval()(DATA.x), control.base(DATA.x))
    trajectory = control.train()(DATA.x, y=DATA.y)
    assert len(trajectory.iterates) == 1
    trajectory.last.sum().backward()
    assert control.correction.last.weight.grad.abs().max() > 0


def test_what_cannot_be_matched_teaches() -> None:
    untied = refiner({"name": "untied", "correction": "unet", "stages": 4})
    cases = {
        r"^expected what to match, got 'flops'; try": (refiner("unet"), "flops"),
        r"^expected a correction given by name, got .*UNet.*; try correction='unet'": (
            refiner(UNet(2, 1, width=4, depth=1)), "parameters",
        ),
        r"^expected a correction with a width to widen, got .*untied": (untied, "compute"),
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"^expected a correction with a depth .*, got .*; try deeper=0"):
        one_shot_like(untied, "parameters", DATA, deeper=1)
    for message, (model, match) in cases.items():
        with pytest.raises(ValueError, match=message):
            one_shot_like(model, match, DATA)
