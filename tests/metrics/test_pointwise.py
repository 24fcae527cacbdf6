"""Scores against their closed forms, over space only, and none of them hidden."""

import math

import pytest
import torch
from torch import Tensor

from neuralop_irno.diagnostics.spectral_error import band_errors
from neuralop_irno.metrics import METRICS, relative_l1, relative_l2, rmse, vrmse

METRIC_NAMES = ["vrmse", "relative_l2", "relative_l1", "rmse", "rfne"]


def pair(*shape: int) -> tuple[Tensor, Tensor]:
    prediction, target = torch.randn(2, *shape, dtype=torch.float64)
    return prediction, target


@pytest.mark.parametrize("shape", [(8,), (5, 4), (3, 4, 2)])
def test_predicting_the_mean_scores_one_but_for_the_unbiased_variance(shape: tuple[int, ...]) -> None:
    _, target = pair(2, 3, *shape)
    n = math.prod(shape)
    mean = target.flatten(2).mean(2).reshape(2, 3, *[1] * len(shape)).expand_as(target)
    expected = torch.full((2, 3), math.sqrt((n - 1) / n)).double()
    torch.testing.assert_close(vrmse(mean, target), expected, rtol=1e-6, atol=0)


def test_an_offset_and_a_factor_score_what_they_are() -> None:
    _, target = pair(2, 3, 6, 5)
    std = target.flatten(2).std(2)
    torch.testing.assert_close(vrmse(target + 2, target), 2 / std, rtol=1e-6, atol=0)
    torch.testing.assert_close(rmse(target + 2, target), torch.full((2, 3), 2.0).double())
    for relative in (relative_l1, relative_l2):
        torch.testing.assert_close(relative(-0.5 * target, target), torch.full((2, 3), 1.5).double())
    for name in METRIC_NAMES:
        assert torch.equal(METRICS.lookup(name)(target, target), torch.zeros(2, 3).double())


def test_units_do_not_matter_to_relative_scores() -> None:
    prediction, target = pair(2, 3, 8, 8)
    for metric in (vrmse, relative_l1, relative_l2):
        scaled = metric(-50 * prediction, -50 * target)
        torch.testing.assert_close(scaled, metric(prediction, target), rtol=1e-6, atol=0)
    torch.testing.assert_close(rmse(3 * prediction, 3 * target), 3 * rmse(prediction, target))
    shifted = vrmse(prediction + 7, target + 7)  # nor does the origin, to a variance
    torch.testing.assert_close(shifted, vrmse(prediction, target))


def test_repeating_every_cell_leaves_means_alone() -> None:
    prediction, target = pair(2, 1, 6)
    finer = [field.repeat_interleave(4, 2) for field in (prediction, target)]
    for metric in (rmse, relative_l1, relative_l2):
        torch.testing.assert_close(metric(*finer), metric(prediction, target))


@pytest.mark.parametrize("name", METRIC_NAMES)
def test_one_score_for_each_sample_time_and_field(name: str) -> None:
    metric = METRICS.lookup(name)
    prediction, target = pair(2, 3, 4, 6, 5)  # sample, time, field, space
    scores = metric(prediction, target, space=2)
    assert scores.shape == (2, 3, 4)
    for place in ((0, 0, 0), (1, 2, 3)):
        alone = metric(prediction[place][None, None], target[place][None, None])
        torch.testing.assert_close(scores[place], alone[0, 0])
    assert metric(prediction, target).shape == (2, 3)  # by default all that follows sample and channel
    assert metric(prediction[0, 0, 0], target[0, 0, 0], space=2).shape == ()


def test_rfne_is_the_norm_of_frobenius_of_each_sample_and_field() -> None:
    prediction, target = pair(2, 3, 6, 5)
    scores = METRICS.lookup("rfne")(prediction, target)
    for place in ((0, 0), (1, 2)):
        expected = torch.linalg.matrix_norm(prediction[place] - target[place], "fro")
        torch.testing.assert_close(scores[place], expected / torch.linalg.matrix_norm(target[place], "fro"))


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (2, 6, 3, 5, 4), (2, 3, 5), (2, 3, 4, 5, 6)])
def test_the_published_axes_are_fields_and_all_of_space_but_the_last(shape: tuple[int, ...]) -> None:
    prediction, target = pair(*shape)
    space = {4: 2, 3: 1}.get(len(shape), 2 if shape[1] == 6 else 3)
    scores = vrmse(prediction, target, space, reference_axes=True)
    leading = len(shape) - space - 1
    assert scores.shape == (*shape[:leading], shape[-1])
    reduced = tuple(range(leading, len(shape) - 1))
    error = (prediction - target).square().mean(reduced)
    torch.testing.assert_close(scores, (error / target.var(reduced)).sqrt())


def test_fields_of_unequal_difficulty_look_easier_on_the_published_axes() -> None:
    scale = torch.tensor([1.0, 0.1]).double().reshape(1, 2, 1, 1)  # the second field hardly varies
    target = scale * torch.randn(4, 2, 32, 32, dtype=torch.float64)
    prediction = target + 0.1 * torch.randn_like(target)
    assert vrmse(prediction, target).mean().item() == pytest.approx((0.1 + 1.0) / 2, rel=0.05)
    mixed = vrmse(prediction, target, reference_axes=True).mean().item()
    assert mixed == pytest.approx(0.1 / math.sqrt((1 + 0.01) / 2), rel=0.05)


def test_a_sample_that_blew_up_stays_in_the_scores() -> None:
    prediction, target = pair(3, 1, 4)
    prediction[1, 0, 2] = float("nan")
    for name in METRIC_NAMES:
        assert METRICS.lookup(name)(prediction, target).isfinite().flatten().tolist() == [True, False, True]


@pytest.mark.parametrize("shape", [(16,), (9, 8), (5, 4, 7)])
@pytest.mark.parametrize("bands", [1, 4, 16])
def test_the_errors_of_all_bands_sum_to_the_squared_error(shape: tuple[int, ...], bands: int) -> None:
    h, y = pair(2, 3, *shape)
    result = band_errors([h, y, torch.zeros_like(y)], y, bands)
    assert result.error.shape == (3, bands)
    assert result.frequency.shape == (bands,)
    torch.testing.assert_close(result.error[0].sum(), (h - y).square().mean())
    torch.testing.assert_close(result.error[0].sum(), rmse(h, y).square().mean())
    assert result.error[1].abs().sum() == 0
    torch.testing.assert_close(result.error[2], result.truth)
    torch.testing.assert_close(result.thirds().sum(1), result.error.sum(1))


def test_an_error_of_one_wave_sits_in_the_band_of_its_frequency() -> None:
    x = torch.arange(32, dtype=torch.float64) * (2 * math.pi / 32)
    y = torch.zeros(1, 1, 32, dtype=torch.float64)
    for wavenumber in (1, 5, 11, 15):
        result = band_errors([y + torch.cos(wavenumber * x)], y, bands=8)
        band = int(result.error[0].argmax())
        assert result.error[0, band].item() == pytest.approx(0.5)  # the mean square of a wave
        assert abs(result.frequency[band].item() - wavenumber / 16) <= 0.5 / 8


def test_fields_that_do_not_fit_teach() -> None:
    field = torch.zeros(2, 1, 4)
    for name in METRIC_NAMES:
        metric = METRICS.lookup(name)
        with pytest.raises(ValueError, match=r"^expected a prediction of shape \(2, 1, 4\), got \(2, 1, 3\)"):
            metric(field[..., :3], field)
        with pytest.raises(ValueError, match=r"^expected at least one axis of space, got 0 of 3 axes"):
            metric(field, field, space=0)
        with pytest.raises(ValueError, match=r"^expected at least one axis of space, got 0 of 2 axes"):
            metric(field[0], field[0])
    with pytest.raises(ValueError, match=r"^expected the name of a metric, got 'vmrse'; try 'vrmse'"):
        METRICS.lookup("vmrse")
