"""Absolute tolerances, and numbers of steps that are known before the first one."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neuralop_irno import MODELS, PicardNetwork, lipschitz_bound
from neuralop_irno.networks.bounds import steps_to

ONE_SENTENCE = r"^expected [^\n]+, got [^\n]+; try [^\n]+$"


def times(factor: float) -> nn.Module:
    block = nn.Linear(3, 3, bias=False).double()
    with torch.no_grad():
        block.weight.copy_(factor * torch.eye(3, dtype=torch.float64))
    return block


@pytest.mark.parametrize("factor", [0.0, 0.1, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_a_fixed_point_of_zero_is_found_where_steps_fall_below_the_absolute_tolerance(
    factor: float, smoothing: float
) -> None:
    """|u_{n+1} - u_n| = (1 - q) q^n |x| with q = a + (1 - a) k, so that n is known."""
    q, start = smoothing + (1 - smoothing) * factor, torch.tensor([1.0, 100.0], dtype=torch.float64)
    network = PicardNetwork(times(factor), smoothing=smoothing, steps=2000, atol=1e-3).eval()
    solution = network.solve(start[:, None].expand(2, 3))
    wanted = [next(n for n in range(2000) if (1 - q) * q**n * size < 1e-3) + 1 for size in start.tolist()]
    assert solution.good.all()
    assert solution.steps.tolist() == wanted
    torch.testing.assert_close(network(start[:, None].expand(2, 3)), solution.value)


def test_a_relative_tolerance_does_not_find_a_fixed_point_of_zero() -> None:
    block, x = times(0.6), torch.ones(1, 3, dtype=torch.float64)
    relative = PicardNetwork(block, smoothing=0.0, steps=200, tol=1e-3).eval().solve(x)
    both = PicardNetwork(block, smoothing=0.0, steps=200, tol=1e-3, atol=1e-3).eval().solve(x)
    assert (relative.good.tolist(), relative.steps.tolist()) == ([False], [200])
    assert (both.good.tolist(), both.steps.tolist()) == ([True], [13])


WRAPPERS: dict[str, dict[str, Any]] = {
    "pign": {"width": 4},
    "picard_vit": {"patch": 2, "width": 8, "heads": 2},
    "anie": {"patch": 2, "width": 8, "heads": 2},
}


@pytest.mark.parametrize("name", list(WRAPPERS))
def test_networks_by_name_take_an_absolute_tolerance(name: str) -> None:
    options = {"name": name, "steps": 300, "atol": 1e9, **WRAPPERS[name]}
    network = MODELS.build(options, in_channels=2, out_channels=1).eval()
    graph = torch.randn(3, 2), torch.tensor([[0, 1], [1, 2]])
    solution = network.solve(*graph if name == "pign" else (torch.randn(1, 2, 4, 4),))
    assert solution.steps.tolist() == [1]


class Sine(nn.Module):
    """T(u) = M sin(k u / M): its constant is k, and |T| <= M in every component."""

    def __init__(self, lipschitz: float, largest: float) -> None:
        super().__init__()
        self.lipschitz, self.largest = lipschitz, largest

    def forward(self, u: Tensor) -> Tensor:
        return self.largest * torch.sin(self.lipschitz / self.largest * u)


@pytest.mark.parametrize("smoothing", [0.0, 0.4])
@pytest.mark.parametrize(
    ("weight", "lipschitz", "largest"),
    [(0.5, 1.0, 3.0), (2.0, 0.3, 1.0), (-3.0, 0.25, 0.2), (0.9, 0.9, 10.0)],
)
def test_one_number_of_steps_is_enough_for_every_free_function(
    smoothing: float, weight: float, lipschitz: float, largest: float
) -> None:
    network = PicardNetwork(Sine(lipschitz, largest), smoothing=smoothing, weight=weight, inject=True).eval()
    free = torch.randn(50, 4, dtype=torch.float64) * torch.logspace(-3, 3, 50, dtype=torch.float64)[:, None]
    for error in (1.0, 1e-3, 1e-9):
        steps = network.steps_to(error, lipschitz=lipschitz, largest=largest)
        u = network.solve(free, steps=steps).value
        residual = (weight * network.block(u) + free - u).square().mean(1).sqrt()
        assert (residual < error * (1 + 1e-9)).all()


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_the_factor_that_the_paper_leaves_out_is_needed_where_the_weight_exceeds_one(weight: float) -> None:
    """T(u) = M cut to [-M, M] of k u: from a large f on the first residual is |lambda| M, not M."""
    network = PicardNetwork(nn.Hardtanh(), smoothing=0.0, weight=weight, inject=True)
    free = torch.full((1, 1), 50.0, dtype=torch.float64)
    first = (weight * network.block(free)).abs().item()
    assert first == weight
    assert steps_to(1.01 * weight, 0.3, first) == 0
    assert steps_to(0.99 * weight, 0.3, first) == 1


@pytest.mark.parametrize("factor", [0.0, 1e-9, 0.1, 0.5, 0.75, 0.999])
@pytest.mark.parametrize("error", [3.0, 1.0, 0.5, 0.125, 1e-6])
def test_it_is_the_smallest_number(factor: float, error: float) -> None:
    steps = steps_to(error, factor, 1.0)
    assert factor**steps < error
    assert steps == 0 or factor ** (steps - 1) >= error


def test_of_a_bounded_block_both_numbers_are_known() -> None:
    block = nn.Sequential(nn.Linear(3, 3), nn.Tanh()).double()
    network = PicardNetwork(block, weight=0.9 / lipschitz_bound(block), inject=True)
    assert 100 < network.steps_to(1e-6, lipschitz=lipschitz_bound(block), largest=1.0) < 500


MISTAKES: dict[str, Callable[[], Any]] = {
    "a contraction factor at least 0 and below 1, got 1.0": lambda: steps_to(0.1, 1.0, 1.0),
    "a contraction factor at least 0 and below 1, got nan": lambda: steps_to(0.1, math.nan, 1.0),
    "an error above 0, and a first residual >= 0": lambda: steps_to(0.0, 0.5, 1.0),
    "both finite, got 0.1 and inf": lambda: steps_to(0.1, 0.5, math.inf),
    "atol >= 0 and finite, got -1": lambda: PicardNetwork(nn.Tanh(), atol=-1),
}


@pytest.mark.parametrize("message", list(MISTAKES))
def test_mistakes_are_answered_in_one_sentence(message: str) -> None:
    with pytest.raises(ValueError, match=ONE_SENTENCE) as caught:
        MISTAKES[message]()
    assert re.search(re.escape(message), str(caught.value))
