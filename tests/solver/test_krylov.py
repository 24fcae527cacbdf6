"""Flexible conjugate gradients and GMRES against scipy's, and with preconditioners that are no help."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse.linalg as sl
import torch
from solver_names import OF_EQUATIONS
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner, LinearEquation
from neuralop_irno.correction.correction import FunctionCorrection
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.registry import SOLVERS
from neuralop_irno.solution import Outcome, Solution
from neuralop_irno.solver.fcg import FCG
from neuralop_irno.solver.fgmres import FGMRES
from neuralop_irno.solver.krylov import EquationSolver
from neuralop_irno.solver.preconditioner import Preconditioner
from neuralop_irno.solver.stopping import Limits
from neuralop_irno.solver.system import System
from neuralop_irno.solver.to_equation import solve_equation

SIZE, SAMPLES = 12, 3
LINEAR = [("fcg", True), ("fgmres", True), ("fgmres", False)]


class Matrix(Preconditioner):
    """M r with a fixed matrix."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix

    def of(self, system: System, h: Tensor, r: Tensor) -> Tensor:
        return r @ self.matrix.mT


class Function(Preconditioner):
    """Any function of r."""

    def __init__(self, function: nn.Module) -> None:
        self.function = function

    def of(self, system: System, h: Tensor, r: Tensor) -> Tensor:
        with torch.no_grad():
            answer: Tensor = self.function(r)
        return answer


def matrices(count: int, spd: bool, size: int = SIZE, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(count, size, size, generator=generator, dtype=torch.float64)
    identity = torch.eye(size, dtype=torch.float64)
    return drawn @ drawn.mT / size + 0.1 * identity if spd else drawn / size**0.5 + 0.5 * identity


def problem(matrix: Tensor, seed: int = 1) -> tuple[System, Tensor]:
    """A system of each sample's own matrix, which is in the channels of x after b."""
    size = matrix.shape[1]
    generator = torch.Generator().manual_seed(seed)
    b = torch.randn(len(matrix), 1, size, generator=generator, dtype=torch.float64)
    equation = LinearEquation(lambda x, v: torch.einsum("bij,bcj->bci", x[:, 1:], v), lambda x: x[:, :1])
    x = torch.cat([b, matrix], 1)
    return System(equation.bind(x, GridDomain.of(b))), b


def solve(system: System, b: Tensor, solver: EquationSolver, **limits: object) -> Solution:
    options = {"rtol": 1e-9, "max_steps": 200, **limits}
    return solve_equation(system, solver, torch.zeros_like(b), 4, Limits(**options), lambda h: h)


def iterates(system: System, b: Tensor, solver: EquationSolver, steps: int) -> list[Tensor]:
    h, found = torch.zeros_like(b), []
    state = solver.init(h, torch.zeros(len(b), dtype=torch.long))
    for _ in range(steps):
        h, state = solver.step(system, h, state)
        found.append(h[:, 0])
    return found


def test_fcg_with_a_fixed_preconditioner_is_the_conjugate_gradients_of_scipy() -> None:
    matrix, steps = matrices(SAMPLES, spd=True), 6
    inner = matrices(1, spd=True, seed=5)[0]
    system, b = problem(matrix)
    ours = iterates(system, b, FCG(Matrix(inner)), steps)
    for i in range(SAMPLES):
        for k in range(1, steps + 1):
            right = b[i, 0].numpy()
            other, _ = sl.cg(matrix[i].numpy(), right, rtol=0, atol=0, maxiter=k, M=inner.numpy())
            assert (ours[k - 1][i] - torch.from_numpy(other)).norm() < 1e-10 * np.linalg.norm(other)


def test_fgmres_with_a_fixed_preconditioner_is_gmres_of_a_times_m() -> None:
    matrix, steps = matrices(SAMPLES, spd=False), 8
    inner = matrices(1, spd=False, seed=5)[0]
    system, b = problem(matrix)
    ours = iterates(system, b, FGMRES(Matrix(inner)), steps)
    for i in range(SAMPLES):
        for k in range(1, steps + 1):
            u, _ = sl.gmres((matrix[i] @ inner).numpy(), b[i, 0].numpy(), rtol=1e-300, restart=k, maxiter=1)
            x = inner.numpy() @ u
            assert (ours[k - 1][i] - torch.from_numpy(x)).norm() < 1e-10 * np.linalg.norm(x)


@pytest.mark.parametrize(("name", "spd"), LINEAR)
def test_a_batch_is_its_samples_also_where_some_end_earlier(name: str, spd: bool) -> None:
    matrix = matrices(4, spd)
    matrix[1] = torch.eye(SIZE, dtype=torch.float64)  # ends after one step
    system, b = problem(matrix)
    whole = solve(system, b, SOLVERS.build(name, preconditioner="identity"))
    assert whole.steps[1] == 1
    for i in range(4):
        keep = torch.tensor([i])
        alone = solve(system.select(keep), b[keep], SOLVERS.build(name, preconditioner="identity"))
        assert alone.steps[0] == whole.steps[i]
        assert (alone.value[0] - whole.value[i]).norm() < 1e-10 * whole.value[i].norm()


@pytest.mark.parametrize(("name", "spd"), LINEAR)
def test_no_network_makes_a_wrong_answer_converge(name: str, spd: bool) -> None:
    """1,000 random systems: 100 random networks, 10 systems each. Converged means solved."""
    torch.manual_seed(0)
    converged = 0
    for number in range(100):
        system, b = problem(matrices(10, spd, seed=number), seed=1000 + number)
        layers = [nn.Linear(SIZE, SIZE), nn.Tanh(), nn.Linear(SIZE, SIZE)]
        network = nn.Sequential(*layers).double()
        scale = 10.0 ** (number % 7 - 3)
        with torch.no_grad():
            network[2].weight.mul_(scale)
        solution = solve(system, b, SOLVERS.build(name, preconditioner=Function(network)), rtol=1e-8)
        left = system.domain.norm(system.physics(solution.value)) / system.domain.norm(b)
        for outcome, rest in zip(solution.outcomes, left.tolist(), strict=True):
            assert (outcome is Outcome.CONVERGED) == (rest < 1e-8)
        converged += sum(outcome is Outcome.CONVERGED for outcome in solution.outcomes)
    assert converged >= 900


ADVERSARIES = {
    "zero": lambda r: 0 * r,
    "not a number": lambda r: torch.full_like(r, torch.nan),
    "infinite": lambda r: torch.full_like(r, torch.inf),
    "away": lambda r: -r,
    "constant": torch.ones_like,
    "reversed": lambda r: r.flip(-1),
    "huge": lambda r: 1e200 * r,
}


class Called(nn.Module):
    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, r: Tensor) -> Tensor:
        answer: Tensor = self.function(r)  # type: ignore[operator]
        return answer


@pytest.mark.parametrize("how", ADVERSARIES)
@pytest.mark.parametrize(("name", "spd"), LINEAR)
def test_adversarial_preconditioners_are_replaced_and_said(name: str, spd: bool, how: str) -> None:
    system, b = problem(matrices(SAMPLES, spd))
    solution = solve(system, b, SOLVERS.build(name, preconditioner=Function(Called(ADVERSARIES[how]))))
    assert set(solution.outcomes) == {Outcome.CONVERGED}
    if how in ("zero", "not a number", "infinite"):
        assert solution.replaced is not None
        assert (solution.replaced == solution.steps).all()
        assert "without the preconditioner" in str(solution)


def test_an_indefinite_equation_ends_as_such_and_is_solved_by_fgmres() -> None:
    values = torch.linspace(-1, 2, SIZE, dtype=torch.float64)
    equation = LinearEquation(lambda x, v: values * v, lambda x: x, symmetric=True, definite=True)
    b = torch.ones(1, 1, SIZE, dtype=torch.float64)
    system = System(equation.bind(b, GridDomain.of(b)))
    assert solve(system, b, FCG("identity")).outcomes == (Outcome.INDEFINITE,)
    assert solve(system, b, FGMRES("identity")).outcomes == (Outcome.CONVERGED,)


@pytest.mark.parametrize("what", ["symmetric", "definite"])
def test_what_is_not_stated_is_probed_and_refused(what: str) -> None:
    matrix = matrices(SAMPLES, spd=False) if what == "symmetric" else -matrices(SAMPLES, spd=True)
    system, b = problem(matrix)
    with pytest.raises(ValueError, match=rf"expected a .*{what}.* equation, got .*; try solver='fgmres'"):
        solve(system, b, FCG("identity"))


@pytest.mark.parametrize("name", OF_EQUATIONS)
def test_solvers_of_equations_need_one(name: str) -> None:
    model = IterativeRefiner(nn.Conv2d(1, 1, 1), "unet", in_channels=1, out_channels=1)
    with pytest.raises(ValueError, match="expected an equation for this solver, got none; try"):
        model.solve(torch.zeros(1, 1, 8, 8), solver=name, rtol=1e-3)


def screened(n: int) -> LinearEquation:
    """-lap h + h = x on a torus."""

    def apply(x: Tensor, v: Tensor) -> Tensor:
        around = sum(v.roll(by, axis) for axis in (2, 3) for by in (1, -1))
        return (4 * v - around) * n**2 + v

    return LinearEquation(
        apply, lambda x: x[:, :1], symmetric=True, definite=True,
        diagonal=lambda x: torch.full_like(x[:, :1], 4 * n**2 + 1),
    )  # fmt: skip


@pytest.mark.parametrize("solver", ["fcg", {"name": "fgmres", "restart": 80}])
def test_a_network_in_single_precision_reaches_ten_digits(solver: object) -> None:
    torch.manual_seed(0)
    base = nn.Conv2d(1, 1, 1)
    words = {"name": "unet", "width": 4, "depth": 1}
    model = IterativeRefiner(base, words, equation=screened(8), in_channels=1, out_channels=1).eval()
    for parameter in model.correction.parameters():
        nn.init.normal_(parameter, std=0.1)
    x = torch.randn(2, 1, 8, 8)
    solution = model.solve(x, solver=solver, rtol=1e-10, max_steps=300)
    assert set(solution.outcomes) == {Outcome.CONVERGED}
    assert solution.value.dtype is torch.float64
    assert solution.equation_residual is not None
    assert (solution.equation_residual < 1e-10).all()


def test_forward_solve_and_iterates_agree() -> None:
    torch.manual_seed(0)
    words = {"name": "unet", "width": 4, "depth": 1}
    model = IterativeRefiner(
        nn.Conv2d(1, 1, 1), words, solver="fcg", equation=screened(8), steps=3, in_channels=1, out_channels=1
    ).eval()
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(model(x), model.solve(x).value)
    assert torch.equal(model(x), model.iterates(x)[3])


def test_an_indefinite_equation_by_name_is_solved_where_the_plain_iteration_grows() -> None:
    """Helmholtz: along the lowest waves the residual points away from the solution."""
    torch.manual_seed(0)
    equation = {"name": "helmholtz", "wavenumber": 20.0, "boundary": "dirichlet"}
    model = IterativeRefiner(
        nn.Identity(), FunctionCorrection(lambda x, h: x[:, 1:]), equation=equation, alpha=0.5,
        in_channels=1, out_channels=1,
    ).eval()  # fmt: skip
    x = torch.randn(2, 1, 12, 12)
    plain = model.solve(x, rtol=1e-8, max_steps=2000)
    assert set(plain.outcomes) == {Outcome.GROWING}
    whole = {"name": "fgmres", "preconditioner": "jacobi", "restart": 144}
    solution = model.solve(x, solver=whole, rtol=1e-8, max_steps=144)
    assert set(solution.outcomes) == {Outcome.CONVERGED}


def test_an_equation_of_one_call_is_solved_by_a_model_without_one() -> None:
    torch.manual_seed(0)
    model = IterativeRefiner(nn.Conv2d(1, 1, 1), "unet", in_channels=1, out_channels=1).eval()
    x, solver = torch.randn(2, 1, 8, 8), {"name": "fcg", "preconditioner": "jacobi"}
    solution = model.solve(x, solver=solver, equation=screened(8), rtol=1e-10, max_steps=200)
    assert set(solution.outcomes) == {Outcome.CONVERGED}
    with pytest.raises(ValueError, match="expected a correction of x, h and r as the preconditioner"):
        model.solve(x, solver="fcg", equation=screened(8), rtol=1e-10)
    judged = model.solve(x, equation=screened(8), residual_tol=1e-3, max_steps=3)
    assert set(judged.outcomes) == {Outcome.FALSE_FIXED_POINT}  # an untrained Phi does not move
    with pytest.raises(ValueError, match="expected a solver of equations or residual_tol beside equation"):
        model.solve(x, equation=screened(8), rtol=1e-3)
