"""Algebraic multigrid: the probed matrix is that of the equation, and pyamg's cycle is called with it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from neuralop_irno import LinearEquation
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.equations.assembly import assembled
from neuralop_irno.registry import EQUATIONS, PRECONDITIONERS
from neuralop_irno.solver.amg import PYAMG
from neuralop_irno.solver.fcg import FCG
from neuralop_irno.solver.stopping import Limits
from neuralop_irno.solver.system import System
from neuralop_irno.solver.to_equation import solve_equation

SHAPES = [(7,), (8,), (5, 9), (8, 8), (4, 3, 6)]


def system(shape: tuple[int, ...], boundary: str, samples: int = 2) -> System:
    draws = torch.Generator().manual_seed(0)
    a = 0.1 + torch.rand(samples, 1, *shape, generator=draws, dtype=torch.float64)
    f = torch.randn(a.shape, generator=draws, dtype=torch.float64)
    equation = EQUATIONS.build("darcy", screen=1.0, boundary=boundary)
    x = torch.cat([a, f], 1)
    return System(equation.bind(x, GridDomain.of(x)))


@pytest.mark.parametrize("boundary", ["periodic", "dirichlet"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_probed_matrix_is_the_equation(shape: tuple[int, ...], boundary: str) -> None:
    physics = system(shape, boundary).physics
    v = torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    matrix = assembled(physics, physics.apply, v)
    product = torch.from_numpy(matrix @ v.flatten().numpy()).reshape(v.shape)
    assert (product - physics.apply(v)).abs().max() < 1e-12 * product.abs().max()
    assert physics.diagonal is not None
    assert (torch.from_numpy(matrix.diagonal()).reshape(v.shape) - physics.diagonal).abs().max() < 1e-9


def test_given_values_have_the_rows_of_the_identity() -> None:
    fixed = torch.zeros(1, 1, 6, dtype=torch.bool)
    fixed[..., 0] = True
    equation = LinearEquation(lambda x, v: 2 * v - v.roll(1, 2), lambda x: x, fixed=lambda x: fixed)
    x = torch.ones(1, 1, 6, dtype=torch.float64)
    bound = equation.bind(x, GridDomain.of(x))
    matrix = assembled(bound, bound.apply, x).toarray()
    assert matrix[0].tolist() == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert matrix[1].tolist() == [0.0, 2.0, 0.0, 0.0, 0.0, 0.0]


def test_a_wider_stencil_is_refused() -> None:
    equation = LinearEquation(lambda x, v: v + v.roll(2, 2), lambda x: x)
    x = torch.ones(1, 1, 12, dtype=torch.float64)
    bound = equation.bind(x, GridDomain.of(x))
    with pytest.raises(ValueError, match="neighbouring cells only, got one with a wider stencil"):
        assembled(bound, bound.apply, x)


@pytest.mark.parametrize("boundary", ["periodic", "dirichlet"])
def test_fcg_with_amg_needs_few_steps_at_every_size(boundary: str) -> None:
    pytest.importorskip("pyamg")
    for n in (16, 64):
        made = system((n, n), boundary)
        start = torch.zeros(2, 1, n, n, dtype=torch.float64)
        limits = Limits(rtol=1e-8, max_steps=100)
        solution = solve_equation(made, FCG("amg"), start, 4, limits, lambda h: h)
        assert {outcome.name for outcome in solution.outcomes} == {"CONVERGED"}
        assert solution.steps.max() < 30


def test_without_pyamg_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    lack: Tensor | str = "no module pyamg"
    monkeypatch.setitem(vars(PYAMG), "lack", lambda: lack)
    with pytest.raises(ValueError, match="expected pyamg for the preconditioner amg, got no module pyamg"):
        PRECONDITIONERS.build("amg")
