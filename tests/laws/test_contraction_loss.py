"""Penalties on a step's Jacobian are the norms of known matrices; lowering them makes a step contract."""

from dataclasses import replace

import pytest
import torch
from conftest import Linear, SmallNet, identity, zero
from torch_geometric.nn import GraphConv

from neuralop_irno import (
    ContractionLoss,
    FrechetLoss,
    IterativeRefiner,
    JacobianLoss,
    PicardNetwork,
    RefinementLoss,
    Trajectory,
)
from neuralop_irno.losses.loss import Loss


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


def dense(model: IterativeRefiner, x: torch.Tensor, h: torch.Tensor, alpha: float) -> torch.Tensor:
    """The Jacobians of one step at h, sample by sample, ``(B, n, n)``."""

    def step(one: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        return (at + alpha * model.correction(one[None], at[None])[0]).flatten()

    each = [
        torch.autograd.functional.jacobian(lambda at, one=one: step(one, at), h0)
        for one, h0 in zip(x, h, strict=True)
    ]
    return torch.stack([jacobian.reshape(x[0].numel(), -1) for jacobian in each])


def curved() -> tuple[IterativeRefiner, Trajectory, torch.Tensor, torch.Tensor]:
    x, y = torch.randn(2, 3, 1, 5, dtype=torch.float64)
    model = IterativeRefiner(identity, SmallNet(), steps=2, alpha=0.6, gradient="unrolled").train()
    trajectory = model(x, y=y)
    return model, trajectory, y, dense(model, x, trajectory.last.detach(), 0.6)


def test_the_jacobian_loss_is_its_frobenius_norm() -> None:
    _, trajectory, y, jacobians = curved()
    exact = jacobians.square().sum((1, 2)) / 5
    draws = JacobianLoss(probes=3000).per_sample(trajectory, y)
    torch.testing.assert_close(draws, exact, rtol=0.05, atol=0)


def test_the_jacobian_loss_of_one_dimension_is_exact_and_so_is_its_gradient() -> None:
    slope = torch.tensor([[0.3]], dtype=torch.float64)
    model = IterativeRefiner(zero, Linear(slope, torch.ones(1).double()), steps=1, alpha=0.5).train()
    x = torch.zeros(2, 1, 1, dtype=torch.float64)
    loss = JacobianLoss(reduction="mean")(model(x, y=x), x)
    assert loss.item() == pytest.approx(0.85**2)
    loss.backward()
    assert model.correction.matrix.grad.item() == pytest.approx(-2 * 0.5 * 0.85)


def test_the_frechet_loss_is_the_share_of_the_error_that_a_step_leaves() -> None:
    _, trajectory, y, jacobians = curved()
    error = (trajectory.last.detach() - y).flatten(1)
    left = torch.einsum("bij,bj->bi", jacobians, error)
    exact = left.square().sum(1) / error.square().sum(1)
    torch.testing.assert_close(FrechetLoss().per_sample(trajectory, y), exact)
    # A target of zero asks the same of this direction.
    hinge = ContractionLoss(0.0, "error").per_sample(trajectory, y)
    torch.testing.assert_close(hinge, exact)


def test_the_power_direction_comes_close_to_the_norm() -> None:
    _, trajectory, y, jacobians = curved()
    norm = torch.linalg.matrix_norm(jacobians, 2)
    draws = torch.stack([ContractionLoss(0.0).per_sample(trajectory, y).sqrt() for _ in range(50)])
    assert (draws <= norm * (1 + 1e-12)).all()
    assert (draws.amax(0) > 0.95 * norm).all()


@pytest.mark.parametrize("loss", [JacobianLoss(), FrechetLoss()])
def test_gradients_of_the_norms_are_what_finite_differences_say(loss: JacobianLoss | FrechetLoss) -> None:
    model, trajectory, y, _ = curved()
    x = torch.randn(3, 1, 5, dtype=torch.float64)
    names = [name for name, _ in model.correction.named_parameters()]

    def value(*values: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        state = dict(zip(names, values, strict=True))

        def phi(h: torch.Tensor) -> torch.Tensor:
            return torch.func.functional_call(model.correction, state, (x, h))

        return loss(replace(trajectory, phi=phi), y)

    assert torch.autograd.gradcheck(value, list(model.correction.parameters()))


@pytest.mark.parametrize("loss", [ContractionLoss(0.0, "error"), FrechetLoss()])
def test_where_there_is_no_error_there_is_nothing_to_shrink(loss: ContractionLoss | FrechetLoss) -> None:
    _, trajectory, _, _ = curved()
    assert loss(trajectory, trajectory.last.detach()).item() < 1e-100


@pytest.mark.parametrize("loss", [ContractionLoss(0.0), JacobianLoss(), FrechetLoss()])
def test_they_can_be_watched_without_gradients(loss: Loss) -> None:
    _, trajectory, y, _ = curved()
    with torch.no_grad():
        assert loss(trajectory, y).item() > 0
        assert loss(y, y).item() == 0.0


def test_on_graphs_every_graph_has_a_jacobian_of_its_own() -> None:
    sizes, edges = (3, 5), [torch.tensor([[0, 1], [1, 2]]), torch.tensor([[0, 1, 4, 3], [2, 0, 1, 1]])]
    conv = GraphConv(2, 2).double()
    words = {"edge_index": torch.cat([edges[0], edges[1] + 3], 1), "batch": torch.tensor([0] * 3 + [1] * 5)}
    network = PicardNetwork(conv, smoothing=0.3, weight=0.7, steps=1).train()
    x, y = torch.randn(2, 8, 2, dtype=torch.float64)
    trajectory = network.trajectory(x, **words)
    loss = FrechetLoss().per_sample(trajectory, y)
    for i, (start, n) in enumerate(zip((0, 3), sizes, strict=True)):
        rows = slice(start, start + n)
        at = x[rows]
        jacobian = torch.autograd.functional.jacobian(lambda u, e=edges[i]: conv(u, e), at)
        matrix = 0.3 * torch.eye(2 * n) + 0.7 * 0.7 * jacobian.reshape(2 * n, 2 * n)
        error = (trajectory.last[rows] - y[rows]).detach().flatten()
        exact = (matrix @ error).square().sum() / error.square().sum()
        torch.testing.assert_close(loss[i], exact, rtol=1e-6, atol=1e-9)
    frobenius = JacobianLoss(probes=4000).per_sample(trajectory, y)
    exact = matrix.square().sum() / len(matrix)
    torch.testing.assert_close(frobenius[1], exact, rtol=0.05, atol=0)
