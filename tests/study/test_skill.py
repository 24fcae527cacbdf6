"""The anomaly correlation of a study: that of all samples at once, batch by batch."""

import pytest
import torch
from torch import nn

from neuralop_irno import IterativeRefiner, acc
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.data.patches import Tiles
from neuralop_irno.study.skill import anomaly_correlation


def test_it_is_that_of_all_fields_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(2, 7, 2, 8, 6).double()
    phi = nn.Conv2d(4, 2, 3, padding=1)
    model = IterativeRefiner(nn.Conv2d(2, 2, 1), phi, steps=3, alpha=0.3).double().eval()
    data = FieldDataset(x, y + 5)
    with torch.no_grad():
        answers = model.iterates(x)
    every = [acc(answer, y + 5, climatology="samples", centred=False, channel=0) for answer in answers]
    expected = [skills.mean().item() for skills in every]
    assert len(expected) == 4
    monkeypatch.setattr("neuralop_irno.training.batches.at_a_time", lambda data: 3)
    assert anomaly_correlation(model, data, "cpu") == pytest.approx(expected, rel=1e-9)
    assert anomaly_correlation(model.base, data, "cpu") == pytest.approx(expected[:1], rel=1e-9)


def test_patches_are_refused() -> None:
    data = FieldDataset(*torch.randn(2, 3, 1, 8, 8))
    data.view = Tiles(4)  # type: ignore[attr-defined]
    with pytest.raises(
        ValueError, match=r"^expected whole fields on a grid for the ACC, got Tiles; try tiles: false"
    ):
        anomaly_correlation(nn.Identity(), data, "cpu")
