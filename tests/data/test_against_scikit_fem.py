"""Our finite elements and those of scikit-fem, on the same meshes."""

import numpy as np
import pytest
import skfem
from scipy.sparse import linalg
from skfem.helpers import grad
from skfem.models.poisson import laplace, mass

from neuralop_irno.data.mesh import TriangleMesh, random_holes, square_with_holes
from neuralop_irno.data.solvers.finite_elements import Elements, advection_diffusion, wave

WIND = (0.7, -0.4)


@skfem.BilinearForm
def convection(u, v, _):
    return v * (WIND[0] * grad(u)[0] + WIND[1] * grad(u)[1])


def with_holes(seed: int, spacing: float = 0.07) -> TriangleMesh:
    mesh = square_with_holes(spacing, random_holes(3, seed), seed)
    assert len(mesh.triangles) > 100
    return mesh


def basis_on(mesh: TriangleMesh) -> skfem.Basis:
    return skfem.Basis(skfem.MeshTri(mesh.pos.T.copy(), mesh.triangles.T.copy()), skfem.ElementTriP1())


@pytest.mark.parametrize("seed", range(3))
def test_the_matrices_are_the_same(seed: int) -> None:
    mesh = with_holes(seed)
    ours, basis = Elements(mesh, WIND), basis_on(mesh)
    pairs = ((ours.mass, mass), (ours.stiffness, laplace), (ours.advection, convection))
    for matrix, form in pairs:
        theirs = form.assemble(basis)
        assert abs(matrix - theirs).max() < 1e-12


def test_the_boundary_is_the_same() -> None:
    mesh = with_holes(4)
    theirs = basis_on(mesh).mesh.boundary_nodes()
    assert set(np.flatnonzero(mesh.boundary)) == set(theirs)


def test_heat_in_wind_is_the_same() -> None:
    mesh, diffusivity, steps, dt = with_holes(1), 0.03, 20, 0.01
    basis = basis_on(mesh)
    start = np.where(mesh.boundary, 0.0, np.exp(-30 * ((mesh.pos - 0.4) ** 2).sum(1)))
    flux = diffusivity * laplace.assemble(basis) + convection.assemble(basis)
    weights = mass.assemble(basis)
    u = start
    for _ in range(steps):
        u = skfem.solve(
            *skfem.condense(weights + dt / 2 * flux, (weights - dt / 2 * flux) @ u, D=basis.get_dofs())
        )
    (ours,) = advection_diffusion(mesh, start, np.array([steps * dt]), diffusivity, WIND, dt=dt)
    assert 0.01 < np.abs(ours).max() < 0.9
    np.testing.assert_allclose(ours, u, rtol=0, atol=1e-12)


def test_waves_are_the_same() -> None:
    mesh, speed, steps, dt = with_holes(2), 1.3, 40, 0.01
    basis = basis_on(mesh)
    weights, stiffness = mass.assemble(basis), speed**2 * laplace.assemble(basis)
    u = start = np.exp(-40 * ((mesh.pos - 0.6) ** 2).sum(1))
    v = np.zeros_like(u)
    a = linalg.spsolve(weights.tocsc(), -stiffness @ u)
    solve = linalg.factorized((weights + dt**2 / 4 * stiffness).tocsc())
    for _ in range(steps):  # Newmark's method as the books have it, in accelerations
        guess = u + dt * v + dt**2 / 4 * a
        new = solve(-stiffness @ guess)
        u, v, a = guess + dt**2 / 4 * new, v + dt / 2 * (a + new), new
    (ours,) = wave(mesh, start, np.array([steps * dt]), speed, dt=dt)
    np.testing.assert_allclose(ours, u, rtol=0, atol=1e-10)
