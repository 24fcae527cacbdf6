"""Half-widths of the error at each point: on grids and graphs, in every layout, stored with the model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GraphSAGE

from neuralop_irno import Bands, IterativeRefiner, Scaling, TupleOperator, Units, calibrate
from neuralop_irno.bands import PREDICTORS, BandEvidence
from neuralop_irno.base.operator import BaseOperator
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.sphere import SphereDomain
from neuralop_irno.domain.tuples import TupleDomain

UNET = {"name": "unet", "width": 2, "depth": 1}


def convolution(channels: int = 1) -> nn.Module:
    return nn.Conv1d(channels, channels, 3, padding=1)


def moving(base: Any, **options: Any) -> IterativeRefiner:
    """A refiner whose correction changes the base's answer."""
    torch.manual_seed(0)
    model = IterativeRefiner(base, UNET, steps=2, **options).double()
    nn.init.normal_(model.correction.last.weight, std=0.2)
    return model.eval()


def with_bands(model: IterativeRefiner, predictor: str = "local") -> IterativeRefiner:
    model.bands = Bands(predictor, factor=2.0, share=0.8, coverage=0.9, samples=20)
    return model


def field(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def graphs(*sizes: int) -> list[Data]:
    ring = [torch.stack([torch.arange(n), (torch.arange(n) + 1) % n]) for n in sizes]
    return [
        Data(x=field(n, 2), y=field(n, 1), pos=field(n, 2), edge_index=edges, measure=field(n).abs() + 0.1)
        for n, edges in zip(sizes, ring, strict=True)
    ]


DOMAINS: dict[str, tuple[Domain, tuple[int, ...]]] = {
    "grid": (GridDomain(2, (3, 4)), (2, 2, 3, 4)),
    "rows": (GridDomain(2, (3, 4), measure=torch.tensor([[0.0], [1.0], [3.0]])), (2, 2, 3, 4)),
    "sphere": (SphereDomain(2, (4, 8)), (2, 1, 4, 8)),
    "nodes": (GraphDomain(torch.tensor([1, 0, 0, 1, 1]), 2), (5, 2)),
    "measures": (GraphDomain(torch.tensor([1, 0, 0, 1, 1]), 2, measure=torch.arange(1.0, 6.0)), (5, 2, 3)),
    "tuple": (TupleDomain([GridDomain(2, (3,)), GridDomain(2, (4,))], [2, 1]), (2, 1, 10)),
}


@pytest.mark.parametrize(("domain", "shape"), DOMAINS.values(), ids=DOMAINS)
def test_quantiles_and_weights_are_those_of_the_mean(domain: Domain, shape: tuple[int, ...]) -> None:
    values = field(*shape)
    weights = domain.weights(values)
    ones = torch.ones_like(values)
    for sample in range(domain.samples):
        inside = domain.spread(torch.arange(domain.samples) == sample, values).expand_as(values)
        torch.testing.assert_close((weights * values)[inside].sum(), domain.mean(values)[sample])
    for share in (0.1, 0.5, 0.9):
        found = domain.quantile(values, share)
        limit = domain.spread(found, values)
        assert (domain.mean((values <= limit) * ones) >= share - 1e-6).all()
        assert (domain.mean((values < limit) * ones) < share).all()


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_bands_scale_with_each_channel(predictor: str) -> None:
    bands, domain = Bands(predictor, 3.0, 0.8, 0.9, 20), GridDomain(2, (8,))
    moved, errors = field(2, 2, 8), field(2, 2, 8).flip(0)
    units = torch.tensor([1e3, 1e-6], dtype=torch.float64)[:, None]
    torch.testing.assert_close(bands.width(units * moved, domain), units * bands.width(moved, domain))
    one, other = (BandEvidence.of(k * errors, k * moved, domain, 0.8) for k in (1.0, units))
    torch.testing.assert_close(other.scores, one.scores)


def test_a_band_covers_the_error_on_its_share_exactly_where_the_score_says_so() -> None:
    domain, moved, errors = GridDomain(30, (10,)), field(30, 2, 10), field(30, 2, 10).flip(0)
    evidence = BandEvidence.of(errors, moved, domain, 0.7)
    bands = Bands.fit(evidence, 0.8)
    inside = domain.mean((errors.abs() <= bands.width(moved, domain)).double()) >= 0.7 - 1e-9
    assert torch.equal(inside, evidence.scores[bands.predictor] <= bands.factor)
    assert bands.observed(evidence)[0] == inside.double().mean()


def test_members_of_a_batch_of_graphs_have_the_bands_that_they_have_alone() -> None:
    model = IterativeRefiner(GraphSAGE(2, 4, 1, 1), {"name": "meshgraph", "width": 4, "steps": 1}, steps=2)
    nn.init.normal_(model.correction.last.weight, std=0.3)
    model = with_bands(model.double().eval())
    several = graphs(5, 9, 3)
    together = model.solve(Batch.from_data_list(several))
    alone = [model.solve(graph).error_band for graph in several]
    assert together.error_band.shape == together.value.shape
    torch.testing.assert_close(together.error_band, torch.cat(alone))


def as_dict(x: Tensor) -> dict[str, Any]:
    return {"loss": None, "u": 0.5 * x}


LAYOUTS: dict[str, tuple[Any, dict[str, Any], tuple[int, ...]]] = {
    "channels first": (convolution(), {}, (3, 1, 8)),
    "channels last": (
        lambda x: x.flip(-2),
        {"layout": "B X C", "in_channels": 2, "out_channels": 2},
        (3, 8, 2),
    ),
    "times": (lambda x: x.flip(1), {"layout": "B T C X", "in_channels": 4, "out_channels": 4}, (3, 2, 2, 8)),
    "a dict": (
        as_dict,
        {"output": "u", "layout": "B C X", "in_channels": 1, "out_channels": 1},
        (3, 1, 8),
    ),
}


@pytest.mark.parametrize(("base", "options", "shape"), LAYOUTS.values(), ids=LAYOUTS)
def test_bands_are_laid_out_like_the_value(
    base: Any, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    model, x = moving(base, **options), field(*shape)
    assert model.solve(x).error_band is None
    found = with_bands(model).solve(x)
    value = found.value["u"] if isinstance(found.value, dict) else found.value
    moved = model.base.as_field(found.value) - model.base.as_field(model.base(x))
    assert found.error_band.shape == value.shape
    expected = model.bands.width(moved, GridDomain.of(moved))
    torch.testing.assert_close(model.base.layout.answer.fold(found.error_band), expected)
    torch.testing.assert_close(with_bands(model).solve(x[1:2]).error_band, found.error_band[1:2])


def test_bands_are_in_the_units_of_the_answer_without_its_mean() -> None:
    units, net = Units(Scaling((2.0,), (3.0,)), Scaling((1e6,), (0.01,))), convolution().double()
    model = moving(net, units=units)

    def scaled(x: Tensor) -> Tensor:
        return units.y.apply(net(units.x.undo(x)))

    plain = IterativeRefiner(scaled, model.correction, steps=2).eval()
    x, y = field(30, 1, 8), 1e6 + 0.01 * field(30, 1, 8)
    calibrate(model, [{"x": x, "y": y}], share=0.8)
    calibrate(plain, [{"x": units.x.apply(x), "y": units.y.apply(y)}], share=0.8)
    assert model.bands.factor == pytest.approx(plain.bands.factor, rel=1e-5)
    bands = plain.solve(units.x.apply(x)).error_band
    torch.testing.assert_close(model.solve(x).error_band, 0.01 * bands, rtol=1e-5, atol=0)


def test_outside_of_a_mask_nothing_is_stated() -> None:
    model = with_bands(moving(convolution(), condition=["mask"]))
    x, mask = field(2, 1, 8), (torch.arange(8) < 5).expand(2, 1, 8)
    found = model.solve(x, mask=mask)
    assert torch.equal(found.error_band.isnan(), ~mask)
    changed = model.solve(torch.where(mask, x, 7.0), mask=mask)  # the base sees further than the mask
    assert torch.equal(changed.error_band.isnan(), ~mask)


def test_where_nothing_moves_a_band_is_infinite_and_counts_as_not_covering() -> None:
    domain, moved = GridDomain(2, (4,)), torch.zeros(2, 1, 4)
    moved[1, 0, 0] = 1.0
    width = Bands("local", 2.0, 0.5, 0.9, 20).width(moved, domain)
    assert width[0].isinf().all()
    assert width[1].isfinite().all()
    assert (width[1] > 0).all()
    scores = BandEvidence.of(torch.ones(2, 1, 4), moved, domain, 0.5).scores
    assert scores["local"].isinf().tolist() == [True, False]
    untrained = IterativeRefiner(convolution(), UNET)
    assert with_bands(untrained).solve(torch.randn(2, 1, 8)).error_band.isinf().all()
    with pytest.raises(ValueError, match="try a trained model"):
        calibrate(untrained, [{"x": torch.randn(20, 1, 8), "y": torch.randn(20, 1, 8)}], share=0.8)


def test_answers_that_are_not_finite_are_not_covered() -> None:
    errors, moved = torch.ones(2, 1, 4), torch.ones(2, 1, 4)
    errors[0, 0, :3] = torch.nan
    scores = BandEvidence.of(errors, moved, GridDomain(2, (4,)), 0.5).scores
    assert scores["local"].isinf().tolist() == [True, False]


def test_they_are_stored_with_the_model(tmp_path: Path) -> None:
    model = moving(convolution())
    x = field(40, 1, 8)
    batch = [{"x": x, "y": 0.5 * x}]
    calibrate(model, batch, coverage=0.8, share=0.7)
    assert (model.bands.coverage, model.bands.share, model.bands.samples) == (0.8, 0.7, 40)
    path = model.save(tmp_path / "model.safetensors")
    again = IterativeRefiner.from_checkpoint(path, base=convolution()).eval()
    assert (again.bands, again.calibration) == (model.bands, model.calibration)
    assert torch.equal(again.solve(x).error_band, model.solve(x).error_band)
    assert model.with_base(convolution()).bands is None
    calibrate(model, batch, coverage=0.8)
    assert model.bands is None  # replaced with the calibration, which has none
    assert IterativeRefiner.from_checkpoint(model.save(path), base=convolution()).bands is None


@pytest.mark.parametrize("share", [0.0, 1.0, -1, math.nan])
def test_a_share_that_is_none_is_refused_before_any_solve(share: float) -> None:
    with pytest.raises(ValueError, match=r"^expected a share of the region between 0 and 1, got "):
        calibrate(moving(convolution()), iter([]), share=share)


def test_tuples_of_fields_are_refused_by_name() -> None:
    def two(x: Tensor) -> tuple[Tensor, Tensor]:
        return x, -x

    base = TupleOperator([BaseOperator(two, output=place) for place in (0, 1)])
    model = IterativeRefiner(base, UNET, steps=1, in_channels=[1, 1], out_channels=[1, 1])
    batch = {"x": torch.randn(4, 1, 8), "y": (torch.randn(4, 1, 8), torch.randn(4, 1, 8))}
    with pytest.raises(ValueError, match="expected one field for bands of the error, got the tuple"):
        calibrate(model, [batch], share=0.9)
