"""What solvers of equations refuse, and what they say of answers that they cannot improve."""

from typing import Any

import pytest
import torch
from torch import nn

from neuralop_irno import IterativeRefiner, LinearEquation, Outcome

X = torch.randn(2, 1, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SOLVERS = [{"name": name, "preconditioner": "identity"} for name in ("fcg", "fgmres", "minres")]


def refiner(equation: LinearEquation) -> IterativeRefiner:
    words = {"name": "unet", "width": 4, "depth": 1, "dim": 1}
    return IterativeRefiner(nn.Identity(), words, equation=equation, in_channels=1, out_channels=1).eval()


def stretched(most: float) -> LinearEquation:
    scale = torch.logspace(0, torch.tensor(most).log10().item(), 8, dtype=torch.float64)
    return LinearEquation(lambda x, v: scale * v, lambda x: x, symmetric=True, definite=True)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_residual_function_is_not_ignored(solver: dict[str, str]) -> None:
    words: Any
    for words in ({"residual_tol": 1e-3}, {"rtol": 1e-3}):
        with pytest.raises(ValueError, match="expected no residual_fn beside a solver of equations, got"):
            refiner(stretched(10)).solve(X, solver=solver, residual_fn=lambda x, h: 0 * h, **words)


@pytest.mark.parametrize("solver", SOLVERS)
def test_both_tolerances_are_met(solver: dict[str, str]) -> None:
    model, equation = refiner(stretched(10)), stretched(10)
    words: Any
    for words in ({"rtol": 0.1}, {"atol": 0.1}, {}):
        found = model.solve(X, solver=solver, residual_tol=1e-8, **words)
        assert set(found.outcomes) == {Outcome.CONVERGED}
        assert (equation.residual(X, found.value).norm(dim=(1, 2)) < 1e-8).all()


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_tolerance_below_rounding_is_not_said_to_be_growth(solver: dict[str, str]) -> None:
    found = refiner(stretched(1e6)).solve(X, solver=solver, rtol=1e-25, max_steps=600)
    assert Outcome.GROWING not in found.outcomes


@pytest.mark.parametrize("preconditioner", ["identity", "phi", "jacobi", "multigrid"])
@pytest.mark.parametrize("solver", ["fcg", "fgmres", "newton_krylov"])
def test_a_matrix_that_is_not_finite_is_an_outcome(solver: str, preconditioner: str) -> None:
    equation = LinearEquation(lambda x, v: torch.nan * v, lambda x: x, diagonal=torch.ones_like)
    words = {"name": solver, "preconditioner": preconditioner}
    found = refiner(equation).solve(X, solver=words, rtol=1e-8, max_steps=5)
    assert not any(outcome.good for outcome in found.outcomes)


def test_there_is_no_error_estimate_where_no_step_moved() -> None:
    against = LinearEquation(lambda x, v: -v, lambda x: x, symmetric=True, definite=True)  # stated wrongly
    found = refiner(against).solve(X, solver=SOLVERS[0], rtol=1e-8)
    assert set(found.outcomes) == {Outcome.INDEFINITE}
    assert found.error_estimate is not None
    assert found.error_estimate.isnan().all()


@pytest.mark.parametrize("name", ["symmetric", "definite"])
def test_properties_that_are_no_truth_values_are_refused(name: str) -> None:
    for build in (
        lambda **words: LinearEquation(lambda x, v: v, lambda x: x, **words),
        lambda **words: LinearEquation.of_matrix(torch.eye(8), **words),
    ):
        with pytest.raises(
            TypeError, match=f"expected {name} as True, False or None, got 'no'; try {name}=False"
        ):
            build(**{name: "no"})


def test_a_stability_constant_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a stability constant above 0 and finite, got '1'"):
        LinearEquation(lambda x, v: v, lambda x: x, stability="1")  # type: ignore[arg-type]


NAMED: Any = {
    "poisson": {}, "darcy": {"source": 1.0}, "helmholtz": {"wavenumber": 2.0}, "heat_step": {"dt": 0.1},
    "burgers_step": {"dt": 0.1, "viscosity": 0.1},
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_a_base_of_two_channels_is_not_given_the_same_answer_twice(name: str) -> None:
    words = {"name": "unet", "width": 4, "depth": 1, "dim": 1}
    model = IterativeRefiner(
        nn.Identity(), words, equation={"name": name, **NAMED[name]}, in_channels=2, out_channels=2
    ).eval()
    solver = {"name": "newton_krylov", "preconditioner": "identity"}
    with pytest.raises(ValueError, match=r"expected h with 1 channel for .*, got 2; try out_channels=1"):
        model.solve(X[:, [0, 0]].abs() + 1, solver=solver, rtol=1e-8)
