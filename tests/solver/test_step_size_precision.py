"""alpha in the precision of the fields: as given in float64, rounded once in float32."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from solver_names import OF_CORRECTIONS
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner
from neuralop_irno.build import build_solver, takes_alpha
from neuralop_irno.correction.correction import FunctionCorrection
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.solver.picard import Picard
from neuralop_irno.solver.plain_step import plain_step
from neuralop_irno.training.described import described

ALPHAS: dict[str, tuple[Any, list[float]]] = {
    "constant": (0.2, [0.2] * 4),
    "scheduled": ([0.2, 1 / 3, 0.7], [0.2, 1 / 3, 0.7, 0.7]),
    "decaying": ({"name": "decaying", "value": 0.9, "after": 1, "ratio": 0.7}, [0.9, 0.9, 0.63, 0.441]),
}
ON_GRIDS = [name for name in OF_CORRECTIONS if takes_alpha(name) and name != "confidence"]
X = torch.tensor([[[0.3, -1.7, 2.9]], [[1e3, 0.1, -4.0]]], dtype=torch.float64)


def pull(x: Tensor, h: Tensor) -> Tensor:
    return x - 0.3 * h


@pytest.mark.parametrize("doubled", [False, True], ids=["built", "double"])
@pytest.mark.parametrize(("alpha", "each"), ALPHAS.values(), ids=ALPHAS)
def test_steps_are_those_of_the_formula(alpha: Any, each: list[float], doubled: bool) -> None:
    model = IterativeRefiner(torch.zeros_like, FunctionCorrection(pull), steps=4, alpha=alpha).eval()
    model = model.double() if doubled else model
    for (h, then), size in zip(pairwise(model.iterates(X)), each, strict=True):
        torch.testing.assert_close(then, h + size * pull(X, h), rtol=1e-15, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ON_GRIDS)
@pytest.mark.parametrize("alpha", [alpha for alpha, _ in ALPHAS.values()], ids=ALPHAS)
def test_the_residual_is_the_product_of_the_plain_step(name: str, alpha: Any, dtype: torch.dtype) -> None:
    x, solver = X.to(dtype), build_solver(name, alpha).to(dtype)
    phi = FunctionCorrection(pull).bind(x, GridDomain.of(x))
    h, taken = torch.ones_like(x), torch.tensor([0, 2])
    _, state = solver.step(phi, h, solver.init(h, taken))
    step, size = plain_step(phi, solver, taken, h)
    assert torch.equal(state.residual, phi.domain.spread(size.to(dtype), h) * step(h))


@pytest.mark.parametrize("alpha", [alpha for alpha, _ in ALPHAS.values()], ids=ALPHAS)
def test_in_single_precision_alpha_is_rounded_once(alpha: Any) -> None:
    x = X.float()
    model = IterativeRefiner(torch.zeros_like, FunctionCorrection(pull), steps=4, alpha=alpha).eval()
    for taken, (h, then) in enumerate(pairwise(model.iterates(x))):
        assert torch.equal(then, h + model.solver.alpha(torch.tensor(taken)) * pull(x, h))


@pytest.mark.parametrize("alpha", [alpha for alpha, _ in ALPHAS.values()], ids=ALPHAS)
def test_a_saved_model_takes_the_same_steps(alpha: Any, tmp_path: Path) -> None:
    base = nn.Conv1d(2, 1, 1)
    unet = {"name": "unet", "width": 2, "depth": 0, "dim": 1}
    model = IterativeRefiner(base, unet, alpha=alpha, in_channels=2, out_channels=1).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1)
    model.save_pretrained(tmp_path / "saved")
    again = IterativeRefiner.from_pretrained(tmp_path / "saved", base=base).eval()
    x = X.repeat(1, 2, 1)
    assert torch.equal(model.double()(x), again.double()(x))


def test_a_buffer_that_was_changed_counts() -> None:
    solver = Picard(0.2)
    solver.alpha.value.fill_(0.25)
    assert solver.step_size_for(X, torch.zeros(2)).tolist() == [0.25, 0.25]
    assert solver.step_size_for(X, torch.zeros(2)).dtype == torch.float64


def test_descriptions_are_those_of_earlier_runs() -> None:
    assert described(Picard(0.2))["alpha"]["value"] == torch.tensor(0.2).item()
    assert described(Picard(0.2))["alpha"].keys() == {"type", "value"}
