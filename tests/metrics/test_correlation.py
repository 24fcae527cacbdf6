"""The anomaly correlation against Pearson's, and with what weather centres add to it."""

import math

import pytest
import torch
from torch import Tensor

from neuralop_irno.metrics import acc, latitude_weights


def pair(*shape: int) -> tuple[Tensor, Tensor]:
    prediction, target = torch.randn(2, *shape, dtype=torch.float64)
    return prediction, target


def test_the_anomaly_correlation_is_pearsons_and_knows_neither_offset_nor_factor() -> None:
    prediction, target = pair(2, 3, 6, 5)
    found = acc(prediction, target)
    for place in ((0, 0), (1, 2)):
        by_torch = torch.corrcoef(torch.stack([f[place].flatten() for f in (prediction, target)]))[0, 1]
        torch.testing.assert_close(found[place], by_torch)
    torch.testing.assert_close(acc(3 * prediction + 2, target), found)
    torch.testing.assert_close(acc(-prediction, target), -found)


def test_a_given_climate_is_taken_off_both() -> None:
    prediction, target = pair(4, 2, 6, 5)
    climate = torch.randn(2, 6, 5, dtype=torch.float64)
    found = acc(prediction, target, climatology=climate, centred=False)
    torch.testing.assert_close(found, acc(prediction - climate, target - climate, centred=False))
    torch.testing.assert_close(
        acc(prediction + climate, target + climate, climatology=climate), acc(prediction, target)
    )
    a, b = (prediction - climate)[1, 0], (target - climate)[1, 0]
    torch.testing.assert_close(found[1, 0], (a * b).sum() / math.sqrt(a.square().sum() * b.square().sum()))


def test_superbenchs_curve() -> None:
    prediction, target = (5 + field for field in pair(7, 3, 6, 5))
    found = acc(prediction, target, climatology="samples", centred=False, channel=0)
    assert found.shape == (7,)
    for sample in range(7):
        a = prediction[sample, 0] - prediction[:, 0].mean(0)  # each for itself
        b = target[sample, 0] - target[:, 0].mean(0)
        expected = (a * b).sum() / (a.square().sum() * b.square().sum()).sqrt()
        torch.testing.assert_close(found[sample], expected)
    per_sample = (
        prediction + torch.randn(3, 6, 5).double()
    )  # a fixed bias is nothing to a climate of one's own
    torch.testing.assert_close(
        acc(per_sample, target, climatology="samples", centred=False, channel=0), found
    )


def test_one_channel_is_that_column_of_all() -> None:
    prediction, target = pair(2, 4, 3, 6, 5)  # sample, time, field, space
    every = acc(prediction, target, space=2)
    torch.testing.assert_close(acc(prediction, target, space=2, channel=1), every[:, :, 1])
    climate = torch.randn(3, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(
        acc(prediction, target, 2, climatology=climate, channel=2),
        acc(prediction, target, 2, climatology=climate)[:, :, 2],
    )


def test_a_row_of_weight_two_counts_like_two_rows() -> None:
    prediction, target = pair(2, 1, 3, 5)
    weights = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)[:, None]
    twice = [field[:, :, [0, 1, 1, 2]] for field in (prediction, target)]
    for centred in (True, False):
        torch.testing.assert_close(
            acc(prediction, target, weights=weights, centred=centred), acc(*twice, centred=centred)
        )
    torch.testing.assert_close(acc(prediction, target, weights=7 * weights), acc(*twice))


def test_rows_weigh_what_they_cover_of_the_globe() -> None:
    degrees = 90 - 180 / 720 * (torch.arange(720, dtype=torch.float64) + 0.5)
    weights = latitude_weights(degrees)[:, 0]
    assert weights.mean().item() == pytest.approx(1)
    edges = torch.deg2rad(90 - 180 / 720 * torch.arange(721, dtype=torch.float64)).sin()
    area = edges[:-1] - edges[1:]  # of each zone of the sphere
    torch.testing.assert_close(weights, area / area.mean())


def test_options_that_do_not_fit_teach() -> None:
    field = torch.zeros(2, 1, 4)
    with pytest.raises(ValueError, match=r"^expected a climatology, got 'sample'; try a field, or 'samples'"):
        acc(field, field, climatology="sample")
    with pytest.raises(
        ValueError, match=r"^expected latitudes \(H,\) from -90 to 90 degrees, got \(2,\) up to 9"
    ):
        latitude_weights(torch.tensor([0.0, 95.0]))
    with pytest.raises(ValueError, match=r"^expected a prediction of shape \(2, 1, 4\), got \(2, 1, 3\)"):
        acc(field[..., 1:], field)
