"""A base from coarse to fine is refined on the fine grid, where x lies as bicubic interpolation lays it."""

from typing import Any

import pytest
import torch
from torch import nn

from neuralop_irno import IterativeRefiner
from neuralop_irno._neuralop import build_model
from neuralop_irno.base.operator import BaseOperator, SuperResolution
from neuralop_irno.data.readers.superbench import coarse, fine

FACTOR = 4
MODELS: dict[str, dict[str, Any]] = {
    "wdsr": {"width": 4, "blocks": 1},
    "fno2d_sr": {"modes": 2, "width": 4, "layers": 1},
    "hinote": {"features": 4, "width": 4, "heads": 2},
}
UNET = {"name": "unet", "width": 4, "depth": 1, "padding": "replicate"}


@pytest.mark.parametrize("name", list(MODELS))
def test_the_base_gets_x_as_it_is_and_the_correction_gets_the_bicubic_baseline(name: str) -> None:
    model = build_model({"model_arch": name, "factor": FACTOR, **MODELS[name]}, 3, 3)
    refiner = IterativeRefiner(model, UNET).eval()
    x = torch.randn(2, 3, 6, 7)
    problem = refiner.problem((x,), {})
    assert torch.equal(problem.start, model(x))
    assert torch.equal(problem.x, torch.stack([fine(image, FACTOR) for image in x]))
    assert torch.equal(refiner(x), model(x))


def what_the_correction_sees(kind: type[BaseOperator], x: torch.Tensor) -> torch.Tensor:
    return kind(nn.Upsample(scale_factor=FACTOR)).problem((x,), {}).x


@pytest.mark.parametrize(("kind", "sees_the_edges"), [(SuperResolution, False), (BaseOperator, True)])
def test_on_a_crop_it_sees_what_it_sees_on_the_whole_field(
    kind: type[BaseOperator], sees_the_edges: bool
) -> None:
    whole = torch.randn(1, 3, 16, 20)
    crop = whole[..., 4:12, 6:18]
    there = what_the_correction_sees(kind, whole)[..., 4 * FACTOR : 12 * FACTOR, 6 * FACTOR : 18 * FACTOR]
    here = what_the_correction_sees(kind, crop)
    inside = (..., *[slice(2 * FACTOR, -2 * FACTOR)] * 2)  # bicubic interpolation reaches two coarse points
    assert torch.allclose(here[inside], there[inside], atol=1e-6) is not sees_the_edges


def test_a_coarse_point_lies_in_the_middle_of_what_it_was_made_of() -> None:
    slope = torch.arange(64.0).expand(1, 64, 64)
    seen = what_the_correction_sees(SuperResolution, coarse(slope, FACTOR)[None])[0]
    # Torch's kernel bends a plane, by up to a twentieth of a coarse point.
    torch.testing.assert_close(seen[..., 16:-16], slope[..., 16:-16], atol=0.05 * FACTOR, rtol=0)


def test_the_correction_is_trained_on_the_fine_grid() -> None:
    model = build_model({"model_arch": "wdsr", "factor": FACTOR, **MODELS["wdsr"]}, 1, 2)
    refiner = IterativeRefiner(model, UNET, steps=2).train()
    trajectory = refiner(torch.randn(3, 1, 5, 4), y=torch.randn(3, 2, 20, 16))
    assert trajectory.last.shape == (3, 2, 20, 16)
