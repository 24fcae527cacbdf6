"""The step of a proximal correction is firmly non-expansive for all weights."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from conftest import identity
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner, RefinementLoss
from neuralop_irno.correction.proximal import Proximal
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.padding import MODES, fold, pad
from neuralop_irno.registry import GRADIENTS

SIZES = {1: (9,), 2: (4, 5), 3: (3, 2, 4)}
SCALES = (0.1, 1.0, 100.0)


def proximal(dim: int, scale: float = 1.0, **options: Any) -> Proximal:
    """A correction with random weights in double precision."""
    phi = Proximal(2, 2, **{"dim": dim, "width": 4, "kernel": 3, **options}).double()
    for parameter in phi.parameters():
        nn.init.normal_(parameter, std=scale)
    return phi


def fields(dim: int, samples: int = 3) -> Tensor:
    return torch.randn(samples, 2, *SIZES[dim], dtype=torch.float64)


def jacobian(phi: Proximal, x: Tensor, h: Tensor) -> Tensor:
    """dPhi/dh of one sample, as a matrix."""
    return torch.autograd.functional.jacobian(lambda at: phi(x, at), h).reshape(h.numel(), h.numel())


CASES = list(itertools.product(SIZES, MODES, (1, 2, 3)))


@pytest.mark.parametrize(("dim", "padding", "layers"), CASES)
@pytest.mark.parametrize("scale", SCALES)
def test_the_jacobian_is_symmetric_with_eigenvalues_between_0_and_1(
    dim: int, padding: str, layers: int, scale: float
) -> None:
    phi = proximal(dim, scale, padding=padding, layers=layers)
    x, h = fields(dim, 2).split(1)
    step = torch.eye(h.numel(), dtype=torch.float64) + jacobian(phi, x, h)
    torch.testing.assert_close(step, step.mT, rtol=0, atol=1e-12)
    values = torch.linalg.eigvalsh(step)
    assert values.min() >= -1e-12
    assert values.max() <= 1 + 1e-12


@pytest.mark.parametrize(("dim", "padding", "layers"), CASES)
@pytest.mark.parametrize("scale", SCALES)
def test_the_step_is_firmly_non_expansive(dim: int, padding: str, layers: int, scale: float) -> None:
    phi = proximal(dim, scale, padding=padding, layers=layers)
    x, a, way = fields(dim), fields(dim), fields(dim)
    for distance in (1e-3, 1.0, 1e3):
        b = a + distance * way
        across = a + phi(x, a) - b - phi(x, b)
        squares = across.square().flatten(1).sum(1)
        assert (squares <= (across * (a - b)).flatten(1).sum(1) * (1 + 1e-9) + 1e-18).all()


@pytest.mark.parametrize("dim", SIZES)
@pytest.mark.parametrize("layers", [1, 3])
def test_the_update_is_minus_the_gradient_of_the_potential(dim: int, layers: int) -> None:
    phi = proximal(dim, 0.7, layers=layers, padding=["reflect", "zero", "replicate"][:dim])
    x, h = fields(dim), fields(dim).requires_grad_()
    (slope,) = torch.autograd.grad(phi.potential(x, h).sum(), h)
    torch.testing.assert_close(phi(x, h), -slope)


def test_the_bound_is_reached_where_softplus_is_steepest() -> None:
    """One channel and one cell wide: the largest curvature is w W^2 / 4, and the factor is its inverse."""
    phi = Proximal(1, 1, dim=1, width=1, layers=1, kernel=1).double()
    nn.init.constant_(phi.kernels, 3.0)
    for parameter in phi.lift.parameters():
        nn.init.zeros_(parameter)
    zero = torch.zeros(1, 1, 1, dtype=torch.float64)
    assert jacobian(phi, zero, zero).item() == pytest.approx(-1.0)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.9])
@pytest.mark.parametrize("scale", [0.3, 100.0])
def test_residuals_never_grow(alpha: float, scale: float) -> None:
    phi = proximal(2, scale)
    x, h = fields(2), 10 * fields(2)
    sizes = []
    for _ in range(60):
        update = phi(x, h)
        sizes.append(update.square().flatten(1).sum(1))
        h = h + alpha * update
    assert (torch.stack(sizes).diff(dim=0) <= 1e-12 * sizes[0]).all()


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.9])
@pytest.mark.parametrize("dim", SIZES)
def test_it_converges_from_anywhere_to_a_known_minimiser(alpha: float, dim: int) -> None:
    """f is even around t: t is its minimiser. Residuals fall as fast as 1 / sqrt(k), or faster."""
    phi = proximal(dim, 0.02, layers=1, width=4)
    with torch.no_grad():
        phi.log_heights.fill_(2.0)
        half = phi.kernels[:2]
        half[:, :, *[1] * dim] += 0.5 * torch.eye(2).double()  # so that W h = 0 for h = 0 alone
        phi.kernels[2:] = -half
    x, t = fields(dim), fields(dim)
    around = phi.prepare(0 * x, GridDomain.of(x))
    linear = phi._values(around._replace(offsets=0 * around.offsets), t)[1][0]
    prepared = around._replace(offsets=-linear)
    assert phi(prepared, t).abs().max() < 1e-12
    h = t + 5 * fields(dim)
    first = (h - t).square().flatten(1).sum(1)
    distance = first
    with torch.no_grad():
        for k in range(400):
            update = phi(prepared, h)
            size = update.square().flatten(1).sum(1)
            assert (size <= first / ((k + 1) * alpha * (2 - alpha)) * (1 + 1e-9)).all()
            h = h + alpha * update
            now = (h - t).square().flatten(1).sum(1)
            assert (now <= distance + 1e-12 * first).all()
            distance = now
    assert (distance < 1e-9 * first).all()


def test_without_a_minimiser_there_is_no_fixed_point() -> None:
    """f(h) = softplus(h) falls for ever: residuals go to zero, and iterates to minus infinity."""
    phi = Proximal(1, 1, dim=1, width=1, layers=1, kernel=1).double()
    nn.init.ones_(phi.kernels)
    x = torch.zeros(1, 1, 1, dtype=torch.float64)
    model = IterativeRefiner(identity, phi).eval()
    states = torch.stack(list(model.iterates(x, steps=300))).flatten()
    assert (states.diff() < 0).all()
    assert states[-1] < states[150] - 0.5


@pytest.mark.parametrize("rule", sorted(set(GRADIENTS.names()) - {"from_truth"}))
@pytest.mark.filterwarnings("ignore:implicit gradient")
@pytest.mark.parametrize("dim", SIZES)
def test_training_can_begin_by_every_gradient_rule(rule: str, dim: int) -> None:
    options = {"n": 2} if rule == "last" else {}
    phi = Proximal(2, 2, dim=dim, width=4, kernel=3)
    model = IterativeRefiner(identity, phi, steps=3, gradient={"name": rule, **options})
    x, y = fields(dim).float(), fields(dim).float()
    assert torch.equal(model.eval()(x), x)  # it changes nothing before
    model.train()
    loss = RefinementLoss(fixed_point=0.1, contraction=0.1, monotone=0.1)
    loss(model(x, y=y), y).backward()
    grads = [p.grad for p in model.correction.parameters() if p.grad is not None]
    assert all(grad.isfinite().all() for grad in grads)
    assert sum(grad.square().sum() for grad in grads) > 0


@pytest.mark.parametrize("mode", MODES)
def test_folding_is_the_transpose_of_padding(mode: str) -> None:
    for n in (1, 2, 5):
        field, padded = torch.randn(1, 2, n).double(), torch.randn(1, 2, n + 5).double()
        around = pad(field, [mode], [(3, 2)])
        torch.testing.assert_close((around * padded).sum(), (field * fold(padded, [mode], [(3, 2)])).sum())
