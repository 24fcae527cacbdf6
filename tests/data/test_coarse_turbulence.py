"""Super-resolution without a download: what is left out, and how a refiner gets it back."""

import pytest
import torch

from neuralop_irno import IterativeRefiner
from neuralop_irno._neuralop import build_model
from neuralop_irno.data.solvers.coarse_turbulence import coarse_turbulence

SMALL = {"trajectories": (2, 1, 1), "frames": 3, "size": 16, "resolution": 16, "stride": 1}


def test_x_is_the_mean_over_squares_of_y() -> None:
    splits = coarse_turbulence(**SMALL, factor=4)
    assert sorted(splits) == ["test", "train", "valid"]
    assert len(splits["train"]) == 2 * 2  # the first frame of a flow is nobody's y
    for data in splits.values():
        assert data.y.shape[1:] == (1, 16, 16)
        means = data.y.unflatten(-1, (4, 4)).mean(-1).unflatten(-2, (4, 4)).mean(-2)
        assert torch.allclose(data.x, means, atol=1e-6)
    assert not torch.equal(splits["valid"].y[0], splits["test"].y[0])


def test_a_correction_sees_the_squares_where_they_are() -> None:
    """A wave is carried to the fine grid in phase: a correction does not have to shift it back."""
    base = build_model({"model_arch": "wdsr", "factor": 4, "width": 4, "blocks": 1}, 1, 1)
    model = IterativeRefiner(base, {"name": "unet", "width": 4, "depth": 2}, steps=2).eval()
    points = torch.arange(64) + 0.5
    wave = torch.cos(2 * torch.pi * points / 64).expand(1, 1, 64, 64)
    x = torch.nn.functional.avg_pool2d(wave, 4)
    carried = model.problem((x,), {}).x
    inside = slice(8, -8)  # interpolation does not know that the square is closed
    assert torch.allclose(carried[..., inside], wave[..., inside], atol=0.02)
    assert torch.equal(model(x), base(x))


def test_a_factor_that_leaves_points_over() -> None:
    with pytest.raises(ValueError, match="expected a factor that divides 16 points, got 3; try factor=4"):
        coarse_turbulence(**SMALL, factor=3)
