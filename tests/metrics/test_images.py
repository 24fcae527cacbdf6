"""Scores of pictures: against their formulas written point by point, and against torchmetrics."""

import math

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from neuralop_irno.metrics import psnr, ssim


def fields(*shape: int) -> tuple[Tensor, Tensor]:
    """A smooth field and the same with noise, both of any sign."""
    rows, columns = (torch.linspace(0, 6, n, dtype=torch.float64) for n in shape[-2:])
    smooth = torch.sin(rows)[:, None] * torch.cos(2 * columns)
    target = smooth * torch.rand(*shape[:-2], 1, 1, dtype=torch.float64)
    return target + 0.3 * torch.randn(*shape, dtype=torch.float64), target


def test_tenfold_noise_is_twenty_decibels_less() -> None:
    noise, target = torch.randn(2, 2, 3, 8, 8, dtype=torch.float64)
    scores = psnr(target + 0.1 * noise, target)
    torch.testing.assert_close(scores - psnr(target + noise, target), torch.full((2, 3), 20.0).double())
    for place in ((0, 0), (1, 2)):
        mse = 0.01 * noise[place].square().mean().item()
        peak = target[place].max().item()
        assert scores[place].item() == pytest.approx(20 * math.log10(peak / math.sqrt(mse)))
    assert psnr(target, target).isposinf().all()


def slowly(prediction: Tensor, target: Tensor) -> float:
    """SSIM of one picture, by its formula, a point after the other."""
    width = max((f.max() - f.min()).item() for f in (prediction, target))
    light, contrast = (0.01 * width) ** 2, (0.03 * width) ** 2
    bell = [math.exp(-0.5 * (i / 1.5) ** 2) for i in range(-5, 6)]
    weights = torch.tensor([[a * b for a in bell] for b in bell], dtype=torch.float64)
    weights /= weights.sum()
    height, breadth = target.shape

    def around(field: Tensor, row: int, column: int) -> Tensor:
        """11 x 11 points; those beyond an edge are those as far on this side of it."""

        def mirrored(place: int, n: int) -> int:
            return abs(place) if place < n else 2 * (n - 1) - place

        rows = [mirrored(row + i, height) for i in range(-5, 6)]
        columns = [mirrored(column + i, breadth) for i in range(-5, 6)]
        return field[rows][:, columns]

    total = 0.0
    for row in range(height):
        for column in range(breadth):
            p, t = around(prediction, row, column), around(target, row, column)
            mean_p, mean_t = ((weights * f).sum() for f in (p, t))
            var_p, var_t = (weights * (p - mean_p) ** 2).sum(), (weights * (t - mean_t) ** 2).sum()
            both = (weights * (p - mean_p) * (t - mean_t)).sum()
            alike = (2 * mean_p * mean_t + light) * (2 * both + contrast)
            total += float(alike / ((mean_p**2 + mean_t**2 + light) * (var_p + var_t + contrast)))
    return total / (height * breadth)


def test_similarity_is_its_formula() -> None:
    prediction, target = fields(2, 2, 13, 9)
    scores = ssim(prediction, target)
    for place in ((0, 0), (1, 1)):
        assert scores[place].item() == pytest.approx(slowly(prediction[place], target[place]), rel=1e-9)


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (2, 3, 24, 33), (3, 1, 6, 40)])
def test_similarity_of_each_field_is_that_of_torchmetrics(shape: tuple[int, ...]) -> None:
    prediction, target = fields(*shape)
    scores = ssim(prediction, target)
    assert scores.shape == shape[:2]
    for sample in range(shape[0]):
        for field in range(shape[1]):
            one = [f[sample, field][None, None] for f in (prediction, target)]
            torch.testing.assert_close(scores[sample, field], structural_similarity_index_measure(*one))


def test_similarity_knows_no_units_but_an_origin() -> None:
    prediction, target = fields(2, 2, 16, 16)
    torch.testing.assert_close(ssim(50 * prediction, 50 * target), ssim(prediction, target))
    torch.testing.assert_close(ssim(target, prediction), ssim(prediction, target))
    assert (ssim(prediction + 100, target + 100) - ssim(prediction, target)).abs().max() > 0.01


def test_a_picture_that_blew_up_spoils_its_own_score_only() -> None:
    prediction, target = fields(2, 2, 16, 16)
    prediction[1, 0, 3, 3] = float("nan")
    for metric in (ssim, psnr):
        assert metric(prediction, target).isfinite().tolist() == [[True, True], [False, True]]


def test_fields_that_are_no_pictures_teach() -> None:
    with pytest.raises(
        ValueError, match=r"^expected fields \(B, C, H, W\) of more than 5 points a side, got"
    ):
        ssim(torch.zeros(1, 1, 5, 9), torch.zeros(1, 1, 5, 9))
    with pytest.raises(
        ValueError, match=r"^expected a prediction of shape \(1, 1, 9, 9\), got \(1, 1, 9, 8\)"
    ):
        ssim(torch.zeros(1, 1, 9, 8), torch.zeros(1, 1, 9, 9))
