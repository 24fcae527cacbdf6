"""Laws that every solver keeps, on problems whose fixed points are known."""

from __future__ import annotations

import pytest
import torch
from conftest import Linear, identity, zero
from torch import Tensor

from neuralop_irno import IterativeRefiner, Outcome
from neuralop_irno.correction.correction import FunctionCorrection

SOLVERS = ["picard", "anderson", "broyden", "aitken", "backtracking", "safeguarded", "best_so_far"]
FAST = ["anderson", "broyden"]


def contraction(kind: str, n: int, generator: torch.Generator) -> Tensor:
    """A matrix G with |G| < 1: symmetric, symmetric and positive, or far from normal."""

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    square = torch.randn(n, n, generator=generator, dtype=torch.float64)
    if kind == "not normal":
        return square / torch.linalg.matrix_norm(square, 2) * (0.3 + 0.65 * random(1))
    basis, _ = torch.linalg.qr(square)
    values = 0.95 * random(n) if kind == "positive" else 1.8 * random(n) - 0.9
    return basis @ torch.diag(values) @ basis.T


def linear(iteration: Tensor, offset: Tensor, **options: object) -> IterativeRefiner:
    """Phi(x, h) = b - (I - G) h, whose plain iteration is h <- G h + b."""
    identity_matrix = torch.eye(len(offset), dtype=torch.float64)
    return IterativeRefiner(zero, Linear(identity_matrix - iteration, offset), alpha=1.0, **options).eval()


def empty(samples: int, n: int) -> Tensor:
    return torch.zeros(samples, 1, n, dtype=torch.float64)


def rms(field: Tensor) -> Tensor:
    return field.square().mean((1, 2)).sqrt()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", ["symmetric", "positive", "not normal"])
def test_it_finds_the_fixed_point_of_a_linear_problem(solver: str, kind: str) -> None:
    generator = torch.Generator().manual_seed(1)
    iteration = contraction(kind, 12, generator)
    offset = torch.randn(12, generator=generator, dtype=torch.float64)
    limit = torch.linalg.solve(torch.eye(12, dtype=torch.float64) - iteration, offset)
    solution = linear(iteration, offset).solve(empty(2, 12), solver=solver, rtol=1e-10, max_steps=2000)
    assert set(solution.outcomes) == {Outcome.CONVERGED}
    torch.testing.assert_close(solution.value[0, 0], limit, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("solver", SOLVERS)
def test_it_finds_the_fixed_point_of_a_map_that_is_not_linear(solver: str) -> None:
    phi = FunctionCorrection(lambda x, h: torch.cos(h) - h)  # Dottie's number
    x = torch.randn(4, 1, 5, dtype=torch.float64)
    solution = IterativeRefiner(identity, phi, alpha=1.0).eval().solve(x, solver=solver, atol=1e-12)
    assert bool(solution.good.all())
    assert (solution.value - 0.7390851332151607).abs().max() < 1e-10


@pytest.mark.parametrize("solver", SOLVERS)
def test_of_two_fixed_points_it_finds_one_and_says_which_way_it_went(solver: str) -> None:
    phi = FunctionCorrection(lambda x, h: h - h**3)  # rests at -1, 0 and 1; 0 repels
    x = torch.tensor([0.7, 1.4, -0.8], dtype=torch.float64).reshape(3, 1, 1)
    solution = IterativeRefiner(identity, phi, alpha=0.3).eval().solve(x, solver=solver, atol=1e-9)
    assert bool(solution.good.all())
    assert solution.value.flatten().tolist() == pytest.approx([1.0, 1.0, -1.0], abs=1e-7)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_batch_equals_a_loop_in_any_order(solver: str) -> None:
    pull = FunctionCorrection(lambda x, h: x - h + 0.5 * torch.tanh(h.roll(1, -1)))
    model = IterativeRefiner(identity, pull, solver=solver).eval()
    x = torch.randn(6, 1, 8, dtype=torch.float64)
    start = x * torch.logspace(-3, 3, 6, dtype=torch.float64)[:, None, None]
    together = model.solve(x, start=start, rtol=1e-8, max_steps=300)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    shuffled = model.solve(x[order], start=start[order], rtol=1e-8, max_steps=300)
    torch.testing.assert_close(shuffled.value, together.value[order], rtol=0, atol=1e-12)
    for i in range(6):
        alone = model.solve(x[i : i + 1], start=start[i : i + 1], rtol=1e-8, max_steps=300)
        torch.testing.assert_close(alone.value[0], together.value[i], rtol=0, atol=1e-12)
        assert alone.steps[0] == together.steps[i]
        torch.testing.assert_close(alone.error_bound[0], together.error_bound[i])
        torch.testing.assert_close(alone.contraction[0], together.contraction[i])
        assert len(together.residuals[i]) == together.steps[i]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_the_scale_of_the_data_does_not_matter(solver: str, scale: float) -> None:
    generator = torch.Generator().manual_seed(3)
    iteration = contraction("positive", 20, generator)
    offset = torch.randn(20, generator=generator, dtype=torch.float64)
    usual = linear(iteration, offset).solve(empty(1, 20), solver=solver, rtol=1e-3, max_steps=1000)
    scaled = linear(iteration, scale * offset).solve(empty(1, 20), solver=solver, rtol=1e-3, max_steps=1000)
    assert scaled.steps.tolist() == usual.steps.tolist()
    torch.testing.assert_close(scaled.value, scale * usual.value, rtol=1e-9, atol=0)


def test_anderson_is_never_worse_than_picard() -> None:
    generator = torch.Generator().manual_seed(4)
    for trial in range(24):
        kind = ("symmetric", "positive", "not normal")[trial % 3]
        n = int(torch.randint(2, 33, (), generator=generator))
        iteration = contraction(kind, n, generator)
        offset = torch.randn(n, generator=generator, dtype=torch.float64)
        model = linear(iteration, offset)
        steps = {
            solver: model.solve(empty(1, n), solver=solver, rtol=1e-4, max_steps=2000).steps.item()
            for solver in ("picard", "anderson")
        }
        assert steps["anderson"] <= steps["picard"], (trial, kind, n)


def test_anderson_with_enough_memory_solves_a_linear_problem_in_as_many_steps_as_it_has_modes() -> None:
    generator = torch.Generator().manual_seed(5)
    iteration = contraction("symmetric", 6, generator)
    offset = torch.randn(6, generator=generator, dtype=torch.float64)
    solver = {"name": "anderson", "memory": 8}
    solution = linear(iteration, offset).solve(empty(1, 6), solver=solver, rtol=1e-9)
    assert solution.steps.item() <= 8


@pytest.mark.parametrize("solver", ["picard", "anderson", "broyden", "aitken"])
def test_the_bound_is_above_the_true_distance(solver: str) -> None:
    """On 24 random contractions from 20 random starts each, in every case that converged."""
    generator = torch.Generator().manual_seed(6)
    holds = 0
    for trial in range(24):
        kind = ("symmetric", "positive", "not normal")[trial % 3]
        n = int(torch.randint(2, 25, (), generator=generator))
        iteration = contraction(kind, n, generator)
        offset = torch.randn(n, generator=generator, dtype=torch.float64)
        limit = torch.linalg.solve(torch.eye(n, dtype=torch.float64) - iteration, offset)
        start = torch.randn(20, 1, n, generator=generator, dtype=torch.float64)
        solution = linear(iteration, offset).solve(
            empty(20, n), start=start, solver=solver, rtol=1e-4, max_steps=1000
        )
        assert set(solution.outcomes) == {Outcome.CONVERGED}
        distance = rms(solution.value - limit)
        assert (distance <= solution.error_bound).all(), (trial, kind, n)
        holds += int(solution.bound_holds.sum())
    assert holds > (140 if solver == "picard" else 0)  # accelerated iterations are seldom steady


def test_the_contraction_is_the_known_one() -> None:
    generator = torch.Generator().manual_seed(7)
    basis, _ = torch.linalg.qr(torch.randn(5, 5, generator=generator, dtype=torch.float64))
    iteration = basis @ torch.diag(torch.tensor([0.8, 0.3, 0.2, -0.1, -0.4]).double()) @ basis.T
    solution = linear(iteration, torch.ones(5).double()).solve(empty(1, 5), rtol=1e-10, max_steps=500)
    assert solution.contraction.item() == pytest.approx(0.8, rel=1e-6)
    assert bool(solution.bound_holds)
    assert len(solution.residuals[0]) == solution.steps.item()


def test_the_best_iterate_is_the_one_with_the_smallest_residual() -> None:
    away = linear(1.3 * torch.eye(2, dtype=torch.float64), torch.ones(2).double())
    x = empty(1, 2)
    start = torch.full_like(x, -3.0)  # near the repelling fixed point -10/3
    solution = away.solve(x, start=start, rtol=1e-9, max_steps=20)
    assert not bool(solution.good)
    assert torch.equal(solution.best, start)
    wrapped = away.solve(x, start=start, solver="best_so_far", steps=20)
    assert torch.equal(wrapped.value, start)
    around = away.solve(x, start=start, solver={"name": "best_so_far", "solver": "anderson"}, steps=20)
    torch.testing.assert_close(around.value, torch.full_like(x, -10 / 3))


def test_backtracking_finds_the_step_that_picard_needs() -> None:
    stiff = linear(-4.0 * torch.eye(3, dtype=torch.float64), torch.ones(3).double())  # A = 5: alpha < 0.4
    x = empty(2, 3)
    assert set(stiff.solve(x, rtol=1e-8).outcomes) == {Outcome.GROWING}
    found = stiff.solve(x, solver="backtracking", rtol=1e-8)
    assert bool(found.good.all())
    torch.testing.assert_close(found.value, torch.full_like(x, 0.2))


def test_a_safeguard_holds_a_solver_to_the_residual() -> None:
    generator = torch.Generator().manual_seed(8)
    iteration = contraction("symmetric", 10, generator)
    model = linear(iteration, torch.randn(10, generator=generator, dtype=torch.float64))
    solution = model.solve(empty(1, 10), solver="anderson", rtol=1e-9, max_steps=200)
    kept = solution.residuals[0]
    assert (kept[1:] <= kept[:-1] * (1 + 1e-9)).all()


def test_what_does_not_shrink_is_called_stalled() -> None:
    circle = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)  # a rotation keeps distances
    model = linear(circle, torch.ones(2).double())
    solution = model.solve(empty(1, 2), rtol=1e-6, max_steps=500)
    assert solution.outcomes[0] is Outcome.STALLED
    assert solution.steps.item() < 60


def test_a_false_fixed_point_is_an_outcome_of_its_own() -> None:
    phi = FunctionCorrection(lambda x, h: 0.5 * (h.detach() * 0 + 2.0 - h))  # rests at 2, whatever x is
    model = IterativeRefiner(identity, phi, alpha=1.0).eval()
    x = torch.tensor([2.0, 5.0], dtype=torch.float64).reshape(2, 1, 1)
    solution = model.solve(
        x, rtol=1e-8, residual_fn=lambda x, h: h - x, residual_tol=1e-6, start=torch.zeros_like(x)
    )
    assert solution.outcomes == (Outcome.CONVERGED, Outcome.FALSE_FIXED_POINT)


def test_the_equations_residual_can_decide_alone_who_has_converged() -> None:
    phi = FunctionCorrection(lambda x, h: 0.5 * (x - h))
    model = IterativeRefiner(zero, phi, alpha=1.0).eval()
    x = torch.tensor([1.0, 1e-3], dtype=torch.float64).reshape(2, 1, 1)
    solution = model.solve(x, residual_fn=lambda x, h: h - x, residual_tol=1e-4)
    assert bool(solution.good.all())
    assert solution.steps.tolist() == [14, 4]


def test_a_budget_of_evaluations_is_kept() -> None:
    model = linear(0.99 * torch.eye(2, dtype=torch.float64), torch.ones(2).double())
    solution = model.solve(empty(4, 2), rtol=1e-9, max_steps=100, max_evaluations=30)
    assert solution.evaluations == 28
    assert solution.steps.tolist() == [7] * 4
    assert set(solution.outcomes) == {Outcome.OUT_OF_STEPS}
    assert model.solve(empty(4, 2), steps=50, max_evaluations=3).steps.tolist() == [0] * 4


def test_the_equations_residual_can_weigh_andersons_steps() -> None:
    """Phi comes to rest 0.2 beside the solution; weighed by the equation, its steps pass close to it."""
    drift = FunctionCorrection(lambda x, h: 0.1 * (x - h) + 0.02)
    model = IterativeRefiner(zero, drift, alpha=1.0).eval()
    x = torch.linspace(1, 2, 3, dtype=torch.float64).reshape(3, 1, 1)
    words = {"residual_fn": lambda x, h: x - h, "residual_tol": 0.03, "start": -x}
    by_equation = model.solve(x, solver="anderson", **words)
    assert bool(by_equation.good.all())
    assert by_equation.steps.max() <= 4
    by_iteration = model.solve(x, solver="picard", **words)
    assert by_iteration.steps.min() > 4
