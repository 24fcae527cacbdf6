"""What a run reports of other resolutions, on its own data brought there."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

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
        nn.init.normal_(weight, std=0.1)
    found = at_resolutions(model.double(), field(9), (1, 2, 4), relative_l2)
    first = found.rows[0]
    assert found.samples == 3
    assert [row.base for row in found.rows] == pytest.approx([first.base] * 3)
    assert [row.refined for row in found.rows] == pytest.approx([first.refined] * 3)
    assert model.resolution == known
    assert "2 x" in str(found)


def test_points_are_refused_by_name() -> None:
    data = [{"x": torch.zeros(4), "y": torch.zeros(4)}]
    with pytest.raises(ValueError, match="expected fields on a grid, got fields on points"):
        ResampledPairs(data, 2, Resolution())


def test_a_base_of_a_fixed_size_gets_a_row_that_says_so() -> None:
    base = nn.Sequential(nn.Flatten(1), nn.Linear(9, 9), nn.Unflatten(1, (1, 9))).double()
    phi = {"name": "unet", "dim": 1, "width": 2, "depth": 1}
    model = IterativeRefiner(base, phi, in_channels=1, out_channels=1).double()
    found = at_resolutions(model, field(9), (1, 2))
    assert found.rows[0].base is not None
    assert found.rows[1].base is None
    assert "2 x  not taken by this model: mat1 and mat2 shapes" in str(found)


def test_whole_numbers_are_interpolated_as_numbers() -> None:
    data = [{"x": torch.tensor([[0, 4]]), "y": torch.tensor([[0.0, 4.0]])}]
    finer = ResampledPairs(data, 2, Resolution(pair="points"), [True])[0]
    assert finer["x"].tolist() == finer["y"].tolist() == [[0.0, 2.0, 4.0, 2.0]]


def test_the_measure_of_cells_goes_along() -> None:
    data = [{"x": torch.ones(1, 4, 6), "y": torch.ones(1, 4, 6), "measure": torch.arange(4.0)[:, None]}]
    finer = ResampledPairs(data, 2, Resolution(), [False, True])[0]
    assert finer["measure"].shape == (8, 1)
    assert finer["measure"][[0, -1]].flatten().tolist() == [0.0, 3.0]
