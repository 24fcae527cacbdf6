"""The residual as an input, as a loss, and as both, with every gradient rule."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn

from neuralop_irno import IterativeRefiner, LinearEquation, RefinementLoss
from neuralop_irno.registry import GRADIENTS

OPTIONS: dict[str, Any] = {"last": {"n": 2}, "implicit": {"backward_steps": 8}}
TWICE = LinearEquation(lambda x, v: 2 * v, lambda x: x)


def refiner(**options: Any) -> IterativeRefiner:
    words = {"name": "unet", "width": 4, "depth": 0, "dim": 1}
    sizes = {"in_channels": 1, "out_channels": 1, "steps": 3}
    return IterativeRefiner(nn.Conv1d(1, 1, 3, padding=1), words, **sizes, **options).train()


# At the truth an untrained correction has no error to learn from: `from_truth` is for `denoising`.
@pytest.mark.parametrize("rule", [name for name in GRADIENTS.names() if name != "from_truth"])
@pytest.mark.parametrize(("seen", "spatial"), [(False, 0.0), (True, 0.0), (True, 1.0), (False, 1.0)])
def test_the_first_update_has_a_finite_gradient_that_is_not_zero(
    rule: str, seen: bool, spatial: float
) -> None:
    gradient = {"name": rule, **OPTIONS.get(rule, {})}
    model = refiner(gradient=gradient, equation=TWICE, sees_residual=seen)
    x = torch.randn(2, 1, 6)
    with warnings.catch_warnings():  # `implicit` says that it falls back
        warnings.simplefilter("ignore", UserWarning)
        RefinementLoss(spatial=spatial, residual=1.0)(model(x, y=x / 2), x / 2).backward()
    grads = [p.grad for p in model.correction.parameters() if p.grad is not None]
    assert all(grad.isfinite().all() for grad in grads)
    assert sum(grad.abs().sum() for grad in grads) > 0


def test_a_model_without_an_equation_is_refused() -> None:
    x = torch.randn(2, 1, 6)
    with pytest.raises(ValueError, match="expected a model with an equation for the loss residual, got"):
        RefinementLoss(residual=1.0)(refiner()(x, y=x), x)
