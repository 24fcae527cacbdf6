"""The laws, and one training of each kind, on the CPU and, where there is one, on CUDA.

`pytest -m cuda tests/device` runs the CUDA copies alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Contracting, Linear, identity
from neuralop.models import FNO
from solver_names import OF_CORRECTIONS
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner, Outcome, RefinementLoss, SpectralLoss, UNet, rollout
from neuralop_irno.correction.graph import MeshGraph
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.data.solvers.mesh_fields import waves
from neuralop_irno.models.rigno import RIGNO
from neuralop_irno.recipe import Recipe
from neuralop_irno.training.trainer import Trainer

CUDA = pytest.param(
    "cuda",
    marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")],
)


@pytest.fixture(params=["cpu", CUDA])
def device(request: pytest.FixtureRequest) -> str:
    return request.param


def grid_model(device: str, **options: Any) -> IterativeRefiner:
    torch.manual_seed(0)
    base = FNO(n_modes=(4, 4), in_channels=1, out_channels=1, hidden_channels=4, n_layers=1)
    phi = UNet(1, 1, width=4, depth=1)
    nn.init.normal_(phi.last.weight, std=0.1)
    return IterativeRefiner(base, phi, **{"steps": 3, "alpha": 0.5, **options}).to(device)


def fields(samples: int = 6, size: int = 8) -> FieldDataset:
    x = torch.randn(samples, 1, size, size, generator=torch.Generator().manual_seed(3))
    return FieldDataset(x, x.roll(1, -1) + 0.1 * x.square())


def test_law_1_the_rate_of_a_linear_problem(device: str) -> None:
    matrix = torch.diag(torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64))
    offset = torch.ones(3, dtype=torch.float64)
    model = IterativeRefiner(identity, Linear(matrix, offset), steps=60, alpha=0.5).to(device).eval()
    x = torch.zeros(2, 1, 3, dtype=torch.float64, device=device)
    rest = torch.linalg.solve(matrix, offset).to(device)
    errors = [(h - rest).norm() for h in model.iterates(x)]
    assert (errors[30] / errors[29]).item() == pytest.approx(0.75, abs=1e-6)
    assert model(x).device.type == device


@pytest.mark.parametrize("rule", ["checkpointed", "implicit"])
def test_law_2_gradients_agree(device: str, rule: str) -> None:
    gradients = []
    for gradient in (
        "unrolled",
        {"name": "implicit", "rtol": 1e-12, "backward_rtol": 1e-12} if rule == "implicit" else rule,
    ):
        torch.manual_seed(0)
        phi = Contracting(1, 1).to(device)
        model = IterativeRefiner(identity, phi, steps=60, alpha=0.8, gradient=gradient).train()
        x, y = torch.randn(2, 2, 1, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(
            device
        )
        (model(x, y=y).last - y).square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in phi.parameters()]))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-6, atol=1e-9)


def test_law_3_a_batch_equals_a_loop(device: str) -> None:
    model = grid_model(device).eval()
    x = fields().x.to(device)
    with torch.no_grad():
        loop = torch.cat([model(sample[None]) for sample in x])
        torch.testing.assert_close(model(x), loop, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(16,), (8, 9), (4, 6, 5)])
def test_law_4_the_spectral_loss_is_that_of_the_cpu(device: str, size: tuple[int, ...]) -> None:
    h, y = torch.randn(2, 3, 2, *size)
    loss = SpectralLoss()
    torch.testing.assert_close(loss(h.to(device), y.to(device)).cpu(), loss(h, y), rtol=1e-5, atol=1e-6)


def test_law_7_an_untrained_refiner_is_its_base(device: str) -> None:
    torch.manual_seed(0)
    base = FNO(n_modes=(4, 4), in_channels=1, out_channels=1, hidden_channels=4, n_layers=1).to(device)
    model = IterativeRefiner(base, "unet", steps=3).to(device).eval()
    x = fields().x.to(device)
    assert torch.equal(model(x), base(x))


@pytest.mark.parametrize("name", [name for name in OF_CORRECTIONS if name != "confidence"])  # of graphs
def test_law_13_forward_solve_and_iterates_agree(device: str, name: str) -> None:
    model = grid_model(
        device, solver=name, **({"alpha": None} if name in ("denoising", "flow") else {})
    ).eval()
    x = fields().x.to(device)
    calls = (model, lambda x: model.solve(x, steps=3).value, lambda x: model.iterates(x)[3])
    answers = []
    for call in calls:
        torch.manual_seed(1)  # of the noise, where there is any
        with torch.no_grad():
            answers.append(call(x))
    for answer in answers[1:]:
        torch.testing.assert_close(answer, answers[0], rtol=1e-4, atol=1e-5)


def test_each_sample_is_solved_to_its_tolerance(device: str) -> None:
    torch.manual_seed(0)
    model = IterativeRefiner(identity, Contracting(1, 1), alpha=0.9).to(device).eval()
    x = torch.randn(4, 1, 16, dtype=torch.float64, device=device)
    solution = model.solve(x, rtol=torch.tensor([1e-2, 1e-4, 1e-6, 1e-8], device=device), max_steps=200)
    assert set(solution.outcomes) == {Outcome.CONVERGED}
    assert solution.steps.tolist() == sorted(solution.steps.tolist())


TRAININGS = {
    "grid": {},
    "unrolled with a base that trains": {"gradient": "unrolled", "freeze_base": False},
    "implicit": {"gradient": "implicit"},
    "replay with the spectral loss": {"replay": 4.0},
}


@pytest.mark.filterwarnings("ignore:implicit gradient")  # this correction is no contraction yet
@pytest.mark.parametrize("kind", TRAININGS)
def test_a_training_on_a_grid(device: str, kind: str) -> None:
    options = dict(TRAININGS[kind])
    recipe = Recipe(epochs=2, batch_size=4, replay=options.pop("replay", 0.0))
    model = grid_model(device, **options)
    loss = RefinementLoss(spectral=0.5, fixed_point=0.1)
    history = Trainer(model, recipe, loss, device=device, show=False).fit(fields(), fields(2))
    assert all(torch.isfinite(torch.tensor(record["loss"])) for record in history)
    assert all(p.device.type == device for p in model.parameters())


def test_a_training_on_meshes(device: str) -> None:
    data = waves([3, 1, 1], spacing=0.2)
    base = RIGNO(in_channels=2, out_channels=1, width=8, steps=1, levels=2, time=False)
    phi = MeshGraph(2, 1, width=8, steps=1, dim=2)
    model = IterativeRefiner(base, phi, steps=2, alpha=0.5)
    loss = RefinementLoss(spectral=0.5, fixed_point=0.1)
    recipe = Recipe(epochs=1, batch_size=2, replay=4.0)
    history = Trainer(model, recipe, loss, device=device, show=False).fit(data["train"], data["valid"])
    assert torch.isfinite(torch.tensor(history[-1]["valid"][-1]))


def test_a_training_goes_on_from_its_snapshot(device: str, tmp_path: Path) -> None:
    loss = RefinementLoss(spectral=0.5)
    recipe = Recipe(epochs=2, batch_size=4, replay=4.0, save_every=1)

    def trainer() -> Trainer:
        return Trainer(grid_model(device), recipe, loss, tmp_path, device=device, show=False)

    whole = trainer()
    history = whole.fit(fields(), fields(2))
    again = trainer()
    assert again.fit(fields(), fields(2), resume=True) == history
    for mine, theirs in zip(again.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_rollout(device: str) -> None:
    model = grid_model(device).eval()
    state: Tensor = fields(2).x.to(device)
    result = rollout(model, state, steps=3)
    by_hand = state
    with torch.no_grad():
        for _ in range(3):
            by_hand = model(by_hand)
    torch.testing.assert_close(result.frames[:, -1].to(device), by_hand, rtol=1e-4, atol=1e-5)
