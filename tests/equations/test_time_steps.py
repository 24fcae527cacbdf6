"""Implicit steps in time by name: their residuals, derivatives, orders, and what they keep."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.equations.equation import BoundEquation, equation_from

NONLINEAR = {
    "burgers_step": (6,),
    "navier_stokes_step": (4, 5),
}
ALL = {**NONLINEAR, "heat_step": (6,)}
OPTIONS: dict[str, dict[str, Any]] = {
    "burgers_step": {"viscosity": 0.05},
    "navier_stokes_step": {"viscosity": 0.01, "forcing": True},
    "heat_step": {"diffusivity": 0.1, "boundary": "periodic"},
}
every_rule = pytest.mark.parametrize("theta", [0.5, 1.0])


def state(name: str, samples: int = 2, shape: tuple[int, ...] | None = None) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = ALL[name] if shape is None else shape
    return torch.randn(samples, 2, *shape, generator=generator, dtype=torch.float64)


def bound(name: str, theta: float, x: Tensor, dt: float = 0.05) -> BoundEquation:
    equation = equation_from({"name": name, "dt": dt, "theta": theta, **OPTIONS[name]})
    return equation.bind(x, GridDomain.of(x, (2.0, 1.0)[: x.dim() - 2]))


def by_newton(equation: BoundEquation, start: Tensor) -> Tensor:
    """The solution of one sample by Newton's method with the dense Jacobian."""
    h = start
    for _ in range(20):
        jacobian = torch.autograd.functional.jacobian(equation, h).reshape(h.numel(), h.numel())
        h = h - torch.linalg.solve(jacobian, equation(h).flatten()).reshape(h.shape)
    return h


@every_rule
@pytest.mark.parametrize("name", ALL)
def test_products_with_a_are_those_of_the_dense_jacobian(name: str, theta: float) -> None:
    x = state(name, samples=1)
    equation, h = bound(name, theta, x), x[:, 1:]
    jacobian = torch.autograd.functional.jacobian(equation, h).reshape(h.numel(), h.numel())
    v = torch.randn(h.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    product = equation.linearised(h)(v)
    assert torch.allclose(product.flatten(), -jacobian @ v.flatten(), rtol=0, atol=1e-11)


@every_rule
@pytest.mark.parametrize("name", ALL)
def test_the_residual_is_zero_at_the_solution_of_newton_and_samples_stand_alone(
    name: str, theta: float
) -> None:
    x = state(name)
    equation = bound(name, theta, x)
    alone = [equation.select(torch.tensor([i])) for i in range(len(x))]
    found = torch.cat([by_newton(each, x[i : i + 1, :1]) for i, each in enumerate(alone)])
    assert equation(found).abs().max() < 1e-12
    for i, each in enumerate(alone):
        assert torch.allclose(each(x[i : i + 1, 1:]), equation(x[:, 1:])[i : i + 1], rtol=0, atol=1e-13)


@every_rule
@pytest.mark.parametrize("name", NONLINEAR)
def test_derivatives_of_nonlinear_residuals(name: str, theta: float) -> None:
    x = state(name, samples=1)
    h = x[:, 1:].clone().requires_grad_()
    equation = bound(name, theta, x)
    assert gradcheck(equation, h)
    assert gradgradcheck(equation, h)


@pytest.mark.parametrize("name", NONLINEAR)
def test_the_mean_is_kept_without_forcing(name: str) -> None:
    x = state(name, samples=1)
    x[:, 1:] = 0.0  # the forcing
    solved = by_newton(bound(name, 0.5, x), x[:, :1])
    assert solved.mean().item() == pytest.approx(x[:, 0].mean().item(), abs=1e-13)


@pytest.mark.parametrize(("theta", "order"), [(0.5, 2), (1.0, 1)])
@pytest.mark.parametrize("name", ALL)
def test_the_order_in_time_is_that_of_the_rule(name: str, theta: float, order: int) -> None:
    """Up to time 0.08 on one grid, against 64 steps of the midpoint rule."""
    x = 0.5 * state(name, samples=1)
    x[:, 1:] = 0.0

    def at_the_end(steps: int, rule: float) -> Tensor:
        now = x
        for _ in range(steps):
            solved = by_newton(bound(name, rule, now, 0.08 / steps), now[:, :1])
            now = torch.cat([solved, x[:, 1:]], 1)
        return now[:, :1]

    exact = at_the_end(64, 0.5)
    errors = [float((at_the_end(steps, theta) - exact).norm()) for steps in (4, 8)]
    assert order - 0.3 < torch.tensor(errors[0] / errors[1]).log2() < order + 0.4, errors


def test_a_vortex_of_one_frequency_decays_as_known() -> None:
    """w = sin(2 pi x) sin(2 pi y) is steady but for its decay, exp(-8 pi^2 nu t)."""
    n, nu, dt = 8, 0.01, 0.1
    points = torch.arange(n, dtype=torch.float64) / n
    wave = (2 * torch.pi * points).sin()
    w = (wave[:, None] * wave)[None, None]
    step = equation_from({"name": "navier_stokes_step", "dt": dt, "viscosity": nu})
    rate = 8 * torch.pi**2 * nu
    after = w * (1 - dt * rate / 2) / (1 + dt * rate / 2)
    assert step.bind(w, GridDomain.of(w))(after).abs().max() < 1e-13


def test_a_heat_step_is_a_diffusion_of_every_frequency() -> None:
    n, nu, dt, theta = 8, 0.3, 0.02, 0.75
    points = torch.arange(n, dtype=torch.float64) / n
    u = (4 * torch.pi * points).cos()[None, None]
    value = dt * nu * (2 * n * torch.sin(torch.tensor(2 * torch.pi / n, dtype=torch.float64))) ** 2
    after = u * (1 - (1 - theta) * value) / (1 + theta * value)
    options = {"dt": dt, "diffusivity": nu, "theta": theta, "boundary": "periodic"}
    step = equation_from({"name": "heat_step", **options})
    assert step.bind(u, GridDomain.of(u))(after).abs().max() < 1e-13


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dt": 0.0}, "dt > 0, got 0.0; try"),
        ({"theta": 0.0}, r"theta in \(0, 1\], got 0.0; try"),
        ({"viscosity": -1.0}, "viscosity >= 0, got -1.0; try"),
        ({"theda": 1.0}, "an option of equation '.*', got 'theda'; try 'theta'"),
    ],
)
@pytest.mark.parametrize("name", NONLINEAR)
def test_wrong_options_of_steps_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        equation_from({"name": name, "dt": 0.1, **OPTIONS[name], **options})


@pytest.mark.parametrize("name", NONLINEAR)
def test_other_dimensions_are_refused(name: str) -> None:
    x = torch.zeros(1, 2, 2, 2, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match=f"for {name}, got 3 axes; try"):
        equation_from({"name": name, "dt": 0.1, **OPTIONS[name]}).bind(x, GridDomain.of(x))
