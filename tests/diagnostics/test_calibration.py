"""An error estimate covers the share of samples that it states."""

import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from torch_geometric.nn import GraphSAGE

from neuralop_irno import IterativeRefiner
from neuralop_irno.conformal import PREDICTORS, Calibration
from neuralop_irno.data.fields import FieldDataset, windows
from neuralop_irno.data.solvers.mesh_fields import heat_in_wind
from neuralop_irno.diagnostics.base_check import check_base
from neuralop_irno.diagnostics.calibration import Evidence, calibrate, gather, halves, same_samples
from neuralop_irno.diagnostics.report import diagnose
from neuralop_irno.registry import DATASETS
from neuralop_irno.training.batches import load_all


def test_the_factor_is_the_conformal_quantile() -> None:
    errors = torch.arange(1.0, 20.0)  # 19 samples: rank ceil(20 * 0.9) = 18
    found = Calibration.fit({"moved": torch.ones(19)}, errors, 0.9)
    assert (found.factor, found.samples) == (18.0, 19)
    assert found.estimate({"moved": torch.tensor([2.0])}).item() == 36.0


@pytest.mark.parametrize("count", [9, 19, 50])
@pytest.mark.parametrize("names", [PREDICTORS[:1], PREDICTORS])
def test_fresh_samples_are_covered_as_often_as_is_stated(count: int, names: tuple[str, ...]) -> None:
    """With several predictors too: the samples that chose one must not give its factor."""
    generator = torch.Generator().manual_seed(count)
    shares = []
    for _ in range(300):
        errors = torch.randn(count + 200, generator=generator).exp()
        known = {
            name: errors * torch.randn(count + 200, generator=generator).mul(0.7).exp() for name in names
        }
        before = {name: values[:count] for name, values in known.items()}
        after = {name: values[count:] for name, values in known.items()}
        found = Calibration.fit(before, errors[:count], 0.9)
        shares.append((errors[count:] <= found.estimate(after)).double().mean())
    measured = torch.stack(shares)
    assert measured.mean() >= 0.9 - 3 * measured.std() / 300**0.5
    assert measured.mean() < 0.95  # and not by estimates that are far too large


def test_samples_of_fresh_trajectories_are_covered_as_often_as_is_stated() -> None:
    """Windows of one trajectory resemble each other; as if they were independent they cover too little."""
    generator = torch.Generator().manual_seed(0)
    by_trajectory, by_window = [], []
    for _ in range(300):
        sizes = torch.randint(1, 30, (20,), generator=generator)
        groups = torch.arange(20).repeat_interleave(sizes)
        scale = torch.randn(220, generator=generator).exp()
        errors = scale[groups] * torch.rand(len(groups), generator=generator)
        known = {"moved": torch.ones(len(errors))}
        fresh = scale[20:] * torch.rand(200, generator=generator)
        for shares, given in ((by_trajectory, groups), (by_window, None)):
            found = Calibration.fit(known, errors, 0.9, given)
            shares.append((fresh <= found.factor).double().mean())
    measured = torch.stack(by_trajectory)
    assert measured.mean() >= 0.9 - 3 * measured.std() / 300**0.5
    assert torch.stack(by_window).mean() < measured.mean()
    with pytest.raises(ValueError, match=r"expected at least 9 trajectories for a coverage of 0.9, got 8"):
        Calibration.fit({"moved": torch.ones(80)}, torch.ones(80), 0.9, torch.arange(8).repeat(10))


def test_groups_of_one_are_no_groups() -> None:
    errors, known = torch.rand(40), {"moved": torch.rand(40) + 0.1, "residual": torch.rand(40) + 0.1}
    assert Calibration.fit(known, errors, 0.8, torch.arange(40)) == Calibration.fit(known, errors, 0.8)


def test_the_mode_is_restored_after_an_exception() -> None:
    model = IterativeRefiner(nn.Conv1d(1, 1, 3, padding=1), {"name": "unet", "width": 4, "depth": 1}).train()
    broken = [{"x": torch.zeros(2, 1, 16), "y": torch.zeros(2, 1, 15)}]
    for measuring in (gather, diagnose, check_base):
        with pytest.raises((ValueError, RuntimeError)):
            measuring(model, broken)
        assert model.training


def test_the_sharper_predictor_is_chosen() -> None:
    errors = torch.rand(200) + 0.1
    known = {"moved": errors * (1 + 0.01 * torch.rand(200)), "residual": torch.rand(200)}
    assert Calibration.fit(known, errors).predictor == "moved"


def test_errors_that_are_not_finite_count_as_the_largest() -> None:
    errors = torch.arange(1.0, 20.0)
    errors[0] = torch.nan
    assert Calibration.fit({"moved": torch.ones(19)}, errors, 0.9).factor == 19.0
    with pytest.raises(ValueError, match=r"expected at least 9 samples for a coverage of 0.9, got 8"):
        Calibration.fit({"moved": torch.ones(8)}, torch.ones(8), 0.9)


def test_it_travels_with_the_checkpoint(tmp_path) -> None:
    model = IterativeRefiner(nn.Conv1d(1, 1, 3, padding=1), {"name": "unet", "width": 4, "depth": 1}, steps=2)
    nn.init.normal_(model.correction.last.weight, std=0.2)
    x = torch.randn(40, 1, 16)
    loader = DataLoader(FieldDataset(x, 0.5 * x.roll(1, -1)), batch_size=16)
    assert model.solve(x).error_estimate is None
    calibration = calibrate(model, loader, coverage=0.8)
    evidence = gather(model, loader)
    estimate = model.solve(x).error_estimate
    torch.testing.assert_close(estimate, calibration.estimate(evidence.predictors))
    path = model.save(tmp_path / "model.safetensors")
    again = IterativeRefiner.from_checkpoint(path, base=nn.Conv1d(1, 1, 3, padding=1))
    assert again.calibration == calibration
    torch.testing.assert_close(again.eval().solve(x).error_estimate, estimate)
    assert model.with_base(nn.Conv1d(1, 1, 3, padding=1)).calibration is None


def test_halves_share_no_trajectory() -> None:
    data = windows(torch.randn(5, 7, 8))
    first, second = halves(data)
    assert len(first.data) + len(second.data) == len(data)
    assert not set(first.groups.tolist()) & set(second.groups.tolist())
    assert torch.equal(data.y[data.groups == 3], torch.stack([second.data[i]["y"] for i in range(6, 12)]))
    assert not same_samples(data, windows(torch.randn(5, 7, 8)))
    assert same_samples(data, data)
    with pytest.raises(ValueError, match="expected at least two trajectories to divide, got one"):
        halves(windows(torch.randn(1, 7, 8)))


@pytest.mark.parametrize("name", ["burgers", "turbulence", "coarse_turbulence"])
def test_data_of_flows_name_the_flow_of_each_sample(name: str) -> None:
    size = {"size": 8} if name == "burgers" else {"size": 8, "resolution": 8, "viscosity": 0.1}
    data = DATASETS.build({"name": name, "trajectories": [1, 1, 2], "frames": 9, **size})["test"]
    assert len(data.groups) == len(data)
    assert data.groups.unique().tolist() == [0, 1]
    assert data.files == ()


def test_graphs_are_calibrated_and_diagnosed_like_fields() -> None:
    data = heat_in_wind(samples=(1, 1, 8), spacing=0.3)["test"]
    correction = {"name": "meshgraph", "width": 4, "steps": 1}
    model = IterativeRefiner(GraphSAGE(data[0].x.shape[1], 4, 1, 1), correction, steps=2)
    nn.init.normal_(model.correction.last.weight, std=0.1)
    first, second = halves(data)
    found = calibrate(model, (sample for _, sample in load_all(first.data)), 0.5, first.groups)
    assert found.samples == 4
    batches = (sample for _, sample in load_all(second.data))
    report = diagnose(model, batches, samples=1, steps=2, iterations=2, show=False)
    assert report.convergence.errors.shape == (3, 4)
    assert report.calibration == found


@pytest.mark.parametrize("name", ["moved", "residual", "bound"])
@pytest.mark.parametrize("useless", [0.0, math.inf, math.nan])
def test_a_predictor_that_says_nothing_is_refused(name: str, useless: float) -> None:
    with pytest.raises(ValueError, match=r"^expected .* got .*; try "):
        Calibration.fit({name: torch.full((20,), useless)}, torch.rand(20) + 0.1)


@pytest.mark.parametrize("useless", [0.0, math.inf, math.nan])
def test_a_predictor_that_says_nothing_is_not_chosen(useless: float) -> None:
    errors = torch.rand(40) + 0.1
    predictors = {"moved": torch.full((40,), useless), "bound": errors * (1 + torch.rand(40))}
    fitted = Calibration.fit(predictors, errors)
    assert fitted.predictor == "bound"
    assert fitted.estimate({"bound": torch.tensor([1.0, math.inf])}).tolist() == [
        pytest.approx(fitted.factor),
        math.inf,
    ]


def test_an_untrained_model_is_not_calibrated() -> None:
    model = IterativeRefiner(nn.Conv1d(1, 1, 3, padding=1), {"name": "unet", "width": 2, "depth": 1})
    batch = {"x": torch.randn(24, 1, 8), "y": torch.randn(24, 1, 8)}
    with pytest.raises(ValueError, match="try a trained model"):
        calibrate(model, [batch], rtol=1e-2)
    assert model.calibration is None


@pytest.mark.parametrize("useless", [0.0, math.inf, math.nan])
def test_solves_that_say_nothing_have_no_reliability(useless: float) -> None:
    found = Evidence(torch.rand(40) + 0.1, {"bound": torch.full((40,), useless)})
    assert found.reliability() == []
