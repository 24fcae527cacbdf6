"""Errors by scale: they sum to the mean square error, and a wave is in the bin of its length."""

import math

import pytest
import torch

from neuralop_irno.metrics import rmse, spectral_errors


@pytest.mark.parametrize("shape", [(16,), (9, 8), (7, 7), (5, 4, 7)])
def test_the_bins_hold_the_whole_error(shape: tuple[int, ...]) -> None:
    prediction, target = torch.randn(2, 2, 3, *shape, dtype=torch.float64)
    errors = spectral_errors(prediction, target)
    assert errors.shape == (2, 3, 3)
    assert (errors > 0).all()
    torch.testing.assert_close(errors.sum(-1), rmse(prediction, target).square())
    energy = spectral_errors(torch.zeros_like(target), target)
    relative = spectral_errors(prediction, target, relative=True)
    torch.testing.assert_close(relative, errors / (energy + 1e-7))
    torch.testing.assert_close(
        spectral_errors(prediction[:, 0], target[:, 0], space=len(shape)), errors[:, 0]
    )


@pytest.mark.parametrize("grid", [(64,), (30, 64), (63, 64)])
def test_a_wave_is_in_the_bin_of_its_length(grid: tuple[int, ...]) -> None:
    n, dim = grid[-1], len(grid)
    zero = torch.zeros(1, 1, *grid, dtype=torch.float64)
    low, high = 2 * math.pi / n, math.pi * math.sqrt(dim) + 1e-6
    ends = [low * (high / low) ** (i / 3) for i in (1, 2)]
    for wavenumber in (0, 1, 2, 3, 5, 8, 13, 20, 30):
        k = 2 * math.pi * wavenumber / n
        wave = zero + torch.cos(k * torch.arange(n, dtype=torch.float64))
        errors = spectral_errors(wave, zero)[0, 0]
        assert errors.argmax().item() == sum(k >= end for end in ends)
        assert errors.max().item() == pytest.approx(1.0 if wavenumber == 0 else 0.5)
        assert errors.sum().item() == pytest.approx(errors.max().item())


def test_the_corner_of_the_spectrum_is_in_the_last_bin() -> None:
    signs = (-1.0) ** torch.arange(8, dtype=torch.float64)
    board = (signs[:, None] * signs)[None, None]
    errors = spectral_errors(board, 0 * board)[0, 0]
    torch.testing.assert_close(errors, torch.tensor([0.0, 0.0, 1.0]).double())


def test_waves_on_the_end_of_a_bin_are_where_the_well_has_them() -> None:
    for n, wavenumber, expected in (
        (32, 2, 1),
        (256, 4, 1),
    ):  # along both axes; found with The Well's own code
        x = wavenumber * 2 * math.pi / n * torch.arange(n, dtype=torch.float64)
        wave = torch.cos(x[:, None] + x)[None, None]
        assert spectral_errors(wave, 0 * wave)[0, 0].argmax().item() == expected


def test_a_sample_that_blew_up_stays() -> None:
    prediction = torch.zeros(2, 1, 8)
    prediction[1, 0, 2] = float("nan")
    assert spectral_errors(prediction, torch.ones(2, 1, 8)).isfinite().all((1, 2)).tolist() == [True, False]
