"""m is the smallest eigenvalue of the symmetric part of A; training with its penalty raises it."""

from collections.abc import Callable

import pytest
import torch
from conftest import Linear, SmallNet, identity
from torch import Tensor

from neuralop_irno import IterativeRefiner, MonotoneLoss, RefinementLoss, Trajectory
from neuralop_irno.correction.correction import FunctionCorrection
from neuralop_irno.diagnostics.contraction import measure
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.tuples import TupleDomain

N = 6


def on(domain: Domain, y: Tensor, phi: Callable[[Tensor], Tensor]) -> Trajectory:
    """A trajectory of one iterate, of which the loss uses Phi."""
    return Trajectory((y,), (torch.ones(domain.samples),), domain, phi)


def line(samples: int = 2) -> tuple[GridDomain, Tensor]:
    y = torch.randn(samples, 1, N, dtype=torch.float64)
    return GridDomain.of(y), y


def lowest(a: Tensor) -> Tensor:
    return torch.linalg.eigvalsh((a + a.mT) / 2)[..., 0]


@pytest.mark.parametrize("seed", range(3))
def test_on_a_linear_correction_value_and_gradient_are_those_of_the_dense_eigenvalue(seed: int) -> None:
    torch.manual_seed(seed)
    domain, y = line()
    phi = Linear(torch.randn(N, N, dtype=torch.float64), torch.randn(N, dtype=torch.float64))
    loss = MonotoneLoss(margin=0.5, iterations=N)(on(domain, y, lambda h: phi(h, h)), y)
    dense = 2 * (0.5 - lowest(phi.matrix)).square()
    torch.testing.assert_close(loss, dense)
    (found,) = torch.autograd.grad(loss, [phi.matrix])
    (known,) = torch.autograd.grad(dense, [phi.matrix])
    torch.testing.assert_close(found, known, rtol=1e-8, atol=1e-10)


def test_at_a_nonlinear_correction_it_is_that_of_the_jacobian_at_the_truth() -> None:
    domain, y = line(1)
    net = SmallNet()
    loss = MonotoneLoss(margin=0.5, iterations=N)(on(domain, y, lambda h: net(y, h)), y)
    jacobian = torch.autograd.functional.jacobian(lambda h: net(y, h), y, create_graph=True).reshape(N, N)
    dense = (0.5 - lowest(-jacobian)).square()
    torch.testing.assert_close(loss, dense)
    for found, known in zip(
        torch.autograd.grad(loss, list(net.parameters())[:-1]),  # the last bias does not change the Jacobian
        torch.autograd.grad(dense, list(net.parameters())[:-1]),
        strict=True,
    ):
        torch.testing.assert_close(found, known, rtol=1e-7, atol=1e-10)


def weighted() -> dict[str, tuple[Domain, Tensor]]:
    """Domains whose cells and nodes differ in measure."""
    y = torch.randn(2, 1, N, dtype=torch.float64)
    measure_of = torch.rand(N, dtype=torch.float64) + 0.2
    batch = torch.tensor([0] * N + [1] * N)
    nodes = GraphDomain(batch, 2, measure=torch.cat([measure_of, measure_of]))
    grid = GridDomain(2, (N,), measure=measure_of)
    fields = TupleDomain([GridDomain(2, (4,)), GridDomain(2, (2,))], [1, 1])
    return {"grid": (grid, y), "graphs": (nodes, y.reshape(2 * N, 1)), "fields of two sizes": (fields, y)}


@pytest.mark.parametrize("kind", weighted())
def test_the_quotient_is_that_of_the_norm_of_the_domain(kind: str) -> None:
    domain, y = weighted()[kind]
    a = torch.randn(N, N, dtype=torch.float64)

    def phi(h: Tensor) -> Tensor:
        return -(h.reshape(2, N) @ a.T).reshape(h.shape)

    weight = domain.weights(y).reshape(2, N)[0].sqrt()
    known = lowest(weight[:, None] * a / weight)
    loss = MonotoneLoss(margin=9.0, iterations=N).per_sample(on(domain, y, phi), y)
    torch.testing.assert_close(loss, (9.0 - known).square().expand(2))
    bound = FunctionCorrection(lambda x, h: phi(h)).bind(y, domain)
    found = measure(bound, [y + 1], y, torch.ones(2, dtype=torch.float64), iterations=N).monotonicity
    torch.testing.assert_close(found, known.expand(2))


def test_outside_of_a_mask_nothing_counts() -> None:
    domain, y = line(1)
    mask = torch.tensor([True] * 4 + [False] * 2).expand(1, 1, N)
    a = torch.randn(N, N, dtype=torch.float64)
    loss = MonotoneLoss(margin=9.0, iterations=N)
    found = loss(on(domain.masked(mask), y, lambda h: -h @ a.T), y)
    torch.testing.assert_close(found, (9.0 - lowest(a[:4, :4])).square())


def test_more_iterations_come_down_to_the_smallest_eigenvalue() -> None:
    y = torch.zeros(1, 1, 200, dtype=torch.float64)
    values = torch.linspace(-1, 3, 200, dtype=torch.float64)
    path = on(GridDomain.of(y), y, lambda h: -values * h)
    losses = []
    for iterations in (1, 2, 4, 8, 16, 32):
        torch.manual_seed(0)
        losses.append(MonotoneLoss(margin=3.0, iterations=iterations)(path, y).item())
    assert losses == sorted(losses)
    assert losses[-1] == pytest.approx(16, rel=1e-2)


def test_zero_and_multiples_of_the_identity_have_finite_gradients() -> None:
    domain, y = line()
    scale = torch.zeros((), dtype=torch.float64, requires_grad=True)
    loss = MonotoneLoss(margin=0.3, iterations=4)(on(domain, y, lambda h: -scale * h), y)
    torch.testing.assert_close(loss.item(), 2 * 0.3**2)
    (slope,) = torch.autograd.grad(loss, [scale])
    torch.testing.assert_close(slope.item(), -2 * 2 * 0.3)


@pytest.mark.parametrize("seed", range(3))
def test_training_with_it_raises_m_to_the_margin(seed: int) -> None:
    torch.manual_seed(seed)
    correction = SmallNet()
    model = IterativeRefiner(identity, correction, steps=2, alpha=0.5).train()
    x = torch.randn(8, 1, 12, dtype=torch.float64)
    optimizer = torch.optim.Adam(correction.parameters(), lr=1e-2)
    loss = RefinementLoss(spatial=0.0, monotone=1.0, monotone_margin=0.3)

    def smallest() -> float:
        bound = correction.bind(x, GridDomain.of(x))
        return measure(bound, [x + 1], x, torch.ones(8, dtype=torch.float64), 12).monotonicity.min().item()

    before = smallest()
    for _ in range(200):
        optimizer.zero_grad()
        loss(model(x, y=x), x).backward()
        optimizer.step()
    assert before < 0.05
    assert smallest() > 0.2
    assert sorted(loss.parts) == ["monotone"]
    assert loss.eval()(x, x).item() == 0.0  # a plain prediction has no correction


def test_it_can_be_watched_without_gradients() -> None:
    domain, y = line()
    net = SmallNet()
    with torch.no_grad():
        assert MonotoneLoss(margin=5.0)(on(domain, y, lambda h: net(y, h)), y).item() > 0
        assert MonotoneLoss()(y, y).item() == 0.0


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="a margin >= 0"):
        MonotoneLoss(margin=-1.0)
    with pytest.raises(ValueError, match="iterations >= 1"):
        RefinementLoss(monotone=0.1, monotone_iterations=0)


def test_an_empty_batch_has_no_loss() -> None:
    domain, y = line(0)
    assert MonotoneLoss()(on(domain, y, lambda h: -h), y).item() == 0
