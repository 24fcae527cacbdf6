"""Banach's bounds where they say something, and where they do not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from neuralop_irno import PicardNetwork
from neuralop_irno.networks.bounds import a_posteriori, a_priori, at_any_point

K = torch.tensor([0.0, 0.5, 1.0, 2.0, torch.nan])
STEP = torch.ones(5)


def test_where_nothing_shrinks_nothing_is_known() -> None:
    for bound in (a_priori(K, torch.tensor(3), STEP), a_posteriori(K, STEP), at_any_point(K, STEP)):
        assert bound[:2].isfinite().all()
        assert bound[2:].isinf().all()


def test_a_step_that_forgets_everything_has_arrived() -> None:
    assert a_priori(K, torch.tensor(1), STEP)[0] == 0
    assert a_posteriori(K, STEP)[0] == 0
    assert at_any_point(K, STEP)[0] == 1  # it is to be taken yet


def network(times: float, **words: object) -> PicardNetwork:
    block = nn.Linear(3, 3, bias=False)
    with torch.no_grad():
        block.weight.copy_(times * torch.eye(3))
    return PicardNetwork(block, **{"smoothing": 0.0, "inject": True, **words}).eval()


X = torch.tensor([[1.0, 2.0, 3.0], [-1.0, 0.0, 1.0]])


def test_without_a_constant_they_rest_on_what_was_observed() -> None:
    solution = network(0.5).solve(X, steps=6)
    assert not solution.factor_known
    torch.testing.assert_close(solution.factor, torch.full((2,), 0.5), rtol=1e-4, atol=0)
    torch.testing.assert_close(solution.a_posteriori, (solution.value - 2 * X).square().mean(1).sqrt())


@pytest.mark.parametrize("steps", [0, 1])
def test_too_few_steps_to_observe_anything_are_no_bound(steps: int) -> None:
    solution = network(0.5).solve(X, steps=steps)
    assert solution.factor.isnan().all()
    assert solution.a_priori.isinf().all()
    assert solution.a_posteriori.isinf().all()


def test_one_step_is_enough_where_the_constant_is_known() -> None:
    solution = network(0.5).solve(X, steps=1, lipschitz=0.5)
    assert solution.a_posteriori.isfinite().all()
    assert network(0.5).solve(X, steps=0, lipschitz=0.5).a_posteriori.isinf().all()


def test_an_iteration_that_grows_has_no_bound() -> None:
    for lipschitz in (None, 1.5):
        solution = network(1.5).solve(X, steps=5, lipschitz=lipschitz)
        assert solution.a_priori.isinf().all()
        assert solution.a_posteriori.isinf().all()


def test_the_factor_is_that_of_the_steps_that_were_taken() -> None:
    model = network(0.5, smoothing=0.5)
    assert model.factor(0.5) == pytest.approx(0.75)
    undamped = {"name": "picard", "alpha": 1.0}
    for solver, factor in ((None, 0.75), (undamped, 0.5), ({"name": "picard", "alpha": 1.5}, 1.25)):
        solution = model.solve(X, solver=solver, steps=3, lipschitz=0.5)
        torch.testing.assert_close(solution.factor, torch.full((2,), factor))


def error(value: Tensor) -> Tensor:
    return (value - 2 * X).square().mean(1).sqrt()


@pytest.mark.parametrize(
    "solver", ["anderson", "broyden", {"name": "picard", "alpha": [1.0, 0.5, 0.2]}, {"name": "best_so_far"}]
)
def test_other_steps_are_bounded_by_the_one_that_would_come_next(solver: object) -> None:
    solution = network(0.5).solve(X, solver=solver, steps=2, lipschitz=0.5)
    assert (error(solution.value) <= solution.a_posteriori + 1e-6).all()
    assert solution.a_priori.isinf().all()
    assert solution.evaluations == 6


def test_samples_may_have_constants_of_their_own() -> None:
    solution = network(0.5).solve(X, steps=2, lipschitz=torch.tensor([0.5, 0.9]))
    torch.testing.assert_close(solution.factor, torch.tensor([0.5, 0.9]))
