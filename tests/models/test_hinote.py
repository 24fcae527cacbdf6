"""HiNOTE's interpolations are exact where they should be, and its answer has any shape."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from neuralop_irno.models import HiNOTE
from neuralop_irno.models.baselines.hinote import fourier_resize, sample_corners, without_aliases

SIZES = [(4, 9), (5, 10), (6, 8), (7, 7), (8, 16), (3, 5)]


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_resizing_is_exact_on_every_wave_that_both_grids_hold(old: int, new: int) -> None:
    def wave(k: int, n: int) -> torch.Tensor:
        return torch.cos(2 * math.pi * k * torch.arange(n).double() / n + 0.3)[None, None]

    for k in range((old - 1) // 2 + 1):
        torch.testing.assert_close(fourier_resize(wave(k, old), [new]), wave(k, new))
        torch.testing.assert_close(fourier_resize(wave(k, new), [old]), wave(k, old))
    for k in range(old // 2 + 1, (new - 1) // 2 + 1):  # and passes none of the others
        gone = fourier_resize(wave(k, new), [old])
        torch.testing.assert_close(gone, torch.zeros_like(gone), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_up_and_down_again_is_the_identity(old: int, new: int) -> None:
    field = torch.randn(2, 3, old, old, dtype=torch.float64)
    up = fourier_resize(field, [new, 2 * old])
    torch.testing.assert_close(fourier_resize(up, [old, old]), field)
    doubled = fourier_resize(field, [2 * old, 2 * old])
    torch.testing.assert_close(doubled[..., ::2, ::2], field)


def test_the_activation_nearly_commutes_with_shifts_of_which_a_grid_knows_nothing() -> None:
    """A shift by half a cell, which only a map that makes no aliases keeps."""
    field = fourier_resize(torch.randn(4, 1, 7, 7, dtype=torch.float64), [16, 16])

    def shifted(field: torch.Tensor) -> torch.Tensor:
        return fourier_resize(fourier_resize(field, [32, 32]).roll(1, -1), [16, 16])

    def broken(activation: object) -> float:
        gap = activation(shifted(field)) - shifted(activation(field))  # type: ignore[operator]
        return gap.abs().max().item()

    assert broken(without_aliases) < 0.5 * broken(F.gelu)


@pytest.mark.parametrize("shape", [(6, 5), (12, 10), (9, 17), (3, 2)])
def test_the_four_corners_sum_to_the_bilinear_interpolation(shape: tuple[int, int]) -> None:
    features = torch.randn(2, 3, 6, 5, dtype=torch.float64)
    sampled = sample_corners(features, shape)
    assert sampled.shape == (2, 4 * 3 + 10, *shape)
    corners, ways = zip(*[sampled[:, 5 * i : 5 * i + 5].split([3, 2], 1) for i in range(4)], strict=True)
    wanted = F.interpolate(features, size=shape, mode="bilinear", align_corners=False)
    torch.testing.assert_close(sum(corners), wanted)
    # From one corner to the next it is one cell, and the way to each is no longer than that.
    torch.testing.assert_close(ways[3] - ways[0], torch.ones_like(ways[0]))
    assert max(way.abs().max().item() for way in ways) <= 1
    assert sampled[0, -2:, 0, 0].tolist() == pytest.approx([6 / shape[0], 5 / shape[1]])


def test_one_model_answers_on_any_grid_and_adds_to_an_interpolation() -> None:
    model = HiNOTE(2, 2, factor=4, features=4, width=8, heads=2)
    x = torch.randn(2, 2, 5, 6)
    for shape in [(20, 24), (7, 31), (5, 6)]:
        assert model(x, shape=shape).shape == (2, 2, *shape)
    nn.init.zeros_(model.project[2].weight)
    nn.init.zeros_(model.project[2].bias)
    plain = F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)
    torch.testing.assert_close(model(x), plain)


def test_attention_sees_the_whole_plane() -> None:
    model = HiNOTE(1, 1, factor=2, features=4, width=8, heads=2, levels=1)
    x = torch.randn(1, 1, 24, 24, requires_grad=True)
    (seen,) = torch.autograd.grad(model(x)[0, 0, 0, 0], x)
    assert (seen != 0).all()


def test_options_that_do_not_fit_teach() -> None:
    cases = {
        r"^expected out_channels=2, like x, got 1; try": lambda: HiNOTE(2, 1),
        r"^expected a width that heads divide, got 8 and 3; try heads=4": lambda: HiNOTE(
            1, 1, width=8, heads=3
        ),
        r"^expected levels >= 1, got 0; try levels=2": lambda: HiNOTE(1, 1, levels=0),
    }
    for message, mistake in cases.items():
        with pytest.raises(ValueError, match=message):
            mistake()
