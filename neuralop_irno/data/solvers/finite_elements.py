"""Linear finite elements on triangles: diffusion with advection, and waves, on meshes with holes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from neuralop_irno.data.mesh import Array, TriangleMesh
from neuralop_irno.domain.elements import LinearElements
from neuralop_irno.errors import expected


class Elements:
    """Finite element matrices of piecewise linear functions on a mesh.

    Args:
        mesh: the mesh.
        velocity: a constant velocity, for the advection matrix.

    Attributes:
        mass: M, integral of phi_i phi_j, ``(N, N)``.
        stiffness: K, integral of grad phi_i . grad phi_j.
        advection: C, integral of phi_i (velocity . grad phi_j).
    """

    def __init__(self, mesh: TriangleMesh, velocity: tuple[float, float] = (0.0, 0.0)) -> None:
        elements = LinearElements(mesh.pos, mesh.triangles.T)
        area = elements.volume[:, None, None]
        along = elements.gradients @ np.asarray(velocity)
        self.mass = elements.assemble(area / 12 * (np.ones((3, 3)) + np.eye(3)))
        self.stiffness = elements.assemble(elements.stiffness)
        self.advection = elements.assemble(area / 3 * np.ones((3, 1)) * along[:, None])


def advection_diffusion(
    mesh: TriangleMesh,
    start: Array,
    times: Array,
    diffusivity: float,
    velocity: tuple[float, float] = (0.0, 0.0),
    fixed: bool = True,
    dt: float = 0.01,
) -> Array:
    r"""Solve the advection-diffusion equation by the Crank-Nicolson method:

    .. math:: u_t + v \cdot \nabla u = \kappa \Delta u

    Args:
        mesh: the mesh.
        start: u at time 0, ``(N,)``.
        times: times of the snapshots, ascending and positive, ``(T,)``.
        diffusivity: kappa.
        velocity: v, constant in space.
        fixed: whether u = 0 on the boundary; otherwise the diffusive flux through it is 0.
        dt: the longest time step.

    Shapes:
        - returns: ``(T, N)``
    """
    parts = Elements(mesh, velocity)
    flux = diffusivity * parts.stiffness + parts.advection
    inner = np.flatnonzero(~mesh.boundary) if fixed else np.arange(len(mesh.pos))
    mass, flux = parts.mass[inner][:, inner], flux[inner][:, inner]

    def stepper(step: float) -> Callable[[Array], Array]:
        solve = splu(sp.csc_matrix(mass + step / 2 * flux)).solve
        explicit = mass - step / 2 * flux
        return lambda u: solve(explicit @ u)

    whole = np.zeros((len(times), len(mesh.pos)))
    whole[:, inner] = _march(start[inner], times, dt, stepper)
    return whole


def wave(mesh: TriangleMesh, start: Array, times: Array, speed: float = 1.0, dt: float = 0.005) -> Array:
    r"""Solve the wave equation by Newmark's method (average acceleration, which conserves the energy):

    .. math:: u_{tt} = c^2 \Delta u

    with zero initial velocity and reflecting walls (zero normal derivative).

    Args:
        mesh: the mesh.
        start: u at time 0, ``(N,)``.
        times: times of the snapshots, ascending and positive, ``(T,)``.
        speed: c.
        dt: the longest time step.

    Shapes:
        - returns: ``(T, N)``
    """
    parts = Elements(mesh)
    stiffness = speed**2 * parts.stiffness
    count = len(mesh.pos)

    def stepper(step: float) -> Callable[[Array], Array]:
        solve = splu(sp.csc_matrix(parts.mass + step**2 / 4 * stiffness)).solve

        def advance(state: Array) -> Array:
            u, v = state[:count], state[count:]
            # The trapezoidal rule for (u, v)' = (v, -M^-1 K u).
            new = solve(parts.mass @ (u + step * v) - step**2 / 4 * (stiffness @ u))
            return np.concatenate([new, 2 / step * (new - u) - v])

        return advance

    state = np.concatenate([start, np.zeros(count)])
    return _march(state, times, dt, stepper)[:, :count]


def _march(
    state: Array, times: Array, dt: float, stepper: Callable[[float], Callable[[Array], Array]]
) -> Array:
    """States at the given times, by equal steps of at most dt between them."""
    gaps = np.diff(np.concatenate([[0.0], times]))
    if len(times) == 0 or gaps.min() <= 0 or not dt > 0:
        raise ValueError(expected("ascending times > 0 and dt > 0", f"{times}, dt={dt}", "times=[0.1, 0.2]"))
    stepper = cache(stepper)  # one factorisation for each length of a step
    frames = []
    for gap in gaps:
        steps = max(1, int(np.ceil(gap / dt - 1e-9)))
        step = stepper(round(float(gap / steps), 12))
        for _ in range(steps):
            state = step(state)
        frames.append(state)
    return np.stack(frames)
