"""The contraction loss is the stretch of known matrices, and lowering it makes a step contract."""

import pytest
import torch
from conftest import Linear, SmallNet, identity, zero

from neuralop_irno import ContractionLoss, IterativeRefiner, RefinementLoss


def stretched(matrix: torch.Tensor, alpha: float, **options: object) -> torch.Tensor:
    model = IterativeRefiner(zero, Linear(matrix, torch.ones(len(matrix)).double()), steps=1, alpha=alpha)
    x = torch.zeros(64, 1, len(matrix), dtype=torch.float64)
    y = torch.randn_like(x)
    trajectory = model.train()(x, y=y)
    return ContractionLoss(**{"target": 0.0, "reduction": "mean", **options})(trajectory, y)


def test_in_every_direction_of_a_scaled_identity_it_is_the_same_number() -> None:
    for direction in ("power", "random", "error"):
        loss = stretched(0.5 * torch.eye(4).double(), alpha=0.8, direction=direction)
        assert loss.item() == pytest.approx(0.6**2)
        within = stretched(0.5 * torch.eye(4).double(), alpha=0.8, direction=direction, target=0.7)
        assert within.item() == 0.0


def test_power_finds_the_norm_and_random_the_mean_square() -> None:
    values = torch.tensor([0.0, 0.9, 0.9, 0.9], dtype=torch.float64)
    step = 1 - values  # J = diag(1, .1, .1, .1)
    matrix = torch.diag(values)
    assert 0.9 < stretched(matrix, 1.0).item() <= 1 + 1e-9
    mean = stretched(matrix, 1.0, direction="random").item()
    assert 0.5 * step.square().mean() < mean < 2 * step.square().mean()


@pytest.mark.parametrize("direction", ["power", "random", "error"])
def test_its_gradient_is_what_finite_differences_say(direction: str) -> None:
    x, y = torch.randn(2, 2, 1, 5, dtype=torch.float64)
    model = IterativeRefiner(identity, SmallNet(), steps=2, alpha=0.6, gradient="unrolled").train()
    with torch.no_grad():
        at = model(x, y=y)  # the iterate is a constant for this loss
    parameters = list(model.correction.parameters())
    names = [name for name, _ in model.correction.named_parameters()]

    def loss(*values: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        state = dict(zip(names, values, strict=True))

        def phi(h: torch.Tensor) -> torch.Tensor:
            return torch.func.functional_call(model.correction, state, (x, h))

        return ContractionLoss(0.1, direction)(type(at)(**{**vars(at), "phi": phi}), y)

    if direction != "power":  # whose direction moves with the weights, and is held constant on purpose
        assert torch.autograd.gradcheck(loss, parameters)
    assert all(g.abs().sum() > 0 for g in torch.autograd.grad(loss(*parameters), parameters[:-1]))


def test_lowering_it_makes_the_step_contract() -> None:
    torch.manual_seed(0)
    correction = SmallNet()
    for parameter in correction.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    model = IterativeRefiner(identity, correction, steps=2, alpha=1.0).train()
    loss = RefinementLoss(spatial=0.0, contraction=1.0, contraction_target=0.5)
    optimizer = torch.optim.Adam(model.correction.parameters(), lr=2e-2)
    x = torch.randn(16, 1, 12, dtype=torch.float64)
    values = []
    for _ in range(150):
        optimizer.zero_grad()
        value = loss(model(x, y=x), x)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert sum(values[-10:]) < 0.1 * sum(values[:10])
    assert "contraction" in loss.parts
    assert loss(x, x).item() == 0.0  # a plain prediction has no step


def test_a_decaying_step_comes_to_rest_whatever_the_correction_does() -> None:
    away = Linear(torch.zeros(2, 2).double(), torch.ones(2).double())  # Phi = 1: it never rests by itself
    alpha = {"name": "decaying", "value": 1.0, "after": 3, "ratio": 0.5}
    model = IterativeRefiner(zero, away, steps=200, alpha=alpha).eval()
    x = torch.zeros(1, 1, 2, dtype=torch.float64)
    assert model(x).flatten().tolist() == pytest.approx([3 + 2, 3 + 2])
    assert bool(model.solve(x, rtol=1e-6).good)


def test_spectral_normalisation_holds_every_kernel() -> None:
    words = {"name": "unet", "width": 4, "depth": 1, "spectral_norm": True}
    model = IterativeRefiner(identity, words, in_channels=1, out_channels=1)
    x = torch.randn(2, 1, 8, 8)
    for _ in range(30):
        model.train()(x, y=x)
    for name, part in model.correction.named_modules():
        if hasattr(part, "modes"):
            assert torch.linalg.matrix_norm(part.weight.flatten(1), 2).item() < 1.1, name
