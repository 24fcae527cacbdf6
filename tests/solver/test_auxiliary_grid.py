"""The grid that covers a mesh: transposes, a symmetric positive definite cycle, few steps at every size."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.spatial
import torch
from torch import Tensor

from neuralop_irno.domain.cover import Cover
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.registry import EQUATIONS
from neuralop_irno.solver.auxiliary_grid import AuxiliaryGrid
from neuralop_irno.solver.fcg import FCG
from neuralop_irno.solver.stopping import Limits
from neuralop_irno.solver.system import System
from neuralop_irno.solver.to_equation import solve_equation


def square(nodes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Delaunay triangles of random points of the unit square, with points along its sides."""
    side = int(nodes**0.5)
    inner = np.random.default_rng(seed).random((nodes, 2))
    t, zero = np.arange(side) / side, np.zeros(side)
    walls = [np.stack(each, 1) for each in ((t, zero), (zero + 1, t), (1 - t, zero + 1), (zero, 1 - t))]
    pos = np.concatenate([inner, *walls])
    cells = scipy.spatial.Delaunay(pos).simplices.T.astype("int64")
    return torch.from_numpy(pos), torch.from_numpy(cells)


def system(nodes: int, contrast: float = 10.0) -> System:
    pos, cells = square(nodes)
    a = torch.where(torch.sin(7 * pos[:, :1]) * torch.cos(9 * pos[:, 1:]) > 0, contrast, 1.0).double()
    domain = GraphDomain.of(a, {"pos": pos, "face": cells})
    return System(EQUATIONS.build("mesh_darcy", source=1.0).bind(a, domain))


def auxiliary(phi: bool = False) -> AuxiliaryGrid:
    return AuxiliaryGrid({"name": "darcy", "source": 1.0}, phi=phi)


def cover() -> tuple[Cover, Tensor]:
    pos = square(60)[0]
    domain = GraphDomain.of(pos, {"pos": pos})
    box = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    return Cover.of(domain, (4, 6), *box), pos


def test_to_cells_is_the_transpose_of_to_nodes() -> None:
    made, pos = cover()
    draws = torch.Generator().manual_seed(0)
    field = torch.randn(1, 1, 4, 6, generator=draws, dtype=torch.float64)
    nodes = torch.randn(len(pos), 1, generator=draws, dtype=torch.float64)
    assert ((made.to_nodes(field) * nodes).sum() - (made.to_cells(nodes) * field).sum()).abs() < 1e-12


def test_interpolation_is_exact_for_linear_fields_inside_and_zero_on_the_walls() -> None:
    made, pos = cover()
    x, y = (torch.arange(4, dtype=torch.float64) + 0.5) / 4, (torch.arange(6, dtype=torch.float64) + 0.5) / 6
    found = made.to_nodes((x[:, None] + 2 * y)[None, None])[:, 0]
    inside = ((pos[:, 0] - 0.5).abs() < 0.5 - 1 / 8) & ((pos[:, 1] - 0.5).abs() < 0.5 - 1 / 12)
    assert (found - pos[:, 0] - 2 * pos[:, 1])[inside].abs().max() < 1e-12
    walls = ((pos == 0) | (pos == 1)).any(1)
    assert walls.sum() > 20
    assert found[walls].abs().max() < 1e-12


def test_means_of_a_constant_are_the_constant_where_there_are_no_nodes_too() -> None:
    pos = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    domain = GraphDomain.of(pos, {"pos": pos})
    box = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    means = Cover.of(domain, (8, 8), *box).means(torch.full((2, 3), 7.0, dtype=torch.float64))
    assert (means - 7).abs().max() < 1e-12
    assert means.shape == (1, 3, 8, 8)


def test_the_cycle_is_symmetric_and_positive_definite() -> None:
    made = system(80)
    free = made.physics.project(torch.ones_like(made.physics.x))[:, 0] > 0
    units = torch.eye(len(free), dtype=torch.float64)[free]
    preconditioner = auxiliary()
    matrix = torch.stack([preconditioner.of(made, u[:, None], u[:, None])[:, 0] for u in units])[:, free]
    assert (matrix - matrix.mT).abs().max() < 1e-12 * matrix.abs().max()
    assert torch.linalg.eigvalsh(matrix).min() > 0


def steps(made: System, preconditioner: AuxiliaryGrid | str) -> int:
    limits = Limits(rtol=1e-8, max_steps=1000)
    start = torch.zeros_like(made.physics.x)
    solution = solve_equation(made, FCG(preconditioner), start, 4, limits, lambda h: h)
    assert {outcome.name for outcome in solution.outcomes} == {"CONVERGED"}
    return int(solution.steps.max())


def test_the_steps_of_fcg_hardly_grow_with_the_mesh() -> None:
    few, many = (steps(system(nodes), auxiliary()) for nodes in (300, 4000))
    assert many <= 2 * few
    assert many < steps(system(4000), "jacobi") / 5


class OnGrids:
    """A Phi for grids."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, h: Tensor, r: Tensor) -> Tensor:
        self.seen.append(tuple(r.shape))
        return r

    def select(self, keep: Tensor) -> OnGrids:
        return self

    def on(self, equation: object, carry: object) -> OnGrids:
        return self


def test_a_phi_for_grids_proposes_updates_on_the_grid() -> None:
    made, phi = system(400), OnGrids()
    assert steps(System(made.physics, phi), auxiliary(phi=True)) <= steps(made, auxiliary())
    assert {shape[2:] for shape in phi.seen} == {(22, 22)}


def test_grids_are_refused() -> None:
    x = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    made = System(EQUATIONS.build("darcy", source=1.0).bind(x, GridDomain.of(x)))
    with pytest.raises(ValueError, match=r"expected an equation of one field on a mesh .* got one on a grid"):
        auxiliary().of(made, x, x)
