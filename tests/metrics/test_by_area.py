"""Metrics on a sphere are by the area of its cells, in evaluations and in scores of rollouts."""

from __future__ import annotations

import pytest
import torch

from neuralop_irno import FieldDataset, IterativeRefiner, Resolution, evaluate_rollout, scores_per_step
from neuralop_irno.domain.sphere import SphereDomain, row_weights
from neuralop_irno.metrics import relative_l1, relative_l2, rmse, vrmse

SHAPE = (6, 12)


def test_weighted_errors_are_norms_of_the_sphere_and_equal_weights_change_nothing():
    domain, (p, t) = SphereDomain(3, SHAPE), torch.randn(2, 3, 1, *SHAPE, dtype=torch.float64)
    weights = row_weights("equiangular", 6)
    size, norm = domain.norm(p - t)[:, None], domain.norm(t)[:, None]
    assert torch.allclose(rmse(p, t, weights=weights), size)
    assert torch.allclose(relative_l2(p, t, weights=weights), size / norm)
    ratio = domain.mean((p - t).abs()) / domain.mean(t.abs())
    assert torch.allclose(relative_l1(p, t, weights=weights), ratio[:, None])
    spread = domain.norm(t - domain.mean(t).reshape(-1, 1, 1, 1))[:, None] * (72 / 71) ** 0.5
    assert torch.allclose(vrmse(p, t, weights=weights), size / spread, rtol=1e-6)
    for metric in (rmse, relative_l2, relative_l1, vrmse):
        assert torch.allclose(metric(p, t, weights=torch.ones(6, 1)), metric(p, t))
    with pytest.raises(ValueError, match=r"^expected neither weights nor scale with reference_axes, got"):
        vrmse(p, t, reference_axes=True, weights=weights)


@pytest.mark.parametrize("stated", [True, False])
def test_evaluations_and_rollouts_on_a_sphere_are_by_area(stated):
    x, y = torch.randn(2, 3, 1, *SHAPE)
    known = Resolution(sphere="equiangular") if stated else Resolution()
    model = IterativeRefiner(torch.nn.Identity(), "unet", in_channels=1, out_channels=1, steps=1)
    domain = SphereDomain(3, SHAPE)
    model.correction = torch.nn.Conv2d(2, 1, 1)
    scored = scores_per_step(model, FieldDataset(x, y, resolution=known), metric=relative_l2)[0]
    by_area = domain.norm(x - y) / domain.norm(y)
    assert torch.allclose(scored, by_area if stated else relative_l2(x, y)[:, 0], rtol=1e-5)
    report = evaluate_rollout(x[:, None], y[:, None], sphere="equiangular" if stated else None)
    assert torch.allclose(report.scores["relative_l2"][:, 0, 0], scored, rtol=1e-5)
