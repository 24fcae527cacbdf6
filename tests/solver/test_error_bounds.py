"""How far is the answer? Bounds that are proved hold for all right-hand sides; the rest is an estimate."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from solver_names import OF_EQUATIONS
from torch import Tensor, nn

from neuralop_irno import LinearEquation, PicardNetwork
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.equations.elliptic import Darcy, Helmholtz, Poisson
from neuralop_irno.equations.equation import BoundEquation, Equation
from neuralop_irno.registry import SOLVERS
from neuralop_irno.solution import Solution
from neuralop_irno.solver.stopping import Limits
from neuralop_irno.solver.system import System
from neuralop_irno.solver.to_equation import solve_equation

SHAPE, SIDES, MANY = (5, 4), (1.0, 2.0), 1000
CASES: dict[str, Equation] = {
    "screened": Poisson(3.0, "periodic"),
    "walls": Poisson(0.0, "dirichlet"),
    "screened walls": Poisson(3.0, "dirichlet"),
    "a wall on one axis": Poisson(0.0, ["periodic", "dirichlet"]),
    "without the mean": Poisson(0.0, "periodic"),
    "darcy": Darcy(),
    "darcy in a periodic box": Darcy(screen=0.5, boundary="periodic"),
}


def bound_to(equation: Equation, f: Tensor, a: Tensor | None = None) -> BoundEquation:
    x = f if a is None else torch.cat([a, f], 1)
    return equation.bind(x, GridDomain.of(f, SIDES))


def matrix(equation: BoundEquation, points: int, shape: Sequence[int]) -> Tensor:
    """A of each sample, ``(B, points, points)``, from its products with unit vectors."""
    columns = []
    for unit in torch.eye(points, dtype=torch.float64):
        field = unit.reshape(1, 1, *shape).expand(equation.domain.samples, 1, *shape)
        columns.append(equation.apply(equation.project(field)).flatten(1))
    return torch.stack(columns, 2)


def solve(equation: BoundEquation, start: Tensor, solver: str = "fcg", **limits: object) -> Solution:
    built = SOLVERS.build(solver, preconditioner="identity")
    return solve_equation(System(equation), built, start, 4, Limits(**limits), lambda h: h)


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("name", CASES)
def test_with_a_stated_constant_the_error_is_within_the_bound_for_any_right_hand_side(
    name: str, steps: int
) -> None:
    points = math.prod(SHAPE)
    f = torch.randn(MANY, 1, *SHAPE, dtype=torch.float64)
    a = torch.randn(1, 1, *SHAPE, dtype=torch.float64).exp() if "darcy" in name else None
    equation = bound_to(CASES[name], f, None if a is None else a.expand_as(f))
    found = solve(equation, torch.zeros_like(f), steps=steps)
    one = bound_to(CASES[name], f[:1], a)
    inverse = torch.linalg.pinv(matrix(one, points, SHAPE)[0], hermitian=True)
    truth = (equation(torch.zeros_like(f)).flatten(1) @ inverse).reshape_as(f)
    error = equation.domain.unweighted().norm(found.value - truth)
    assert found.bound_proved.all()
    assert (error <= found.error_bound * (1 + 1e-12)).all()
    assert torch.equal(found.error_estimate, found.error_bound)


@pytest.mark.parametrize("name", [name for name in CASES if "darcy" not in name])
def test_the_bound_is_reached_by_the_lowest_eigenvector(name: str) -> None:
    zeros = torch.zeros(1, 1, *SHAPE, dtype=torch.float64)
    equation = bound_to(CASES[name], zeros)
    values, vectors = torch.linalg.eigh(matrix(equation, zeros.numel(), SHAPE)[0])
    lowest = int((values > 1e-9).nonzero()[0])
    assert equation.stability.item() == pytest.approx(values[lowest].item(), rel=1e-12)
    truth = vectors[:, lowest].reshape(zeros.shape)
    found = solve(bound_to(CASES[name], equation.apply(truth)), zeros, steps=0)
    error = equation.domain.unweighted().norm(truth)
    torch.testing.assert_close(found.error_bound, error, rtol=1e-10, atol=0)


def test_a_mask_keeps_the_bound() -> None:
    f = torch.randn(1, 1, *SHAPE, dtype=torch.float64)
    mask = torch.rand(1, 1, *SHAPE) < 0.6
    equation = Poisson().bind(f, GridDomain.of(f, SIDES), mask)
    found, exact = (solve(equation, torch.zeros_like(f), steps=k) for k in (2, 40))
    error = equation.domain.norm(found.value - exact.value)
    assert 0 < error <= found.error_bound
    assert found.bound_proved.all()


def test_a_bound_is_proved_only_where_a_constant_is_stated() -> None:
    f = torch.randn(3, 1, *SHAPE, dtype=torch.float64)
    for equation in (Helmholtz(9.0), LinearEquation(lambda x, v: 2 * v, lambda x: x)):
        found = solve(bound_to(equation, f), torch.zeros_like(f), "fgmres", steps=2)
        assert not found.bound_proved.any()
        assert found.error_bound.isinf().all()
        assert found.error_estimate.isfinite().all()
    stated = LinearEquation(lambda x, v: 2 * v, lambda x: x, stability=2.0)
    assert solve(bound_to(stated, f), torch.zeros_like(f), steps=0).bound_proved.all()
    with pytest.raises(ValueError, match="expected a stability constant above 0 and finite, got 0"):
        LinearEquation(lambda x, v: 2 * v, lambda x: x, stability=0.0)


@pytest.mark.parametrize("solver", ["fcg", "fgmres", "minres"])
def test_without_a_constant_the_estimate_is_the_smallest_stretch_of_the_steps(solver: str) -> None:
    matrices = torch.randn(4, 12, 12, dtype=torch.float64)
    matrices = matrices @ matrices.mT / 12 + 0.1 * torch.eye(12, dtype=torch.float64)
    f = torch.randn(4, 1, 12, dtype=torch.float64)
    free = LinearEquation(lambda x, v: torch.einsum("bij,bcj->bci", x[:, 1:], v), lambda x: x[:, :1])
    equation = free.bind(torch.cat([f, matrices], 1), GridDomain.of(f))
    smallest = torch.linalg.eigvalsh(matrices)[:, 0]
    rows = []
    for steps in (0, 1, 6):
        found = solve(equation, torch.zeros_like(f), solver, steps=steps)
        rows.append(equation.domain.norm(equation(found.value)) / found.error_estimate)
        alone = free.bind(torch.cat([f, matrices], 1)[1:2], GridDomain.of(f[:1]))
        again = solve(alone, torch.zeros_like(f[:1]), solver, steps=steps).error_estimate
        torch.testing.assert_close(again, found.error_estimate[1:2], equal_nan=True)
    assert rows[0].isnan().all()  # no step has shown anything
    assert (rows[2] >= smallest * (1 - 1e-9)).all()
    assert (rows[2] <= rows[1] * (1 + 1e-9)).all()


@pytest.mark.parametrize("solver", ["picard", "anderson"])
def test_picard_networks_with_a_known_constant_have_proved_bounds(solver: str) -> None:
    block = nn.Linear(6, 6).double()
    with torch.no_grad():
        block.weight /= 2 * torch.linalg.matrix_norm(block.weight, 2)
    network, x = PicardNetwork(block, smoothing=0.2), torch.randn(8, 6, dtype=torch.float64)
    with torch.no_grad():
        fixed = torch.linalg.solve(torch.eye(6, dtype=torch.float64) - block.weight, block.bias)
    proved = network.solve(x, solver=solver, steps=3, lipschitz=0.5 + 1e-12)
    assert proved.bound_proved.all()
    assert ((proved.value - fixed).square().mean(1).sqrt() <= proved.error_bound * (1 + 1e-9)).all()
    assert not network.solve(x, solver=solver, steps=3).bound_proved.any()
    assert not network.solve(x, solver=solver, steps=3, lipschitz=1.0).bound_proved.any()


@pytest.mark.parametrize("steps", [10, 20, 40])
@pytest.mark.parametrize("solver", ["fcg", "fgmres"])
def test_on_poissons_equation_the_estimate_is_within_a_factor_of_ten(solver: str, steps: int) -> None:
    f = torch.randn(20, 1, 16, 16, dtype=torch.float64)
    poisson = Poisson().bind(f, GridDomain.of(f))
    free = LinearEquation(lambda x, v: poisson.apply(v), lambda x: x)
    found = solve(free.bind(f, GridDomain.of(f)), torch.zeros_like(f), solver, steps=steps)
    exact = solve(poisson, torch.zeros_like(f), rtol=1e-12, max_steps=500)
    error = poisson.domain.norm(found.value - exact.value)
    assert (found.error_estimate > error / 10).all()
    assert (found.error_estimate < error * 10).all()


@pytest.mark.parametrize("solver", OF_EQUATIONS)
def test_every_solver_of_equations_states_the_proved_bound(solver: str) -> None:
    f = torch.randn(2, 1, *SHAPE, dtype=torch.float64)
    equation = bound_to(Poisson(3.0), f)
    found = solve(equation, torch.zeros_like(f), solver, steps=1)
    size = equation.domain.norm(equation(found.value))
    torch.testing.assert_close(found.error_bound, size / equation.stability)
    assert found.bound_proved.all()
