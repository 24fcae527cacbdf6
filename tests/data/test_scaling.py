"""Units of fields: there and back, for one frame and for several, in any dimension and precision."""

import pytest
import torch

from neuralop_irno.data.scaling import Scaling

SCALING = Scaling((1.0, -2.0, 0.5), (2.0, 0.1, 30.0))


@pytest.mark.parametrize("grid", [(9,), (4, 5), (3, 4, 2)])
@pytest.mark.parametrize("frames", [1, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_field_of_every_frame_has_its_own_units(
    grid: tuple[int, ...], frames: int, dtype: torch.dtype
) -> None:
    fields = torch.randn(2, 3 * frames, *grid, dtype=dtype)
    scaled = SCALING.apply(fields)
    assert scaled.dtype == dtype
    for channel in range(3 * frames):
        mean, std = SCALING.mean[channel % 3], SCALING.std[channel % 3]
        torch.testing.assert_close(scaled[:, channel], (fields[:, channel] - mean) / std)
    torch.testing.assert_close(SCALING.undo(scaled), fields)
    torch.testing.assert_close(Scaling.none(3).apply(fields), fields)


def test_what_does_not_fit_teaches() -> None:
    with pytest.raises(ValueError, match=r"^expected a multiple of 3 channels, got a field \(2, 4, 9\); try"):
        SCALING.undo(torch.zeros(2, 4, 9))
    for mean, std in (((0.0,), (1.0, 1.0)), ((0.0,), (0.0,)), ((0.0,), (float("nan"),))):
        with pytest.raises(
            ValueError, match=r"^expected one finite mean and std > 0 for each field, got mean \[0"
        ):
            Scaling(mean, std)
