"""Law 11: on another grid the iterates are those of the grid of training, brought there."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner
from neuralop_irno.domain.resampling import LAYOUTS, AxisMap, GridMaps, matrices

KINDS = [
    *(("points", layout) for layout in LAYOUTS),
    *(("means", layout) for layout in LAYOUTS),
    ("waves", "periodic"),
    ("cosines", "ends"),
    ("cosines", "cells"),
]
SIZES = [(8, 4), (9, 5), (16, 4), (11, 8), (22, 16), (13, 7), (7, 7), (5, 1), (3, 2)]


@pytest.mark.parametrize(("fine", "coarse"), SIZES)
@pytest.mark.parametrize(("name", "layout"), KINDS)
def test_a_prolonged_field_is_restricted_to_itself_and_constants_stay(name, layout, fine, coarse):
    restrict, prolong = matrices(fine, coarse, AxisMap(name, layout))
    assert torch.allclose(restrict @ prolong, torch.eye(coarse).double(), atol=1e-12)
    assert torch.allclose(prolong.sum(1), torch.ones(fine).double(), atol=1e-12)
    assert torch.allclose(restrict.sum(1), torch.ones(coarse).double(), atol=1e-12)


@pytest.mark.parametrize(("name", "layout", "factor"), [
    ("points", "periodic", 3), ("points", "left", 2), ("points", "ends", 2), ("points", "cells", 3),
])  # fmt: skip
def test_points_that_both_grids_have_are_copied(name, layout, factor):
    coarse = 5
    fine = factor * (coarse - 1) + 1 if layout == "ends" else factor * coarse
    restrict, _ = matrices(fine, coarse, AxisMap(name, layout))
    field = torch.arange(fine).double()
    first = factor // 2 if layout == "cells" else 0
    assert torch.equal(restrict @ field, field[first::factor][:coarse])


def test_means_are_averages():
    restrict, _ = matrices(6, 3, AxisMap("means", "cells"))
    assert torch.allclose(restrict @ torch.arange(6).double(), torch.tensor([0.5, 2.5, 4.5]).double())


def test_waves_that_the_coarse_grid_has_pass_and_others_vanish():
    place = torch.arange(12).double() / 12
    restrict, _ = matrices(12, 5, AxisMap("waves", "periodic"))
    coarse = torch.arange(5).double() / 5
    for number in (1, 2):
        wave, kept = (torch.cos(2 * torch.pi * number * at + 0.3) for at in (place, coarse))
        assert torch.allclose(restrict @ wave, kept, atol=1e-12)
    assert (restrict @ torch.cos(2 * torch.pi * 4 * place)).abs().max() < 1e-12


def same(x: Tensor) -> Tensor:
    """A base that is an operator: it acts on each point."""
    return x[:, :1]


def refiner(correction: dict, dim: int, shape: list[int], **known) -> IterativeRefiner:
    torch.manual_seed(0)
    options = {"cells": shape, "extent": "fixed", **known}
    model = IterativeRefiner(
        same, {**correction, "dim": dim}, steps=3, in_channels=2, out_channels=1, resolution=options
    )
    for weight in model.correction.parameters():
        nn.init.normal_(weight, std=0.3 if correction["name"] == "unet" else 0.05)
    return model.double().eval()


CORRECTIONS = [{"name": "unet", "width": 4, "depth": 1}, {"name": "mgno", "width": 4, "levels": 2}]
PADDINGS = {"circular": ("waves", "points", "means"), "zero": ("cosines", "points", "means")}
SHAPES = {1: [9], 2: [8, 5], 3: [4, 5, 4]}
RATIOS = {"2x": 2.0, "4x": 4.0, "1.37x": 1.37}


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("dim", SHAPES)
@pytest.mark.parametrize(("padding", "pair"), [(p, pair) for p, pairs in PADDINGS.items() for pair in pairs])
@pytest.mark.parametrize("correction", CORRECTIONS, ids=lambda options: options["name"])
def test_the_answer_on_a_finer_grid_restricts_to_that_of_training(correction, padding, pair, dim, ratio):
    shape = SHAPES[dim]
    model = refiner({**correction, "padding": padding}, dim, shape, pair=pair)
    fine = [round(RATIOS[ratio] * n) for n in shape]
    how = model.resolution.axes(fine, shape, model.correction.periodic)
    maps = GridMaps.between(fine, shape, how)
    x = torch.randn(2, 2, *shape, dtype=torch.float64)
    with torch.no_grad():
        coarse = model(x)
        answer = model(maps.prolong(x))
    assert (coarse - same(x)).abs().max() > 1e-6
    assert torch.allclose(maps.restrict(answer), coarse, atol=1e-9 * float(coarse.abs().max()))


@pytest.mark.parametrize("shape", [(5, 3), (16, 10), (12, 3), (11, 7)], ids=str)
@pytest.mark.parametrize("detail", ["base", "cosets"])
def test_forward_solve_and_iterates_agree_on_every_grid_and_no_steps_is_the_base(shape, detail):
    if detail == "cosets" and any(n % m and n > m for n, m in zip(shape, (8, 5), strict=True)):
        pytest.skip("cosets need whole ratios")
    model = refiner(CORRECTIONS[0], 2, [8, 5], detail=detail)
    x = torch.randn(3, 2, *shape, dtype=torch.float64)
    with torch.no_grad():
        answer = model(x)
    assert torch.equal(model.solve(x, steps=3).value, answer)
    assert torch.equal(model.iterates(x)[-1], answer)
    assert torch.equal(model.solve(x, steps=0).value, same(x))
    one_by_one = torch.cat([model.solve(sample[None], steps=3).value for sample in x])
    assert torch.allclose(one_by_one, answer, atol=1e-12)


@pytest.mark.parametrize("detail", ["base", "cosets"])
def test_samples_that_leave_the_batch_change_no_others(detail):
    model = refiner(CORRECTIONS[0], 2, [8, 5], detail=detail)
    x = torch.randn(4, 2, 16, 10, dtype=torch.float64)
    together = model.solve(x, max_steps=torch.tensor([1, 4, 2, 3]), rtol=1e-12)
    for place, count in enumerate((1, 4, 2, 3)):
        alone = model.solve(x[place : place + 1], max_steps=count, rtol=1e-12)
        assert torch.allclose(together.value[place], alone.value[0], atol=1e-12)


def test_cosets_refine_every_shifted_coarse_grid():
    model = refiner(CORRECTIONS[0], 2, [8, 5], detail="cosets")
    x = torch.randn(2, 2, 16, 15, dtype=torch.float64)
    with torch.no_grad():
        answer = model(x)
        for row in range(2):
            for column in range(3):
                part = model(x[..., row::2, column::3])
                assert torch.allclose(answer[..., row::2, column::3], part, atol=1e-12)


def test_a_size_that_nothing_explains_is_refused_and_both_explanations_work():
    x = torch.randn(1, 2, 16, 10, dtype=torch.float64)
    unknown = refiner(CORRECTIONS[0], 2, [8, 5], extent=None)
    with pytest.raises(ValueError, match=r"8 x 5 points, as in training, got 16 x 10; .*fixed.*grows"):
        unknown(x)
    grows = refiner(CORRECTIONS[0], 2, [8, 5], extent="grows")
    plain = IterativeRefiner(same, grows.correction, steps=3).eval()
    with torch.no_grad():
        assert torch.equal(grows(x), plain(x))


def test_the_trained_resolution_keeps_its_bits():
    model = refiner(CORRECTIONS[0], 2, [8, 5])
    plain = IterativeRefiner(same, model.correction, steps=3).eval()
    x = torch.randn(2, 2, 8, 5, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(model(x), plain(x))


def test_operators_are_evaluated_as_they_are():
    options = {"name": "fno", "n_modes": [4, 4], "hidden_channels": 4, "n_layers": 1}
    model = IterativeRefiner(
        same, options, steps=2, in_channels=2, out_channels=1, resolution={"cells": [8, 8]}
    ).eval()
    plain = IterativeRefiner(same, model.correction, steps=2).eval()
    x = torch.randn(1, 2, 12, 12)
    with torch.no_grad():
        assert torch.equal(model(x), plain(x))


def test_training_on_several_sizes_uses_the_nearest_one():
    model = refiner(CORRECTIONS[0], 2, [[8, 8], [16, 16]])
    assert model.resolution.native((32, 32)) == (16, 16)
    assert model.resolution.native((9, 9)) == (8, 8)
    assert model.resolution.native((16, 16)) == (16, 16)


@pytest.mark.parametrize("detail", ["base", "cosets"])
@pytest.mark.parametrize("of", ["the grid", "each sample"])
def test_norms_on_finer_grids_are_weighted_by_the_measure_of_their_cells(detail, of):
    model = refiner(CORRECTIONS[0], 2, [8, 5], detail=detail)
    x = torch.randn(3, 2, 16, 10, dtype=torch.float64)
    measure = torch.rand(3, 16, 1, dtype=torch.float64) if of == "each sample" else torch.rand(16, 1).double()
    residuals = [own[0] for own in model.solve(x, measure=measure, max_steps=3, rtol=1e-9).residuals]
    phi = model.solve(x, steps=1).value - same(x)
    weights = measure / measure.mean((-2, -1), keepdim=True)
    first = (phi.square().sum(1) * weights).mean((1, 2)).sqrt()
    assert residuals == pytest.approx(first.tolist(), rel=1e-5)
