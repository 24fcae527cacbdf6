"""Finite elements against solutions that are known, on meshes with and without holes."""

import numpy as np
import pytest

from neuralop_irno.data.mesh import Hole, random_holes, square_with_holes
from neuralop_irno.data.solvers.finite_elements import Elements, advection_diffusion, wave

PI = np.pi


def test_a_mesh_covers_its_domain_and_nothing_else() -> None:
    holes = [Hole(0.3, 0.35, 0.12), Hole(0.7, 0.6, 0.15)]
    mesh = square_with_holes(0.04, holes, seed=1)
    known = 1 - sum(PI * hole.radius**2 for hole in holes)
    assert mesh.measure().sum() == pytest.approx(known, rel=5e-3)
    assert (mesh.areas() > 0).all()
    assert set(mesh.triangles.ravel()) == set(range(len(mesh.pos)))
    for hole in holes:
        away = np.hypot(mesh.pos[:, 0] - hole.x, mesh.pos[:, 1] - hole.y) - hole.radius
        assert away.min() > -1e-12
    edges = mesh.edges()
    assert {tuple(edge) for edge in edges.T} == {tuple(edge) for edge in edges[::-1].T}
    # Euler's formula for a square with two holes: V - E + T = 1 - 2.
    assert len(mesh.pos) - edges.shape[1] // 2 + len(mesh.triangles) == 1 - len(holes)


def test_random_holes_fit() -> None:
    for seed in range(5):
        mesh = square_with_holes(0.06, random_holes(3, seed), seed)
        assert (mesh.areas() > 0).all()
    with pytest.raises(ValueError, match="expected holes inside the unit square, got Hole"):
        square_with_holes(0.1, [Hole(0.1, 0.5, 0.2)])


def test_matrices_are_exact_for_linear_functions() -> None:
    mesh = square_with_holes(0.08, [Hole(0.5, 0.5, 0.2)])
    parts = Elements(mesh, velocity=(2.0, -1.0))
    one, x, y = np.ones(len(mesh.pos)), mesh.pos[:, 0], mesh.pos[:, 1]
    area = mesh.areas().sum()
    assert one @ parts.mass @ one == pytest.approx(area)
    assert np.abs(parts.stiffness @ one).max() < 1e-12
    assert x @ parts.stiffness @ x == pytest.approx(area)
    assert x @ parts.stiffness @ y == pytest.approx(0, abs=1e-12)
    assert one @ parts.advection @ (3 * x + y) == pytest.approx((2 * 3 - 1) * area)
    np.testing.assert_allclose(parts.mass.sum(1), mesh.measure())


def test_a_mode_of_the_square_decays_at_its_rate_and_faster_meshes_are_closer() -> None:
    errors = []
    for spacing in (0.1, 0.05, 0.025):
        mesh = square_with_holes(spacing)
        mode = np.sin(PI * mesh.pos[:, 0]) * np.sin(PI * mesh.pos[:, 1])
        (end,) = advection_diffusion(mesh, mode, np.array([0.2]), diffusivity=0.5, dt=0.002)
        errors.append(np.abs(end - np.exp(-2 * PI**2 * 0.5 * 0.2) * mode).max())
    assert errors[0] > 3 * errors[1] > 9 * errors[2]  # second order is four times


def test_without_a_fixed_boundary_nothing_is_lost() -> None:
    mesh = square_with_holes(0.06, [Hole(0.4, 0.6, 0.15)])
    mass = Elements(mesh).mass
    start = np.exp(-40 * ((mesh.pos - [0.7, 0.3]) ** 2).sum(1))
    frames = advection_diffusion(mesh, start, np.linspace(0.1, 1, 5), 0.1, fixed=False)
    total = np.ones(len(start)) @ mass @ start
    np.testing.assert_allclose(frames @ mass @ np.ones(len(start)), total, rtol=1e-10)


def test_a_wind_carries_a_bump_along() -> None:
    mesh = square_with_holes(0.03)
    start = np.exp(-120 * ((mesh.pos - [0.3, 0.4]) ** 2).sum(1))
    (end,) = advection_diffusion(mesh, start, np.array([0.4]), 1e-3, velocity=(0.8, 0.3), dt=0.005)
    weight = end * mesh.measure()
    centre = (weight[:, None] * mesh.pos).sum(0) / weight.sum()
    np.testing.assert_allclose(centre, [0.62, 0.52], atol=0.01)


def test_a_standing_wave_keeps_its_time_and_its_energy() -> None:
    mesh = square_with_holes(0.05)
    mode = np.cos(PI * mesh.pos[:, 0])
    times = np.array([0.5, 1.0, 2.0])
    frames = wave(mesh, mode, times, speed=1.0)
    for time, frame in zip(times, frames, strict=True):
        assert np.abs(frame - np.cos(PI * time) * mode).max() < 0.02
    with_hole = square_with_holes(0.05, [Hole(0.5, 0.5, 0.2)])
    bump = np.exp(-60 * ((with_hole.pos - [0.2, 0.5]) ** 2).sum(1))
    dt = 0.005
    u = wave(with_hole, bump, np.arange(1, 401) * dt, dt=dt)
    parts = Elements(with_hole)
    speed = (u[1:] - u[:-1]) / dt  # at half steps, where the average of u belongs to it
    mean = (u[1:] + u[:-1]) / 2
    energy = np.einsum("tn,tn->t", speed, (parts.mass @ speed.T).T)
    energy = energy + np.einsum("tn,tn->t", mean, (parts.stiffness @ mean.T).T)
    assert energy.max() / energy.min() - 1 < 1e-9


def test_times_have_to_ascend() -> None:
    mesh = square_with_holes(0.3)
    with pytest.raises(ValueError, match="expected ascending times > 0"):
        wave(mesh, np.zeros(len(mesh.pos)), np.array([0.2, 0.1]))
