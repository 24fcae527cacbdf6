"""Values on a boundary, by functions: lifted to the bit, and the rest as the eliminated system has it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import spsolve
from torch import Tensor
from torch.nn.functional import pad

from neuralop_irno import LinearEquation
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.registry import SOLVERS
from neuralop_irno.solution import Outcome
from neuralop_irno.solver.stopping import Limits
from neuralop_irno.solver.system import System
from neuralop_irno.solver.to_equation import solve_equation

N = 6


def apply(x: Tensor, v: Tensor) -> Tensor:
    """Minus the sum of second differences at the points inside, nothing on the edge."""
    centre, around = (
        v[..., 1:-1, 1:-1],
        (v[..., :-2, 1:-1], v[..., 2:, 1:-1], v[..., 1:-1, :-2], v[..., 1:-1, 2:]),
    )
    return pad(4 * centre - sum(around), (1, 1, 1, 1))


def edge(x: Tensor) -> Tensor:
    return pad(torch.zeros_like(x[:, :1, 1:-1, 1:-1], dtype=torch.bool), (1, 1, 1, 1), value=True)


@pytest.mark.parametrize("solver", ["fcg", "fgmres"])
def test_values_on_an_edge_are_lifted_and_the_inside_solves_the_eliminated_system(solver: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 2, N, N, generator=generator, dtype=torch.float64)  # f and the values on the edge
    equation = LinearEquation(
        apply, lambda x: x[:, :1], symmetric=True, definite=True, fixed=edge, values=lambda x: x[:, 1:]
    )
    bound = equation.bind(x, GridDomain.of(x))
    start = torch.randn(3, 1, N, N, generator=generator, dtype=torch.float64)
    built = SOLVERS.build(solver, preconditioner="identity")
    solution = solve_equation(System(bound), built, start, 4, Limits(rtol=1e-12, max_steps=100), lambda h: h)
    assert set(solution.outcomes) == {Outcome.CONVERGED}
    one = sp.diags_array([[-1.0] * (N - 1), [2.0] * N, [-1.0] * (N - 1)], offsets=[-1, 0, 1])
    identity = sp.eye_array(N)
    matrix = sp.csr_array(sp.kron(one, identity) + sp.kron(identity, one))
    on_edge = edge(x[:1]).flatten().numpy()
    free, rows = np.flatnonzero(~on_edge), np.flatnonzero(on_edge)
    for h, (f, given) in zip(solution.value.flatten(1), x.flatten(2), strict=True):
        right = f.numpy()[free] - matrix[free][:, rows] @ given.numpy()[rows]
        exact = spsolve(sp.csc_array(matrix[free][:, free]), right)
        assert torch.equal(h[rows], given[rows])
        assert np.abs(h.numpy()[free] - exact).max() < 1e-9
