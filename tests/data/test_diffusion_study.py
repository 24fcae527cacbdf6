"""The study of diffusion by its steps: the schedule, the formulas of both samplers, and a run."""

import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

EXAMPLES = Path(__file__).parents[2] / "examples/studies"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import diffusion_steps

    return diffusion_steps


class Exact(nn.Module):
    """The best guess of the noise in x_t for Gaussian data of one deviation, point by point."""

    def __init__(self, study: Any, steps: int, deviation: float) -> None:
        super().__init__()
        self.left, self.steps, self.deviation = study.kept(steps), steps, deviation

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        left = float(self.left[round(float(s[0]) * self.steps)])
        return x * math.sqrt(1 - left) / (left * self.deviation**2 + 1 - left)


def test_the_schedule_is_one_process_for_every_number_of_steps(study: Any) -> None:
    coarse, fine = study.kept(10), study.kept(400)
    torch.testing.assert_close(coarse, fine[::40])
    assert float(coarse[0]) == 1
    assert float(coarse[-1]) == pytest.approx(math.exp(-10.05))


@pytest.mark.parametrize("noisy", [True, False])
def test_samplers_reach_the_deviation_of_the_data_as_steps_grow(study: Any, noisy: bool) -> None:
    start = torch.randn(64, 1, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    errors = []
    for steps in (10, 40, 160):
        draw = torch.Generator().manual_seed(1) if noisy else None
        found = study.sampled(Exact(study, steps, 0.5), start, steps, draw)
        errors.append(abs(float(found.std()) - 0.5))
    assert errors[2] < 0.02
    assert errors[0] > 2 * errors[2]


def test_the_scales_are_those_that_are_stated(study: Any) -> None:
    assert study.SCALES["small"].steps == (10, 25, 50, 100, 200, 400)
    assert {"smoke", "small", "medium"} == set(study.SCALES)


def test_it_runs(study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    monkeypatch.setattr(sys, "argv", ["", "--scale", "smoke", "--seeds", "0", "--json", str(path)])
    study.main()
    content = json.loads(path.read_text())
    floor, *rows = content["rows"]
    assert content["scale"]["steps"] == [2, 4]
    assert floor["steps"] is None
    assert [row["steps"] for row in rows] == [2, 4]
    assert all(row["noise"] > 0 and row["distance"] > 0 for row in rows)
    assert rows[0]["away"] > 0
