r"""The compressible Euler equations of an ideal gas on the periodic unit square, by finite volumes.

.. math:: \partial_t (\rho, \rho v, E) + \nabla \cdot (\rho v, \rho v \otimes v + p, (E + p) v) = 0,
          \qquad E = \frac{p}{\gamma - 1} + \tfrac12 \rho |v|^2

A field holds cell means, ``(B, 4, n_x, n_y)``: a *gas* is density, velocity and pressure, a *state* the
conserved variables density, momentum and energy.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neuralop_irno.errors import expected

GAMMA = 1.4
"""The ratio of specific heats of air."""

COURANT = 0.8
"""How many cells the fastest wave crosses in a time step; the scheme is stable up to 1."""

CELLS_AT_ONCE = 2**16
"""Cells processed together, so that all intermediate results fit in the CPU cache."""


def state_of(gas: Tensor) -> Tensor:
    """Conserved variables of a gas: density, momentum and energy.

    Example:
        >>> state_of(torch.tensor([2.0, 3.0, 0.0, 0.4]).reshape(1, 4, 1, 1)).flatten().tolist()
        [2.0, 6.0, 0.0, 10.0]
    """
    density, u, v, pressure = gas.unbind(1)
    energy = pressure / (GAMMA - 1) + 0.5 * density * (u * u + v * v)
    return torch.stack([density, density * u, density * v, energy], 1)


def gas_of(state: Tensor) -> Tensor:
    """Density, velocity and pressure: the inverse of `state_of`."""
    density, along_x, along_y, energy = state.unbind(1)
    u, v = along_x / density, along_y / density
    pressure = (GAMMA - 1) * (energy - 0.5 * (along_x * u + along_y * v))
    return torch.stack([density, u, v, pressure], 1)


@torch.no_grad()
def euler_trajectories(start: Tensor, times: Sequence[float]) -> Tensor:
    """Solve the Euler equations and return snapshots.

    Second order in space, by limited linear reconstruction and HLLC fluxes, and in time, by Heun's method.
    Every sample has its own time step, so that it does not depend on the rest of the batch. Computed in the
    precision of ``start``.

    Args:
        start: the gas at time 0.
        times: times of the snapshots, ascending; 0 gives the start.

    Shapes:
        - start: ``(B, 4, n_x, n_y)``
        - returns: ``(B, T, 4, n_x, n_y)``

    Example:
        >>> still = torch.tensor([1.0, 0.0, 0.0, 2.5]).reshape(1, 4, 1, 1).expand(1, 4, 8, 8)
        >>> frames = euler_trajectories(still, times=[0.0, 0.1])
        >>> frames.shape, bool((frames - still[:, None]).abs().max() < 1e-6)
        (torch.Size([1, 2, 4, 8, 8]), True)
    """
    if start.dim() != 4 or start.shape[1] != 4 or min(start.shape[2:]) < 2:
        raise ValueError(expected("a gas of shape (B, 4, n_x, n_y)", tuple(start.shape), "start[None]"))
    if not (start[:, [0, 3]] > 0).all():
        hint = "a start with positive values"
        raise ValueError(expected("density and pressure > 0", "values <= 0 or nan", hint))
    gaps = torch.diff(torch.tensor([0.0, *times], dtype=torch.float64)).tolist()
    if not gaps or min(gaps) < 0:
        raise ValueError(expected("ascending times >= 0", list(times), "times=[0.0, 0.5, 1.0]"))
    at_once = max(1, CELLS_AT_ONCE // start[0, 0].numel())
    return torch.cat([_march(part, gaps) for part in start.split(at_once)])


def _march(start: Tensor, gaps: Sequence[float]) -> Tensor:
    state = state_of(start)
    frames = []
    for gap in gaps:
        state = _advance(state, gap)
        frames.append(gas_of(state))
    if not state.isfinite().all():
        raise RuntimeError(expected("a stable run", "values that are not finite", "a finer grid"))
    return torch.stack(frames, 1)


def _advance(state: Tensor, time: float) -> Tensor:
    """The state some time later; finished samples take steps of length 0."""
    left = state.new_full((len(state), 1, 1, 1), time)
    while (left > 0).any():
        gas = gas_of(state)
        step = torch.minimum(_longest_step(gas), left)
        guess = state + step * _rate(gas)
        state = 0.5 * (state + guess + step * _rate(gas_of(guess)))
        left = left - step
    return state


def _longest_step(gas: Tensor) -> Tensor:
    """The longest stable time step of each sample, ``(B, 1, 1, 1)``."""
    density, u, v, pressure = gas.unbind(1)
    sound = (GAMMA * pressure / density).sqrt()
    crossings = (u.abs() + sound) * gas.shape[2] + (v.abs() + sound) * gas.shape[3]
    return COURANT / crossings.amax((1, 2)).reshape(-1, 1, 1, 1)


def _rate(gas: Tensor) -> Tensor:
    """The time derivative of the state: inflow minus outflow of each cell."""
    along_x, along_y = (
        hllc(*_sides_of_faces(gas, axis), axis).diff(dim=axis) * gas.shape[axis] for axis in (2, 3)
    )
    return -(along_x + along_y)


def _sides_of_faces(gas: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The gas on both sides of the n + 1 faces along an axis, by linear reconstruction.

    Van Leer slopes, harmonic means of the differences to both neighbours: values at faces lie between those
    of the adjacent cells, so density and pressure stay positive.
    """
    n = gas.shape[axis]
    closed = torch.cat([gas.narrow(axis, n - 2, 2), gas, gas.narrow(axis, 0, 2)], axis)
    change = closed.diff(dim=axis)
    before, after = change.narrow(axis, 0, n + 2), change.narrow(axis, 1, n + 2)
    both = before + after
    # ab / (a + b) where a and b have the same sign, else 0; the tiny number avoids 0 / 0.
    half_slope = (before * after).clamp_(min=0) * both / (both * both + torch.finfo(gas.dtype).tiny)
    left = closed.narrow(axis, 1, n + 1) + half_slope.narrow(axis, 0, n + 1)
    right = closed.narrow(axis, 2, n + 1) - half_slope.narrow(axis, 1, n + 1)
    return left, right


def hllc(left: Tensor, right: Tensor, axis: int) -> Tensor:
    r"""The HLLC flux through a face between two gases, with Davis's bounds on the wave speeds.

    Three waves leave the face, :math:`s_L \le s_* \le s_R`; the middle one is the contact between both gases.
    K is the side of the contact on which the face lies, and

    .. math:: F = F(U_K) + \tilde s_K (U_{*K} - U_K), \qquad
              \tilde s_L = \min(s_L, 0), \quad \tilde s_R = \max(s_R, 0)

    Args:
        left: the gas on the side of the smaller coordinate.
        right: the gas on the other side.
        axis: 2 for faces crossed along x, 3 for those crossed along y.

    Shapes:
        - left, right, returns: ``(B, 4, ..)``

    Example:
        >>> wind = torch.tensor([[1.0, 2.0, 0.0, 1.0]])
        >>> hllc(wind, wind, axis=2)  # mass, both momenta and energy that the wind carries
        tensor([[ 2.,  5.,  0., 11.]])
    """
    # Density, velocity across the face, along it, pressure.
    order = (0, 1, 2, 3) if axis == 2 else (0, 2, 1, 3)
    rho_l, u_l, _, p_l = (left[:, i] for i in order)
    rho_r, u_r, _, p_r = (right[:, i] for i in order)
    sound_l, sound_r = (GAMMA * p_l / rho_l).sqrt(), (GAMMA * p_r / rho_r).sqrt()
    slowest = torch.minimum(u_l - sound_l, u_r - sound_r)
    fastest = torch.maximum(u_l + sound_l, u_r + sound_r)
    inflow_l, inflow_r = rho_l * (slowest - u_l), rho_r * (fastest - u_r)
    contact = (p_r - p_l + inflow_l * u_l - inflow_r * u_r) / (inflow_l - inflow_r)

    # Select the side K by weights 1 and 0, exact in lerp and several times as fast as `where`.
    is_left = (contact >= 0).to(left.dtype)
    side = torch.lerp(right, left, is_left[:, None])
    rho, u, v, p = (side[:, i] for i in order)
    wave = torch.lerp(fastest, slowest, is_left)
    reach = torch.lerp(fastest.clamp(min=0), slowest.clamp(max=0), is_left)

    energy = p / (GAMMA - 1) + 0.5 * rho * (u * u + v * v)
    rho_star = rho * (wave - u) / (wave - contact)
    energy_star = rho_star * (energy / rho + (contact - u) * (contact + p / (rho * (wave - u))))
    flux = (
        rho * u + reach * (rho_star - rho),
        rho * u * u + p + reach * (rho_star * contact - rho * u),
        rho * u * v + reach * (rho_star - rho) * v,
        (energy + p) * u + reach * (energy_star - energy),
    )
    return torch.stack([flux[i] for i in order], 1)
