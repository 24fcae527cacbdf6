"""The study of monotone refiners: it runs, and an anchor adds to m what its docs state."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from neuralop_irno import IterativeRefiner
from neuralop_irno.correction.unet import UNet
from neuralop_irno.data.fields import FieldDataset

STUDIES = Path(__file__).parents[2] / "examples/studies"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(STUDIES))
    import monotone

    return monotone


def test_the_smallest_study_writes_a_row_for_each_refiner(
    study: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, file = torch.get_num_threads(), tmp_path / "rows.json"
    options = "--smallest --seeds 0 --weights 0 0.1 --iterations 4 --penalty-iterations 1 --json"
    monkeypatch.setattr(sys, "argv", ["", *options.split(), str(file)])
    try:
        study.main()
    finally:
        torch.set_num_threads(threads)
    rows = json.loads(file.read_text())
    assert [row["form"] for row in rows] == ["plain", "anchored", "plain", "leak", "leak"]
    assert len({row["base"] for row in rows}) == 1
    assert all(row["m, least"] <= row["m, median"] for row in rows)


@pytest.mark.parametrize("w", [0.0, 0.3, 0.9])
def test_an_anchor_moves_m_by_its_weight(study: ModuleType, w: float) -> None:
    torch.manual_seed(0)
    inner = UNet(1, 1, dim=1, width=4, depth=1)
    for parameter in inner.parameters():
        nn.init.normal_(parameter, std=0.5)
    data = FieldDataset(torch.randn(2, 1, 8), torch.randn(2, 1, 8))
    plain = IterativeRefiner(nn.Identity(), inner, steps=2)
    anchored = IterativeRefiner(nn.Identity(), study.Anchored(inner, plain, w, 1 - w), steps=2)
    before, after = (study.measured(model, data, iterations=8) for model in (plain, anchored))
    torch.testing.assert_close(after.m, w + (1 - w) * before.m, rtol=1e-3, atol=1e-3)
    assert (before.residual < 1e-3 * before.norm).all()
