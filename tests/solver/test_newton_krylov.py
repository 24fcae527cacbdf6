"""Newton's method: quadratic, the same in any batch, and never wrong about convergence."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from neuralop_irno import Equation, IterativeRefiner, LinearEquation
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.solution import Outcome, Solution
from neuralop_irno.solver.newton_krylov import NewtonKrylov
from neuralop_irno.solver.preconditioner import Preconditioner
from neuralop_irno.solver.stopping import Limits
from neuralop_irno.solver.system import System
from neuralop_irno.solver.to_equation import solve_equation

SIZE = 12
F64 = torch.float64


def stiffness(h: Tensor) -> Tensor:
    return 2 * h - h.roll(1, -1) - h.roll(-1, -1)


REACTION = Equation(lambda x, h: x - 4 * stiffness(h) - h - h**3)
"""Diffusion and a cubic reaction on a ring; its root is unique."""


def drawn(samples: int, size: int = SIZE, seed: int = 0) -> Tensor:
    return torch.randn(samples, 1, size, dtype=F64, generator=torch.Generator().manual_seed(seed))


def bound(equation: Equation, x: Tensor) -> System:
    return System(equation.bind(x, GridDomain.of(x)))


def solve(system: System, start: Tensor, solver: NewtonKrylov, **limits: object) -> Solution:
    options = {"rtol": 1e-12, **limits}
    return solve_equation(system, solver, start, 4, Limits(**options), lambda h: h)


def roots(samples: int, equation: Equation = REACTION, scale: float = 3.0) -> tuple[System, Tensor]:
    """A system and its root, which is chosen first."""
    h = scale * drawn(samples)
    zero = bound(equation, torch.zeros_like(h))
    return bound(equation, -zero.physics(h)), h


def test_pointwise_cubics_are_solved_to_the_last_digits() -> None:
    cubic = Equation(lambda x, h: x - h - h**3)
    system, root = roots(3, cubic)
    solution = solve(system, torch.zeros_like(root), NewtonKrylov("identity"), rtol=1e-14)
    assert set(solution.outcomes) == {Outcome.CONVERGED}
    assert (solution.value - root).abs().max() < 1e-12


def test_it_converges_quadratically() -> None:
    """|r_{k+1}| <= C |r_k|^2 for each sample, once |r| < 1 and down to rounding."""
    system, root = roots(4)
    solution = solve(system, torch.zeros_like(root), NewtonKrylov("identity", forcing=1e-8))
    assert set(solution.outcomes) == {Outcome.CONVERGED}
    for sizes in solution.residuals:
        close = sizes[sizes < 1].tolist()
        assert len(close) > 1
        assert all(after < 5 * before**2 + 1e-10 for before, after in pairwise(close))


def test_inexact_systems_cost_few_steps_and_save_evaluations() -> None:
    system, root = roots(4)
    start = torch.zeros_like(root)
    exact = solve(system, start, NewtonKrylov("identity", forcing=1e-8))
    inexact = solve(system, start, NewtonKrylov("identity"))
    assert set(inexact.outcomes) == {Outcome.CONVERGED}
    assert (inexact.steps <= exact.steps + 3).all()
    assert inexact.evaluations < exact.evaluations


def test_a_linear_equation_takes_one_step() -> None:
    equation = LinearEquation(lambda x, v: 4 * stiffness(v) + v, lambda x: x)
    system = bound(equation, drawn(3))
    solution = solve(system, torch.zeros(3, 1, SIZE, dtype=F64), NewtonKrylov("identity"), rtol=1e-11)
    assert set(solution.outcomes) == {Outcome.CONVERGED}
    assert solution.steps.tolist() == [1, 1, 1]
    assert solution.evaluations >= 3


def test_a_batch_is_its_samples() -> None:
    system, root = roots(4)
    scale = torch.tensor([1e-3, 1.0, 10.0, 100.0], dtype=F64)[:, None, None]
    system = bound(REACTION, scale * system.physics.x)
    start, solver = torch.zeros_like(root), NewtonKrylov("identity")
    whole = solve(system, start, solver)
    assert len(set(whole.steps.tolist())) > 1
    evaluations = 0
    for i in range(4):
        keep = torch.tensor([i])
        alone = solve(system.select(keep), start[keep], solver)
        assert alone.outcomes[0] is whole.outcomes[i] is Outcome.CONVERGED
        assert alone.steps[0] == whole.steps[i]
        assert (alone.value[0] - whole.value[i]).norm() < 1e-10 * whole.value[i].norm()
        evaluations += alone.evaluations
    assert whole.evaluations == evaluations


FAR = {
    "an overshoot": (lambda x, h: x - torch.atan(h), 0.5, 50.0, True),
    "exponential growth": (lambda x, h: x - torch.exp(h), 2.0, -12.0, True),
    "not finite beyond": (lambda x, h: x - torch.log(h), 3.0, 0.1, True),
    "a flat start": (lambda x, h: x - h**2, 2.0, 0.0, False),
    "no root": (lambda x, h: x - h**2, -1.0, 1.0, False),
    "not finite at the start": (lambda x, h: x - torch.log(h), 3.0, -1.0, False),
}


@pytest.mark.parametrize("name", FAR)
def test_far_starts_converge_or_end_as_failed(name: str) -> None:
    function, right, start, converges = FAR[name]
    x = torch.full((2, 1, 3), right, dtype=F64)
    solver = NewtonKrylov("identity", restart=4)
    solution = solve(bound(Equation(function), x), torch.full_like(x, start), solver, max_steps=30)
    assert all((outcome is Outcome.CONVERGED) == converges for outcome in solution.outcomes)
    if not converges:
        assert set(solution.outcomes) <= {Outcome.STALLED, Outcome.NOT_FINITE, Outcome.OUT_OF_STEPS}
    assert solution.value.isfinite().all()


class Networks(Preconditioner):
    """A network for each sample, of tanh, with its weights in the channels of x after the first."""

    def of(self, system: System, h: Tensor, r: Tensor) -> Tensor:
        first, second = system.physics.x[:, 1:].tensor_split(2, 1)
        return torch.einsum("bij,bcj->bci", second, torch.einsum("bij,bcj->bci", first, r).tanh())


def test_no_network_makes_a_wrong_answer_converge() -> None:
    """100 random networks as preconditioners, of sizes from 1e-3 to 1e3. Converged means solved."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(100, 2 * SIZE, SIZE, dtype=F64, generator=generator)
    weights[:, SIZE:] *= 10.0 ** (torch.arange(100) % 7 - 3)[:, None, None]
    equation = Equation(lambda x, h: x[:, :1] - 4 * stiffness(h) - h - h**3)
    system = bound(equation, torch.cat([10 * drawn(100), weights], 1))
    start = torch.zeros(100, 1, SIZE, dtype=F64)
    solution = solve(system, start, NewtonKrylov(Networks()), rtol=1e-9)
    left = system.domain.norm(system.physics(solution.value)) / system.scale(start)
    for outcome, rest in zip(solution.outcomes, left.tolist(), strict=True):
        assert (outcome is Outcome.CONVERGED) == (rest < 1e-9)
    assert set(solution.outcomes) == {Outcome.CONVERGED}


ADVERSARIES = {
    "zero": lambda r: 0 * r,
    "not a number": lambda r: torch.full_like(r, torch.nan),
    "away": lambda r: -r,
    "constant": torch.ones_like,
    "huge": lambda r: 1e200 * r,
}


@pytest.mark.parametrize("how", ADVERSARIES)
def test_adversarial_preconditioners_do_not_keep_it_from_converging(how: str) -> None:
    class Adversary(Preconditioner):
        def of(self, system: System, h: Tensor, r: Tensor) -> Tensor:
            answer: Tensor = ADVERSARIES[how](r)
            return answer

    system, root = roots(3)
    solution = solve(system, torch.zeros_like(root), NewtonKrylov(Adversary()))
    assert set(solution.outcomes) == {Outcome.CONVERGED}
    assert (solution.value - root).abs().max() < 1e-10


def test_given_values_are_kept() -> None:
    """A boundary of ones on both sides of a nonlinear equation."""
    ends = torch.zeros(1, 1, SIZE, dtype=torch.bool)
    ends[..., [0, -1]] = True
    equation = Equation(
        lambda x, h: x - 4 * stiffness(h) - h**3, fixed=lambda x: ends, values=lambda x: torch.ones_like(x)
    )
    x = drawn(2)
    solution = solve(bound(equation, x), torch.zeros_like(x), NewtonKrylov("identity"))
    assert set(solution.outcomes) == {Outcome.CONVERGED}
    assert torch.equal(solution.value[..., [0, -1]], torch.ones(2, 1, 2, dtype=F64))


def test_a_refiner_in_single_precision_reaches_ten_digits() -> None:
    torch.manual_seed(0)
    equation = Equation(lambda x, h: x[:, :1] - 4 * stiffness(h) - h - h**3)
    model = IterativeRefiner(
        nn.Conv2d(1, 1, 1), {"name": "unet", "width": 4, "depth": 1}, equation=equation,
        in_channels=1, out_channels=1,
    ).eval()  # fmt: skip
    for parameter in model.correction.parameters():
        nn.init.normal_(parameter, std=0.1)
    solution = model.solve(torch.randn(2, 1, 8, 8), solver="newton_krylov", rtol=1e-10)
    assert set(solution.outcomes) == {Outcome.CONVERGED}
    assert solution.value.dtype is F64
    assert solution.equation_residual is not None
    assert (solution.equation_residual < 1e-10).all()


@pytest.mark.parametrize("options", [{"forcing": 1.0}, {"inner_steps": 0}, {"restart": 0}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"expected .*, got .*; try"):
        NewtonKrylov(**options)  # type: ignore[arg-type]
