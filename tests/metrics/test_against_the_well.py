"""Our VRMSE and bins against The Well's own code; runs where the-well is installed."""

import sys
from types import ModuleType
from typing import Any

import pytest
import torch

from neuralop_irno.metrics import spectral_errors, vrmse

SHAPES = [(16,), (54,), (4, 4), (9, 8), (32, 32), (256, 256), (128, 384), (8, 10, 12)]


@pytest.fixture
def the_well(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Its metrics, without its models, which want other packages."""
    pytest.importorskip("the_well", reason="the-well is not installed")
    models = ModuleType("the_well.benchmark.models")
    models.__path__ = []
    monkeypatch.setitem(sys.modules, models.__name__, models)
    from the_well.benchmark import metrics

    return metrics


def described(shape: tuple[int, ...]) -> Any:
    from the_well.data.datasets import WellMetadata

    return WellMetadata(
        dataset_name="", n_spatial_dims=len(shape), grid_type="cartesian", spatial_resolution=shape,
        scalar_names=[], constant_scalar_names=[], field_names={}, constant_field_names={},
        boundary_condition_types=[], n_files=1, n_trajectories_per_file=[1], n_steps_per_trajectory=[1],
    )  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_scores_are_the_same(shape: tuple[int, ...], the_well: Any) -> None:
    prediction, target = torch.randn(2, 2, 3, *shape)
    last = [field.movedim(1, -1) for field in (prediction, target)]  # The Well has channels last
    meta = described(shape)
    torch.testing.assert_close(vrmse(prediction, target), the_well.VRMSE.eval(*last, meta))
    found = the_well.binned_spectral_mse.eval(*last, meta)
    for relative, word in ((False, "mse"), (True, "nmse")):
        bins = torch.stack([found[f"spectral_error_{word}_per_bin_{place}"] for place in range(3)], -1)
        ours = spectral_errors(prediction, target, relative=relative)
        torch.testing.assert_close(ours, bins, rtol=2e-5, atol=0)


def test_the_published_axes_are_what_its_metric_makes_of_channels_first(the_well: Any) -> None:
    prediction, target = torch.randn(2, 2, 3, 8, 10)
    reference = the_well.VRMSE.eval(prediction, target, described((8, 10)))
    torch.testing.assert_close(vrmse(prediction, target, reference_axes=True), reference)
