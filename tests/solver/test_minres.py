"""MINRES against scipy's, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse.linalg as sl
import torch
from torch import Tensor

from neuralop_irno import LinearEquation
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.solution import Outcome
from neuralop_irno.solver.minres import MINRES
from neuralop_irno.solver.preconditioner import Preconditioner
from neuralop_irno.solver.stopping import Limits
from neuralop_irno.solver.system import System
from neuralop_irno.solver.to_equation import solve_equation

SIZE, SAMPLES = 12, 3


class Matrix(Preconditioner):
    """M r with a fixed matrix."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix

    def of(self, system: System, h: Tensor, r: Tensor) -> Tensor:
        return r @ self.matrix.mT


def symmetric(samples: int, definite: bool = False) -> Tensor:
    drawn = torch.randn(
        samples, SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(int(definite))
    )
    return drawn @ drawn.mT / SIZE + torch.eye(SIZE, dtype=torch.float64) if definite else drawn + drawn.mT


def problem(matrix: Tensor) -> tuple[System, Tensor]:
    b = torch.randn(len(matrix), 1, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    equation = LinearEquation(lambda x, v: torch.einsum("bij,bcj->bci", x[:, 1:], v), lambda x: x[:, :1])
    return System(equation.bind(torch.cat([b, matrix], 1), GridDomain.of(b))), b


@pytest.mark.parametrize("preconditioned", [False, True])
def test_it_is_the_minres_of_scipy_step_by_step(preconditioned: bool) -> None:
    """scipy's k-th call-back has the k-th iterate."""
    matrix, steps = symmetric(SAMPLES), SIZE - 2
    inner = symmetric(1, definite=True)[0] if preconditioned else torch.eye(SIZE, dtype=torch.float64)
    system, b = problem(matrix)
    solver, h = MINRES(Matrix(inner)), torch.zeros_like(b)
    state, ours = solver.init(h, torch.zeros(SAMPLES, dtype=torch.long)), []
    for _ in range(steps):
        h, state = solver.step(system, h, state)
        ours.append(h[:, 0])
        left = system.domain.norm(system.physics(h) - state.residual)
        assert (left < 1e-9 * system.domain.norm(b)).all()
    for i in range(SAMPLES):
        theirs: list[np.ndarray] = []
        sl.minres(
            matrix[i].numpy(), b[i, 0].numpy(), rtol=0, maxiter=steps, M=inner.numpy(),
            callback=lambda x, found=theirs: found.append(x.copy()),
        )  # fmt: skip
        for mine, other in zip(ours, theirs, strict=True):
            assert (mine[i] - torch.from_numpy(other)).norm() < 1e-10 * np.linalg.norm(other)


def test_a_batch_is_its_samples_also_where_some_end_earlier() -> None:
    matrix = symmetric(4)
    matrix[1] = -torch.eye(SIZE, dtype=torch.float64)  # ends after one step
    system, b = problem(matrix)
    limits = Limits(rtol=1e-9, max_steps=100)
    whole = solve_equation(system, MINRES(), torch.zeros_like(b), 4, limits, lambda h: h)
    assert set(whole.outcomes) == {Outcome.CONVERGED}
    assert whole.steps[1] == 1
    for i in range(4):
        keep = torch.tensor([i])
        alone = solve_equation(system.select(keep), MINRES(), 0 * b[keep], 4, limits, lambda h: h)
        assert alone.steps[0] == whole.steps[i]
        assert (alone.value[0] - whole.value[i]).norm() < 1e-10 * whole.value[i].norm()


def test_what_is_not_fixed_symmetric_or_definite_is_refused() -> None:
    with pytest.raises(ValueError, match="minres, got 'phi', a network; try solver='fgmres'"):
        MINRES("phi")
    skew = torch.eye(SIZE, dtype=torch.float64)
    skew[0, 1] = 1
    unsymmetric = symmetric(2)
    unsymmetric[:, 0, 1] += 1
    for matrix, inner, what in (
        (symmetric(2), skew, "a symmetric positive definite preconditioner"),
        (symmetric(2), -torch.eye(SIZE, dtype=torch.float64), "a symmetric positive definite preconditioner"),
        (unsymmetric, torch.eye(SIZE, dtype=torch.float64), "a symmetric equation"),
    ):
        system, b = problem(matrix)
        with pytest.raises(ValueError, match=rf"expected {what}.*; try solver='fgmres'"):
            solve_equation(system, MINRES(Matrix(inner)), b, 4, Limits(rtol=1e-6), lambda h: h)
