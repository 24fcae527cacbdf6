"""Integral and integro-differential equations with known solutions, to the last digits in float64."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neuralop_irno import NIDE, NIE, KernelNetwork, PicardNetwork, Quadrature

ONE_SENTENCE = r"^expected [^\n]+, got [^\n]+; try [^\n]+$"
Function = Callable[..., Tensor]
LEGENDRE, PAST = Quadrature.gauss_legendre(16), Quadrature.gauss_legendre(16, causal=True)


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *given: Tensor) -> Tensor:
        return self.function(*given)


def solved(block: nn.Module, start: Tensor, *rules: Quadrature) -> Tensor:
    solution = (
        PicardNetwork(block, smoothing=0.0, inject=True)
        .eval()
        .solve(start[None], *rules, atol=1e-13, max_steps=200)
    )
    assert solution.good.all()
    return solution.value[0]


@pytest.mark.parametrize("points", [1, 2, 5, 16])
def test_legendre_rules_are_exact_for_polynomials(points: int) -> None:
    whole, past = (Quadrature.gauss_legendre(points, causal=causal) for causal in (False, True))
    t = whole.positions[:, 0]
    torch.testing.assert_close(past.positions, whole.positions)
    for degree in range(2 * points):
        torch.testing.assert_close(whole.weights @ t**degree, torch.full_like(t, 1 / (degree + 1)))
    for degree in range(points):
        torch.testing.assert_close(past.weights @ t**degree, t ** (degree + 1) / (degree + 1))


@pytest.mark.parametrize("points", [2, 3, 9])
def test_the_trapezoidal_rule_is_exact_for_lines(points: int) -> None:
    whole, past = (Quadrature.trapezoid(points, causal=causal) for causal in (False, True))
    t = whole.positions[:, 0]
    torch.testing.assert_close(whole.weights @ (1 + t), torch.full_like(t, 1.5))
    torch.testing.assert_close(past.weights @ (1 + t), t + t**2 / 2)


def test_the_product_of_rules_integrates_over_space_and_the_past() -> None:
    rule = (
        Quadrature.gauss_legendre(3)
        * Quadrature.gauss_legendre(4)
        * Quadrature.gauss_legendre(5, causal=True)
    )
    x, y, t = rule.positions.T
    torch.testing.assert_close(rule.weights @ (x * y**2 * t**3), t**4 / 24)


EQUATIONS: dict[str, tuple[Function, Quadrature, Function, Function]] = {
    # G(y, t, s), the rule, f, and the solution
    "Fredholm": (lambda y, t, s: 0.5 * t * s * y, LEGENDRE, lambda t: t.exp() - 0.5 * t, torch.exp),
    "Volterra": (lambda y, t, s: y, PAST, torch.ones_like, torch.exp),
    "Volterra with a kernel": (lambda y, t, s: (s - t) * y, PAST, lambda t: t, torch.sin),
    "nonlinear Volterra": (lambda y, t, s: 0.5 + 0.5 * y**2, PAST, torch.zeros_like, lambda t: (t / 2).tan()),
    "nonlinear Fredholm": (
        lambda y, t, s: 0.2 * t * y**2, LEGENDRE, lambda t: t.exp() - 0.1 * t * (torch.e**2 - 1), torch.exp,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(EQUATIONS))
def test_integral_equations_are_solved_to_the_last_digits(name: str) -> None:
    kernel, rule, free, truth = EQUATIONS[name]
    t = rule.positions
    torch.testing.assert_close(solved(NIE(Call(kernel)), free(t), rule), truth(t), rtol=0, atol=1e-11)


def test_an_equation_in_space_and_time_with_a_local_part() -> None:
    """y = x/2 + y/2 + the integral of x z y(z, s) / 4, over z and s below t: y = x e^{t/6}."""
    rule = Quadrature.gauss_legendre(4) * Quadrature.gauss_legendre(10, causal=True)
    x, t = rule.positions.split(1, 1)
    block = NIE(Call(lambda y, p, q: 0.25 * p[..., :1] * q[..., :1] * y), Call(lambda y, p: 0.5 * y))
    torch.testing.assert_close(solved(block, 0.5 * x, rule), x * (t / 6).exp(), rtol=0, atol=1e-11)


DIFFERENTIAL: dict[str, tuple[Function, Function | None, Quadrature, float, Function]] = {
    # G(y, t, s), F(y, t), the rule of G, y(0), and the solution
    "of the past": (lambda y, t, s: -y, None, PAST, 1.0, torch.cos),
    "of all times": (lambda y, t, s: 0.5 * t.exp() * s * y, lambda y, t: 0.5 * y, LEGENDRE, 1.0, torch.exp),
    "without an integral": (
        lambda y, t, s: 0 * y, lambda y, t: -2 * t * y, PAST, 3.0, lambda t: 3 * (-(t**2)).exp(),
    ),
    "nonlinear": (
        lambda y, t, s: y * (1 + y**2) / 2, lambda y, t: 0.5 + 0 * y, PAST, 0.0, lambda t: (t / 2).tan(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(DIFFERENTIAL))
def test_integro_differential_equations_are_solved_to_the_last_digits(name: str) -> None:
    kernel, local, rule, initial, truth = DIFFERENTIAL[name]
    t = rule.positions
    block = NIDE(Call(kernel), None if local is None else Call(local))
    found = solved(block, torch.full_like(t, initial), rule, PAST)
    torch.testing.assert_close(found, truth(t), rtol=0, atol=1e-10)


def test_an_integro_differential_equation_in_space_and_time() -> None:
    """dy/dt = the integral of x z y(z, t) over z and s below t, times -3, with y(0) = x: y = x cos t."""
    time = Quadrature.gauss_legendre(14, causal=True)
    rule = Quadrature.gauss_legendre(3) * time
    x, t = rule.positions.split(1, 1)
    block = NIDE(Call(lambda y, p, q: -3 * p[..., :1] * q[..., :1] * y))
    torch.testing.assert_close(solved(block, x, rule, time), x * t.cos(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["Fredholm", "Volterra"])
def test_the_trapezoidal_rule_is_of_the_second_order(name: str) -> None:
    kernel, rule, free, truth = EQUATIONS[name]
    errors = []
    for points in (11, 21, 41):
        rule = Quadrature.trapezoid(points, causal=name == "Volterra")
        errors.append(
            (solved(NIE(Call(kernel)), free(rule.positions), rule) - truth(rule.positions)).abs().max()
        )
    assert 3.9 < errors[0] / errors[1] < 4.1
    assert 3.9 < errors[1] / errors[2] < 4.1


@pytest.mark.parametrize("causal", [False, True])
def test_the_error_of_random_nodes_falls_like_the_root_of_their_number(causal: bool) -> None:
    kernel, _, free, truth = EQUATIONS["Volterra" if causal else "Fredholm"]
    mean = []
    for points in (50, 800):
        squares = []
        for seed in range(24):
            generator = torch.Generator().manual_seed(seed)
            rule = Quadrature.monte_carlo(points, causal=causal, generator=generator)
            t = rule.positions
            squares.append((solved(NIE(Call(kernel)), free(t), rule) - truth(t)).square().mean())
        mean.append(torch.stack(squares).mean().sqrt())
    assert 2.4 < mean[0] / mean[1] < 6.5  # 4, from 24 draws


@pytest.mark.parametrize("kind", [NIE, NIDE])
def test_a_network_as_the_integrand_learns_on_one_rule_and_is_used_on_another(kind: Any) -> None:
    local = Call(lambda y, p: 0.1 * y)
    network = PicardNetwork(kind(KernelNetwork(2, 1, 8), local).double(), steps=30, inject=True)

    def answer(points: int, samples: slice = slice(None)) -> Tensor:
        time = Quadrature.gauss_legendre(points, causal=True)
        f = torch.stack([time.positions.sin(), time.positions**2, 1 - time.positions])[samples]
        return network(f.expand(-1, -1, 2), *[time] * (1 if kind is NIE else 2))

    answer(6).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    torch.testing.assert_close(answer(6)[1:2], answer(6, slice(1, 2)))
    network.eval()
    ends = [Quadrature.gauss_legendre(n).weights[0] @ answer(n).double() for n in (8, 12)]
    torch.testing.assert_close(*ends, rtol=1e-6, atol=1e-6)


TWO = torch.zeros(1, 16, 1)
MISTAKES: dict[str, Callable[[], Any]] = {
    "values (B, 16, C) at the nodes of the rule, got (1, 5, 1)": lambda: NIE(nn.Bilinear(1, 1, 1))(
        TWO[:, :5], PAST
    ),
    "a rule of time with the nodes of the last axis": lambda: NIDE(nn.Tanh())(
        TWO, PAST, Quadrature.trapezoid(16)
    ),
    "points >= 1, got 0": lambda: Quadrature.gauss_legendre(0),
    "points >= 2, got 1": lambda: Quadrature.trapezoid(1),
    "dim >= 1, got 0": lambda: Quadrature.monte_carlo(4, 0),
}


@pytest.mark.parametrize("message", list(MISTAKES))
def test_mistakes_are_answered_in_one_sentence(message: str) -> None:
    with pytest.raises(ValueError, match=ONE_SENTENCE) as caught:
        MISTAKES[message]()
    assert re.search(re.escape(message), str(caught.value))
