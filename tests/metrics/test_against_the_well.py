"""Our VRMSE and bins against The Well's own code.

The comparison itself runs where the-well is installed. What its version 1.2.0 gave for fields from a seed is
recorded, and ours is held against that everywhere.
"""

import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from neuralop_irno.metrics import spectral_errors, vrmse

RECORDED: dict[tuple[int, ...], tuple[float, ...]] = {
    (16,): (0.836768, 0.0182465, 0.0125587, 0.0343787, 0.0590783, 0.49973, 0.861197),
    (54,): (1.36902, 0.0207479, 0.0562326, 0.102555, 0.0835024, 2.32258, 1.70709),
    (4, 4): (0.836768, 0.0162551, 0.0214923, 0.0274366, 0.0545619, 0.672184, 0.623428),
    (9, 8): (1.37635, 0.0323354, 0.0452846, 0.0870372, 0.125335, 1.17301, 2.43415),
    (32, 32): (1.4033, 0.00157019, 0.029767, 0.133819, 0.00627611, 2.09495, 1.96205),
    (256, 256): (1.40859, 0.000238761, 0.00779014, 0.157617, 0.000948935, 1.89596, 1.98863),
    (128, 384): (1.41281, 0.000114099, 0.00610471, 0.159869, 0.000455823, 2.07995, 1.99333),
    (8, 10, 12): (1.39598, 0.00497049, 0.0381554, 0.121595, 0.019932, 1.99649, 1.91348),
}
"""VRMSE, the three bins, and the three relative ones, of one field on each grid."""
RECORDED_FOR_THE_PUBLISHED_AXES = (1.31748, 1.45646, 1.53072, 1.5285, 1.36751)
"""VRMSE as it was published with iterative refinement, of three fields on 6 x 5 points."""


def drawn(*shape: int) -> Tensor:
    """A prediction and a target, the same ones everywhere."""
    return torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))


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


def ours(prediction: Tensor, target: Tensor) -> Tensor:
    bins = [spectral_errors(prediction, target, relative=relative) for relative in (False, True)]
    return torch.cat([vrmse(prediction, target)[..., None], *bins], -1)


def theirs(the_well: Any, prediction: Tensor, target: Tensor) -> Tensor:
    last = [field.movedim(1, -1) for field in (prediction, target)]  # The Well has channels last
    meta = described(tuple(target.shape[2:]))
    found = the_well.binned_spectral_mse.eval(*last, meta)
    bins = [found[f"spectral_error_{kind}_per_bin_{place}"] for kind in ("mse", "nmse") for place in range(3)]
    return torch.stack([the_well.VRMSE.eval(*last, meta), *bins], -1)


@pytest.mark.parametrize("shape", RECORDED)
def test_scores_are_the_same(shape: tuple[int, ...], the_well: Any) -> None:
    prediction, target = torch.randn(2, 2, 3, *shape)
    reference = theirs(the_well, prediction, target)
    torch.testing.assert_close(ours(prediction, target), reference, rtol=2e-5, atol=0)
    torch.testing.assert_close(vrmse(prediction, target), reference[..., 0])
    recorded = torch.tensor(RECORDED[shape])
    torch.testing.assert_close(theirs(the_well, *drawn(1, 1, *shape))[0, 0], recorded, rtol=1e-5, atol=0)


@pytest.mark.parametrize("shape", RECORDED)
def test_scores_are_what_their_code_gave(shape: tuple[int, ...]) -> None:
    found = ours(*drawn(1, 1, *shape))[0, 0]
    torch.testing.assert_close(found, torch.tensor(RECORDED[shape]), rtol=2e-5, atol=0)


def test_the_published_axes_are_what_its_metric_makes_of_channels_first(the_well: Any) -> None:
    prediction, target = torch.randn(2, 2, 3, 8, 10)
    reference = the_well.VRMSE.eval(prediction, target, described((8, 10)))
    torch.testing.assert_close(vrmse(prediction, target, reference_axes=True), reference)
    again = the_well.VRMSE.eval(*drawn(1, 3, 6, 5), described((6, 5)))[0]
    torch.testing.assert_close(again, torch.tensor(RECORDED_FOR_THE_PUBLISHED_AXES), rtol=1e-5, atol=0)


def test_the_published_axes_are_what_its_metric_made_of_channels_first() -> None:
    found = vrmse(*drawn(1, 3, 6, 5), reference_axes=True)[0]
    torch.testing.assert_close(found, torch.tensor(RECORDED_FOR_THE_PUBLISHED_AXES), rtol=1e-5, atol=0)
