"""Equations of assembled matrices, on grids and meshes, against eliminated systems solved by scipy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import spsolve
from torch import Tensor

from neuralop_irno import Hole, LinearEquation, square_with_holes
from neuralop_irno.domain.elements import LinearElements
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.equations.equation import BoundEquation, equation_from
from neuralop_irno.equations.meshes import boundary_nodes
from neuralop_irno.registry import SOLVERS
from neuralop_irno.solution import Outcome
from neuralop_irno.solver.stopping import Limits
from neuralop_irno.solver.system import System
from neuralop_irno.solver.to_equation import solve_equation

SIZE = 12


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def definite_matrix(size: int = SIZE, seed: int = 0) -> sp.csr_array:
    """A sparse matrix without symmetry, whose symmetric part is positive definite."""
    noise = sp.random_array((size, size), density=0.2, rng=np.random.default_rng(seed))
    return sp.csr_array(noise + size * sp.eye_array(size))


def solved(bound: BoundEquation, start: Tensor, solver: str = "fgmres") -> Tensor:
    limits = Limits(rtol=1e-13, max_steps=400)
    built = SOLVERS.build({"name": solver}, preconditioner="jacobi")
    solution = solve_equation(System(bound), built, start, 4, limits, lambda h: h)
    assert set(solution.outcomes) == {Outcome.CONVERGED}
    return solution.value


FORMS: dict[str, Callable[[sp.csr_array], Any]] = {
    "csr": lambda matrix: matrix,
    "coo": sp.coo_array,
    "bsr of the old kind": sp.bsr_matrix,
    "numpy": lambda matrix: matrix.toarray(),
    "torch": lambda matrix: torch.from_numpy(matrix.toarray()),
    "torch coo": lambda matrix: torch.from_numpy(matrix.toarray()).to_sparse_coo(),
    "torch csr": lambda matrix: torch.from_numpy(matrix.toarray()).to_sparse_csr(),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support:UserWarning")
@pytest.mark.parametrize("form", FORMS)
def test_a_matrix_of_any_form_is_that_of_every_sample(form: str) -> None:
    matrix = definite_matrix()
    equation = LinearEquation.of_matrix(FORMS[form](matrix))
    x = drawn(2, 1, 4, 3)
    bound = equation.bind(x, GridDomain.of(x))
    v = drawn(2, 1, 4, 3, seed=1)
    exact = torch.from_numpy(matrix.toarray())
    assert torch.allclose(bound.apply(v).flatten(1), v.flatten(1) @ exact.mT, rtol=0, atol=1e-12)
    assert torch.allclose(bound(v), x - bound.apply(v))
    assert bound.diagonal is not None
    assert torch.equal(bound.diagonal.flatten(1)[0], exact.diagonal())
    answer = torch.from_numpy(np.stack([spsolve(matrix, b) for b in x.flatten(1).numpy()]))
    assert torch.allclose(solved(bound, torch.zeros_like(x)).flatten(1), answer, rtol=0, atol=1e-9)


@pytest.mark.parametrize("form", ["mask", "numbers", "function"])
def test_given_values_are_met_to_the_bit_and_the_others_solve_the_eliminated_system(form: str) -> None:
    matrix, given, b = definite_matrix(), drawn(SIZE, seed=3), drawn(SIZE, seed=4)
    rows = np.array([0, 5, 11])
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[rows] = True
    fixed = {"mask": mask, "numbers": rows, "function": lambda x: mask[:, None].repeat(2, 1)}[form]
    values = (lambda x: given[:, None].repeat(2, 1)) if form == "function" else given
    equation = LinearEquation.of_matrix(matrix, b, fixed=fixed, values=values)
    x = drawn(2 * SIZE, 3)
    domain = GraphDomain(torch.arange(2).repeat_interleave(SIZE), 2)
    bound = equation.bind(x, domain)
    h = solved(bound, drawn(2 * SIZE, 1, seed=5))[:, 0].reshape(2, SIZE)
    free = np.flatnonzero(~mask.numpy())
    right = b.numpy()[free] - matrix[free][:, rows] @ given.numpy()[rows]
    exact = torch.from_numpy(spsolve(sp.csc_array(matrix[free][:, free]), right))
    for sample in h:
        assert torch.equal(sample[rows], given[rows])
        assert torch.allclose(sample[free], exact, rtol=0, atol=1e-9)


def test_samples_with_matrices_of_their_own_are_a_function_of_the_domain() -> None:
    sizes = [4, 7, 5]
    each = [definite_matrix(size, seed=size) for size in sizes]

    def of_batch(x: Tensor, domain: GraphDomain) -> sp.csr_array:
        """The matrix of each sample, by its size."""
        counts = domain.batch.bincount().tolist()
        return sp.csr_array(sp.block_diag([each[sizes.index(count)] for count in counts]))

    x = drawn(sum(sizes), 1)
    domain = GraphDomain(torch.arange(3).repeat_interleave(torch.tensor(sizes)), 3)
    bound = LinearEquation.of_matrix(of_batch).bind(x, domain)
    h = solved(bound, torch.zeros_like(x))
    parts = zip(each, x[:, 0].split(sizes), strict=True)
    exact = torch.cat([torch.from_numpy(spsolve(matrix, b.numpy())) for matrix, b in parts])
    assert torch.allclose(h[:, 0], exact, rtol=0, atol=1e-9)
    keep = torch.tensor([0, 2])
    alone = bound.select(keep)(domain.take(h, keep))
    assert torch.allclose(alone, domain.take(bound(h), keep), rtol=0, atol=1e-13)


def test_an_assembled_matrix_is_probed_before_conjugate_gradients() -> None:
    x = drawn(1, 1, SIZE)
    bound = LinearEquation.of_matrix(definite_matrix()).bind(x, GridDomain.of(x))
    with pytest.raises(ValueError, match="expected a symmetric equation, got <A v, w>"):
        solved(bound, x, solver="fcg")


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a square matrix, got \(2, 3\); try"):
        LinearEquation.of_matrix(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"a matrix of real numbers, got torch\.complex128; try"):
        LinearEquation.of_matrix(1j * np.eye(2))
    with pytest.raises(TypeError, match=r"a matrix of scipy\.sparse, numpy or torch, got list; try"):
        LinearEquation.of_matrix([[1.0]])
    with pytest.raises(ValueError, match="fixed beside values, got values alone; try"):
        LinearEquation.of_matrix(np.eye(2), values=np.ones(2))
    x = torch.zeros(9, 1)
    two = GraphDomain(torch.tensor([0] * 4 + [1] * 5), 2)
    with pytest.raises(ValueError, match="samples of 4 values, the rows of A, got samples of 4, 5; try"):
        LinearEquation.of_matrix(np.eye(4)).bind(x, two)
    with pytest.raises(ValueError, match="a matrix of all 9 values of the batch, got 4 rows; try"):
        LinearEquation.of_matrix(lambda x, domain: np.eye(4)).bind(x, two)
    with pytest.raises(ValueError, match="numbers of rows below 9, got 3 to 9; try"):
        LinearEquation.of_matrix(np.eye(9), fixed=[3, 9]).bind(x, GraphDomain.of(x, {}))
    with pytest.raises(ValueError, match=r"9 numbers, one for each row of A, got \(2,\); try"):
        LinearEquation.of_matrix(np.eye(9), b=np.ones(2)).bind(x, GraphDomain.of(x, {}))


def test_matrices_of_scikit_fem() -> None:
    skfem = pytest.importorskip("skfem")
    from skfem.models.poisson import laplace, unit_load

    basis = skfem.Basis(skfem.MeshTri().refined(2), skfem.ElementTriP1())
    matrix, b, walls = laplace.assemble(basis), unit_load.assemble(basis), basis.get_dofs().flatten()
    exact = skfem.solve(*skfem.condense(matrix, b, D=walls))
    equation = LinearEquation.of_matrix(matrix, b, fixed=walls, symmetric=True, definite=True)
    x = torch.zeros(len(b), 1, dtype=torch.float64)
    h = solved(equation.bind(x, GraphDomain.of(x, {})), x, solver="fcg")
    assert np.abs(h[:, 0].numpy() - exact).max() < 1e-9


def meshes(cells: float = 0.3) -> tuple[Tensor, GraphDomain]:
    """Two meshes of different sizes, with a > 0, f and values of h in the channels of x."""
    each = [square_with_holes(cells, [Hole(0.5, 0.5, 0.2)]), square_with_holes(cells * 0.8, [])]
    pos = torch.cat([torch.from_numpy(mesh.pos) for mesh in each])
    sizes = [len(mesh.pos) for mesh in each]
    face = torch.cat(
        [torch.from_numpy(mesh.triangles).T + start for mesh, start in zip(each, [0, sizes[0]], strict=True)],
        1,
    )
    batch = torch.arange(2).repeat_interleave(torch.tensor(sizes))
    x = drawn(sum(sizes), 3)
    x[:, 0] = x[:, 0].exp()
    return x, GraphDomain.of(x, {"pos": pos, "face": face, "batch": batch})


MESH: dict[str, dict[str, Any]] = {
    "mesh_poisson": {"screen": 0.5},
    "mesh_darcy": {"screen": 0.5},
}


@pytest.mark.parametrize("lifted", [True, False], ids=["values given", "zero"])
@pytest.mark.parametrize("name", MESH)
def test_equations_on_meshes_are_the_eliminated_systems_of_finite_elements(name: str, lifted: bool) -> None:
    x, domain = meshes()
    assert domain.pos is not None
    assert domain.cells is not None
    elements = LinearElements(domain.pos.numpy(), domain.cells.numpy())
    a = x[:, 0].numpy() if name == "mesh_darcy" else np.ones(len(x))
    mass = elements.lumped_mass
    matrix = elements.assemble(elements.stiffness * a[elements.cells].mean(0)[:, None, None])
    matrix = sp.csr_array(matrix + 0.5 * sp.diags_array(mass))
    f = x[:, 1 if name == "mesh_darcy" else 0].numpy()
    given = x[:, 2].numpy() if lifted else np.zeros(len(x))
    on_boundary = boundary_nodes(elements.cells, len(x))
    free, rows = np.flatnonzero(~on_boundary), np.flatnonzero(on_boundary)
    right = (mass * f)[free] - matrix[free][:, rows] @ given[rows]
    exact = torch.from_numpy(spsolve(sp.csc_array(matrix[free][:, free]), right))
    options = {**MESH[name], **({"boundary_values": 2} if lifted else {})}
    bound = equation_from({"name": name, **options}).bind(x, domain)
    h = solved(bound, drawn(len(x), 1, seed=7), solver="fcg")[:, 0]
    assert torch.equal(h[rows], torch.from_numpy(given)[rows])
    assert torch.allclose(h[free], exact, rtol=0, atol=1e-9)
    assert bound.diagonal is not None
    assert np.allclose(bound.diagonal[:, 0].numpy(), matrix.diagonal(), rtol=1e-12, atol=0)
    keep = torch.tensor([1])
    alone = bound.select(keep)(domain.take(h[:, None], keep))
    assert torch.allclose(alone, domain.take(bound(h[:, None]), keep), rtol=0, atol=1e-13)


def test_the_boundary_of_a_mesh_is_that_of_its_maker() -> None:
    mesh = square_with_holes(0.2, [Hole(0.5, 0.5, 0.2)])
    assert np.array_equal(boundary_nodes(mesh.triangles.T, len(mesh.pos)), mesh.boundary)


def test_the_error_on_meshes_falls_with_the_square_of_the_spacing() -> None:
    errors = []
    for spacing in (0.2, 0.05):
        mesh = square_with_holes(spacing, [])
        pos = torch.from_numpy(mesh.pos)
        h = (torch.pi * pos).sin().prod(1, keepdim=True)
        x = 2 * torch.pi**2 * h
        domain = GraphDomain.of(x, {"pos": pos, "face": torch.from_numpy(mesh.triangles.T)})
        bound = equation_from("mesh_poisson").bind(x, domain)
        found = solved(bound, torch.zeros_like(x), solver="fcg")
        errors.append(float(domain.norm(found - h)))
    assert torch.tensor(errors[0] / errors[1]).log2() / 2 > 1.6, errors


def test_equations_on_meshes_refuse_what_is_no_mesh() -> None:
    x = torch.ones(3, 1)
    with pytest.raises(ValueError, match="a mesh for this equation, got a graph without cells; try"):
        equation_from("mesh_poisson").bind(x, GraphDomain.of(x, {}))
    with pytest.raises(ValueError, match="a mesh for this equation, got GridDomain; try"):
        equation_from("mesh_poisson").bind(x[None, None], GridDomain.of(x[None, None]))
    pos = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    ring = torch.tensor([[0, 1, 2], [1, 2, 0]])
    with pytest.raises(ValueError, match="a mesh with a boundary, got one that is closed; try"):
        equation_from("mesh_poisson").bind(x, GraphDomain.of(x, {"pos": pos, "face": ring}))
    with pytest.raises(ValueError, match="an option of equation 'mesh_darcy', got 'value'; try"):
        equation_from({"name": "mesh_darcy", "value": 1})
