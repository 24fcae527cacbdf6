"""The bases of the paper's tables: published sizes, what they are by construction, and refined by name."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner, UNet
from neuralop_irno._neuralop import build_model
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.domain.grid import resample
from neuralop_irno.models import WDSR, DeepONet, HighFrequencyScaling, ResUNetHFS, SuperResolutionFNO
from neuralop_irno.models.baselines.well import well_fno, well_tfno
from neuralop_irno.recipe import Recipe
from neuralop_irno.registry import CORRECTIONS
from neuralop_irno.training.trainer import Trainer

SMALL: dict[str, dict[str, Any]] = {
    "deeponet": {"sensors": 4, "functions": 4, "width": 8, "depth": 1},
    "multionet": {"sensors": 4, "functions": 4, "depth": 2},
    "lsm": {"width": 4, "levels": 2, "tokens": 2, "basis": 2, "heads": 2},
    "mgno": {"width": 4, "layers": 2, "levels": 1},
    "resunet_hfs": {"features": [4, 4], "bottleneck": 4},
    "well_fno": {"modes": 4, "width": 4},
    "well_tfno": {"modes": 4, "width": 4},
    "wdsr": {"factor": 2, "width": 4, "blocks": 1},
    "fno2d_sr": {"factor": 2, "modes": 3, "width": 4, "layers": 2},
    "hinote": {"factor": 2, "features": 4, "width": 4, "heads": 2},
}
FINER = ("wdsr", "fno2d_sr", "hinote")


def built(name: str) -> nn.Module:
    return build_model({"model_arch": name, **SMALL[name]}, 2, 2).eval()


def numbers(model: nn.Module) -> int:
    """Real numbers among the parameters: a complex one is two."""
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in model.parameters())


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_the_published_numbers_of_parameters() -> None:
    assert count(WDSR(3, 3, factor=8)) == 1_404_256
    assert count(WDSR(3, 3, factor=16)) == 1_615_648
    assert count(SuperResolutionFNO(3, 3)) == 4_752_259
    assert count(UNet(44, 11, width=16, depth=4)) == 2_169_307  # x and h joined are 55 channels
    assert count(UNet(16, 4, width=16, depth=4)) == 2_164_148
    assert count(UNet(3, 3, width=16, depth=4)) == 2_162_115


def test_the_wells_fno_is_as_large_as_published_and_its_tfno_a_little_larger() -> None:
    assert numbers(well_fno(44, 11)) == 19_020_683
    assert numbers(well_tfno(44, 11)) == 19_285_523


@pytest.mark.parametrize("name", list(SMALL))
def test_each_answers_by_name_learns_in_every_weight_and_keeps_samples_apart(name: str) -> None:
    model = built(name)
    x = torch.randn(3, 2, 8, 12)
    answer = model(x)
    assert answer.shape == (3, 2, *([16, 24] if name in FINER else [8, 12]))
    torch.testing.assert_close(model(x[1:2]), answer[1:2], rtol=1e-4, atol=1e-5)
    answer.square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


@pytest.mark.parametrize("name", list(SMALL))
def test_each_is_refined_by_name(name: str) -> None:
    words = {"model_arch": name, **SMALL[name]}
    unet = {"name": "unet", "width": 4, "depth": 1}
    model = IterativeRefiner(words, unet, steps=2, alpha=0.5, in_channels=2, out_channels=2).eval()
    x = torch.randn(2, 2, 8, 12)
    assert torch.equal(model(x), model.base(x))
    nn.init.normal_(model.correction.last.weight)
    assert not torch.equal(model(x), model.base(x))


def test_what_answers_on_a_finer_grid_is_no_correction() -> None:
    assert not set(FINER) & set(CORRECTIONS.names())
    assert set(SMALL) - set(FINER) <= set(CORRECTIONS.names())


@pytest.mark.parametrize("shift", [(1, 0), (3, 5)])
def test_wdsr_wraps_around_so_that_a_shift_by_a_cell_is_one_by_factor_cells(shift: tuple[int, int]) -> None:
    model = built("wdsr")
    x = torch.randn(1, 2, 9, 7)
    moved = model(x).roll([2 * cells for cells in shift], (2, 3))
    torch.testing.assert_close(model(x.roll(shift, (2, 3))), moved, rtol=1e-4, atol=1e-5)


def test_the_spectral_layers_pass_low_frequencies_alone_and_grids_may_be_small() -> None:
    model = SuperResolutionFNO(1, 1, factor=1, modes=3, width=4, layers=1)
    layer = model.spectral[0]
    cell = torch.arange(16.0)

    def wave(k: int, axis: int) -> Tensor:
        field = torch.cos(2 * math.pi * k * cell / 16)
        return (field[:, None] if axis == 0 else field[None]).expand(1, 4, 16, 16)

    for axis in (0, 1):
        assert layer(wave(2, axis)).abs().max() > 1e-3
        assert layer(wave(5, axis)).abs().max() < 1e-6
    assert layer(torch.randn(1, 4, 3, 2)).shape == (1, 4, 3, 2)


@pytest.mark.parametrize("shape", [(12,), (8, 12), (4, 8, 4)])
@pytest.mark.parametrize("patch", [1, 2, 4])
def test_high_frequency_scaling_is_the_identity_at_zero_and_scales_two_parts(
    shape: tuple[int, ...], patch: int
) -> None:
    scaling = HighFrequencyScaling(3, patch)
    x = torch.randn(2, 3, *shape)
    torch.testing.assert_close(scaling(x), 2 * x)  # as published, both start at one
    nn.init.zeros_(scaling.low)
    nn.init.zeros_(scaling.high)
    assert torch.equal(scaling(x), x)
    with torch.no_grad():
        scaling.low.fill_(-1)
    rest = scaling(x)
    # Without what patches share, the patches of the answer sum to nothing.
    for axis in range(2, x.dim()):
        rest = rest.unflatten(axis, (-1, patch)).sum(axis, keepdim=True).flatten(axis, axis + 1)
    torch.testing.assert_close(rest, torch.zeros_like(rest), rtol=0, atol=1e-5)


def test_with_patches_of_one_cell_what_they_share_is_the_mean() -> None:
    scaling = HighFrequencyScaling(3, 1)
    nn.init.zeros_(scaling.high)
    x = torch.randn(2, 3, 5, 7)
    torch.testing.assert_close(scaling(x), x + x.mean((2, 3), keepdim=True))


def test_patches_with_the_same_content_are_all_shared() -> None:
    scaling = HighFrequencyScaling(1, 3)
    with torch.no_grad():
        scaling.high.fill_(100.0)
    x = torch.randn(1, 1, 3, 3).repeat(1, 1, 2, 4)
    torch.testing.assert_close(scaling(x), 2 * x)


def test_a_resunet_with_scales_of_zero_is_a_plain_one_and_another_with_others() -> None:
    model = built("resunet_hfs")
    x = torch.randn(2, 2, 8, 12)
    scalings = [part for part in model.modules() if isinstance(part, HighFrequencyScaling)]
    assert [part.patch for part in scalings] == [2, 1, 1, 2, 1]  # down, bottleneck, decoders from the finest
    for scaling in scalings:
        nn.init.zeros_(scaling.low)
        nn.init.zeros_(scaling.high)
    words = {"model_arch": "resunet_hfs", **SMALL["resunet_hfs"], "scaling": False}
    plain = build_model(words, 2, 2).eval()
    scales = {id(scale) for scaling in scalings for scale in scaling.parameters()}
    weights = [weight for weight in model.parameters() if id(weight) not in scales]
    for own, other in zip(plain.parameters(), weights, strict=True):
        own.data = other.data
    assert torch.equal(model(x), plain(x))


def test_refining_a_resunet_with_high_frequency_scaling_lowers_its_error() -> None:
    x = torch.randn(32, 1, 8, 8)
    truth = x - x.roll(1, -1)
    data = FieldDataset(x, truth)
    base = ResUNetHFS(1, 1, features=(8, 8), bottleneck=8, padding="circular")
    Trainer(base, Recipe(epochs=2), show=False).fit(data)
    model = IterativeRefiner(base, {"name": "unet", "width": 8, "depth": 1}, steps=3, alpha=1.0)
    Trainer(model, Recipe(epochs=20, batch_size=8), show=False).fit(data)
    with torch.no_grad():
        errors = [F.mse_loss(answer, truth).item() for answer in model.eval().iterates(x)]
    assert errors[3] < 0.4 * errors[0]


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_deeponet_is_one_function_whatever_grid_it_is_asked_on(dim: int, periodic: bool) -> None:
    model = DeepONet(1, 2, dim, sensors=4, functions=8, width=16, depth=2, periodic=periodic).double()
    sensed = torch.randn(2, 1, *[4] * dim).double()
    coarse, fine = (8, 16) if periodic else (7, 13)  # grids that hold the sensors' points
    open_or_closed = [periodic] * dim
    answers = [model(resample(sensed, [n] * dim, open_or_closed)) for n in (coarse, fine)]
    every_second = answers[1][(..., *[slice(None, None, 2)] * dim)]
    torch.testing.assert_close(every_second, answers[0], rtol=0, atol=1e-12)


def test_deeponets_answer_is_a_sum_of_its_functions() -> None:
    """With p functions no more than p answers are independent, however many the inputs are."""
    model = DeepONet(1, 1, sensors=4, functions=3, width=16).double()
    answers = model(torch.randn(20, 1, 8, 8).double()).flatten(1)
    assert torch.linalg.matrix_rank(answers - answers[0]) <= 3


def test_sizes_that_do_not_fit_teach() -> None:
    cases = {
        r"^expected factor >= 1, got 0; try factor=8": lambda: WDSR(1, 1, factor=0),
        r"^expected factor >= 1, got -1; try": lambda: SuperResolutionFNO(1, 1, factor=-1),
        r"^expected patch >= 1, got 0; try patch=1": lambda: HighFrequencyScaling(1, 0),
        r"^expected sizes that patches of 4 divide, got \(8, 6\); try a patch that divides them": lambda: (
            HighFrequencyScaling(1, 4)(torch.zeros(1, 1, 8, 6))
        ),
        r"^expected sizes that 4 divides, got \(8, 6\); try fewer levels": lambda: built("resunet_hfs")(
            torch.zeros(1, 2, 8, 6)
        ),
        r"^expected a padding mode, got 'zeros'; try 'zero'": lambda: ResUNetHFS(1, 1, padding="zeros"),
        r"^expected features of at least one level, got \[\]; try": lambda: ResUNetHFS(1, 1, features=[]),
        r"^expected dim to be 1, 2 or 3, got 4; try dim=2": lambda: DeepONet(1, 1, dim=4),
    }
    for message, mistake in cases.items():
        with pytest.raises(ValueError, match=message):
            mistake()
