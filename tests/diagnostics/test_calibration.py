"""An error estimate covers the share of samples that it states."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from neuralop_irno import IterativeRefiner
from neuralop_irno.calibration import Calibration
from neuralop_irno.data.dataset import FieldDataset
from neuralop_irno.diagnostics.calibration import calibrate, gather


def test_the_factor_is_the_conformal_quantile() -> None:
    errors = torch.arange(1.0, 20.0)  # 19 samples: rank ceil(20 * 0.9) = 18
    found = Calibration.fit({"moved": torch.ones(19)}, errors, 0.9)
    assert (found.factor, found.samples) == (18.0, 19)
    assert found.estimate({"moved": torch.tensor([2.0])}).item() == 36.0


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
def test_coverage_on_fresh_samples_is_what_is_stated(coverage: float) -> None:
    shares = []
    for _ in range(300):
        predictor = torch.rand(160) + 0.5
        errors = predictor * torch.randn(160).abs()
        found = Calibration.fit({"moved": predictor[:60]}, errors[:60], coverage)
        shares.append((errors[60:] <= found.estimate({"moved": predictor[60:]})).double().mean())
    assert torch.stack(shares).mean().item() == pytest.approx(coverage + 0.5 / 61, abs=0.02)


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
    nn.init.normal_(model.correction.correction.last.weight, std=0.2)
    x = torch.randn(40, 1, 16)
    loader = DataLoader(FieldDataset(x, 0.5 * x.roll(1, -1)), batch_size=16)
    assert model.solve(x).error_estimate is None
    calibration = calibrate(model, loader, coverage=0.8)
    evidence = gather(model, loader)
    assert evidence.coverage(calibration) >= 0.8
    estimate = model.solve(x).error_estimate
    torch.testing.assert_close(estimate, calibration.estimate(evidence.predictors))
    path = model.save(tmp_path / "model.safetensors")
    again = IterativeRefiner.from_checkpoint(path, base=nn.Conv1d(1, 1, 3, padding=1))
    assert again.calibration == calibration
    torch.testing.assert_close(again.eval().solve(x).error_estimate, estimate)
    assert model.with_base(nn.Conv1d(1, 1, 3, padding=1)).calibration is None
