"""VRMSE of fields that are constant, or whose units make them tiny or huge: the same in all tables."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from neuralop_irno import FieldDataset, IterativeRefiner, evaluate_rollout, scores_per_step
from neuralop_irno.data.scaling import Scaling
from neuralop_irno.metrics import vrmse
from neuralop_irno.training.evaluation import scores_of_solutions

UNITS = [1e-30, 1e-12, 1.0, 1e9, 1e30]


def pair(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Two fields of deviation 1 and 3, and a prediction; two samples."""
    target = torch.randn(2, 2, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    target = (target - target.mean(2, keepdim=True)) * torch.tensor([[1.0], [3.0]], dtype=dtype)
    return target + 0.1 * target.flip(2), target


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("scaled", [True, False])
def test_the_units_of_fields_do_not_change_their_score(units: float, scaled: bool) -> None:
    p, t = pair()
    known = (1.0, 3.0) if scaled else None
    moved = None if known is None else tuple(each * units for each in known)
    score = vrmse(p * units, t * units, scale=moved)
    torch.testing.assert_close(score, vrmse(p, t, scale=known), rtol=1e-5, atol=0)
    well = ((p - t).square().mean(2) / (t.var(2) + 1e-7)).sqrt()
    torch.testing.assert_close(score, well, rtol=1e-5, atol=0)


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("value", [0.0, 300.0, -0.1])
def test_the_error_of_a_constant_is_in_units_of_the_scale_or_of_its_value(value: float, units: float) -> None:
    p, t = (field * units for field in pair())
    error = (p - t)[:, :1]
    t[:, 0] = value * units + 1e-9 * t[:, 0]  # in single precision this is lost, or tiny
    p[:, :1] = t[:, :1] + error
    by_scale = vrmse(p, t, scale=(units, 3 * units))
    torch.testing.assert_close(
        by_scale[:, 0], error[:, 0].div(units).square().mean(1).sqrt(), rtol=1e-3, atol=0
    )
    assert torch.equal(by_scale[:, 1], vrmse(p, t, scale=(units, 3 * units))[:, 1])
    if value:
        relative = error[:, 0].div(abs(value) * units).square().mean(1).sqrt()
        torch.testing.assert_close(vrmse(p, t)[:, 0], relative, rtol=1e-3, atol=0)


def test_a_field_of_zeros_without_a_scale_has_its_error_and_one_point_has_a_score() -> None:
    assert vrmse(torch.full((1, 1, 4), 0.25), torch.zeros(1, 1, 4)).item() == 0.25
    assert vrmse(torch.full((1, 1, 1), 3.0), torch.full((1, 1, 1), 2.0)).item() == 0.5


def test_a_field_of_double_precision_far_from_zero_is_not_constant() -> None:
    p, t = pair(torch.float64)
    torch.testing.assert_close(vrmse(p + 1e9, t + 1e9), vrmse(p, t), rtol=1e-6, atol=0)


@pytest.mark.parametrize("scale", [(), (1.0, 2.0, 3.0), (1.0, 0.0)])
def test_a_scale_that_is_not_one_number_for_each_field_is_refused(scale: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"^expected a scale > 0 for each field, got 2 channels and"):
        vrmse(*pair(), scale=scale)


@pytest.mark.parametrize("units", [1e-12, 1.0, 1e9])
def test_evaluations_solutions_and_rollouts_score_alike_in_the_units_of_the_model(units: float) -> None:
    p, t = (field * units for field in pair())
    t[0, 0] = 0  # a flow that starts from rest; the other field does not
    side = Scaling((0.0, 0.0), (units, 3 * units))
    model = IterativeRefiner(
        torch.nn.Identity(), {"name": "unet", "dim": 1}, in_channels=2, out_channels=2, steps=1,
        units={"x": vars(side), "y": vars(side)},
    )  # fmt: skip
    data = FieldDataset(p, t)
    found = scores_per_step(model, data)[-1]
    assert found.max() < 2  # and not the thousands by which one frame would decide
    scale = model.units.y.std if model.units else None
    torch.testing.assert_close(found, vrmse(p, t, scale=scale).mean(1))
    torch.testing.assert_close(scores_of_solutions(model, data).scores, found)
    report = evaluate_rollout(p[:, None], t[:, None], scale=scale)
    torch.testing.assert_close(report.scores["vrmse"][:, 0].mean(1), found)
