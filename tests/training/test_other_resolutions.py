"""What a run reports of other resolutions, on its own data brought there."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from neuralop_irno import FieldDataset, IterativeRefiner, Resolution, relative_l2
from neuralop_irno.data.resampled import ResampledPairs
from neuralop_irno.training.resolutions import at_resolutions


def field(*shape: int) -> FieldDataset:
    x = torch.randn(3, 1, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return FieldDataset(x, 0.5 * x)


@pytest.mark.parametrize("factor", [2, 1.37, 4])
def test_finer_pairs_come_back_as_they_were(factor: float) -> None:
    data, known = field(8, 5), Resolution(pair=["waves", "points"])
    finer = ResampledPairs(data, factor, known, [True, False])
    back = ResampledPairs(finer, 1 / factor, known, [True, False])
    assert finer[1]["x"].shape == (1, round(8 * factor), round(5 * factor))
    if back[1]["x"].shape == data.x[1].shape:
        torch.testing.assert_close(back[1]["x"], data.x[1], atol=1e-12, rtol=0)


def test_an_axis_with_both_its_ends_keeps_them() -> None:
    data = field(9)
    finer = ResampledPairs(data, 2, Resolution(layout="ends"), [False])
    assert finer[0]["x"].shape == (1, 17)
    torch.testing.assert_close(finer[0]["x"][:, ::2], data.x[0])


def test_the_error_stays_on_finer_grids_and_the_model_as_it_was() -> None:
    def base(x: Tensor) -> Tensor:
        return 0.4 * x

    known = Resolution([9], extent="grows")
    model = IterativeRefiner(
        base, {"name": "unet", "dim": 1, "width": 2, "depth": 1}, in_channels=1, out_channels=1, steps=2,
        resolution=known,
    )  # fmt: skip
    for weight in model.correction.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    found = at_resolutions(model.double(), field(9), (1, 2, 4), relative_l2)
    assert found.base == pytest.approx([found.base[0]] * 3)
    assert found.refined == pytest.approx([found.refined[0]] * 3)
    assert model.resolution == known
    assert "2 x" in str(found)


def test_points_are_refused_by_name() -> None:
    data = [{"x": torch.zeros(4), "y": torch.zeros(4)}]
    with pytest.raises(ValueError, match="expected fields on a grid, got fields on points"):
        ResampledPairs(data, 2, Resolution())
