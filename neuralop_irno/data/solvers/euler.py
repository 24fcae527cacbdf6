r"""The compressible Euler equations of an ideal gas on the periodic unit square, by finite volumes.

.. math:: \partial_t (\rho, \rho v, E) + \nabla \cdot (\rho v, \rho v \otimes v + p, (E + p) v) = 0,
          \qquad E = \frac{p}{\gamma - 1} + \tfrac12 \rho |v|^2

A field holds cell means, ``(B, 4, n_x, n_y)``: a *gas* is density, velocity and pressure, a *state* is what
is conserved, density, momentum and energy.
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
"""So many fit in a processor's cache, with all that is computed of them."""


def state_of(gas: Tensor) -> Tensor:
    """Density, momentum and energy.

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
    """Snapshots of gases from given starts.

    Second order in space, by limited linear reconstruction and HLLC fluxes, and in time, by Heun's method.
    Every sample takes time steps of its own, so that it does not depend on its batch-mates. The precision
    is that of the start.

    Args:
        start: the gas at time 0.
        times: of the snapshots, ascending; 0 gives the start.

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
        raise ValueError(expected("density and pressure > 0", "a start where they are not", "another start"))
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
    """The state some time later; a sample that is there takes steps of no length."""
    left = state.new_full((len(state), 1, 1, 1), time)
    while (left > 0).any():
        gas = gas_of(state)
        step = torch.minimum(_longest_step(gas), left)
        guess = state + step * _rate(gas)
        state = 0.5 * (state + guess + step * _rate(gas_of(guess)))
        left = left - step
    return state


def _longest_step(gas: Tensor) -> Tensor:
    """For each sample the longest stable time step, ``(B, 1, 1, 1)``."""
    density, u, v, pressure = gas.unbind(1)
    sound = (GAMMA * pressure / density).sqrt()
    crossings = (u.abs() + sound) * gas.shape[2] + (v.abs() + sound) * gas.shape[3]
    return COURANT / crossings.amax((1, 2)).reshape(-1, 1, 1, 1)


def _rate(gas: Tensor) -> Tensor:
    """The time derivative of the state: what flows into each cell, less what flows out."""
    along_x, along_y = (
        hllc(*_sides_of_faces(gas, axis), axis).diff(dim=axis) * gas.shape[axis] for axis in (2, 3)
    )
    return -(along_x + along_y)


def _sides_of_faces(gas: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The gas on both sides of the n + 1 faces along an axis, from linear functions in the cells.

    Van Leer's slopes, harmonic means of the differences to both neighbours: no value at a face lies outside
    those of the cells around it, so density and pressure stay positive.
    """
    n = gas.shape[axis]
    closed = torch.cat([gas.narrow(axis, n - 2, 2), gas, gas.narrow(axis, 0, 2)], axis)
    change = closed.diff(dim=axis)
    before, after = change.narrow(axis, 0, n + 2), change.narrow(axis, 1, n + 2)
    both = before + after
    # ab / (a + b) where a and b have one sign, or 0; the tiny number keeps 0 / 0 away.
    half_slope = (before * after).clamp_(min=0) * both / (both * both + torch.finfo(gas.dtype).tiny)
    left = closed.narrow(axis, 1, n + 1) + half_slope.narrow(axis, 0, n + 1)
    right = closed.narrow(axis, 2, n + 1) - half_slope.narrow(axis, 1, n + 1)
    return left, right


def hllc(left: Tensor, right: Tensor, axis: int) -> Tensor:
    r"""The flux through a face where two gases meet: HLLC, with Davis's bounds of the wave speeds.

    Three waves leave the face, :math:`s_L \le s_* \le s_R`, and the middle one parts the gases. On the side K
    that it leaves to the face,

    .. math:: F = F(U_K) + \tilde s_K (U_{*K} - U_K), \qquad
              \tilde s_L = \min(s_L, 0), \quad \tilde s_R = \max(s_R, 0)

    Args:
        left: the gas on the side of the smaller coordinate.
        right: the gas on the other side.
        axis: 2 where the face is crossed along x, 3 along y.

    Shapes:
        - left, right, returns: ``(B, 4, ..)``

    Example:
        >>> wind = torch.tensor([[1.0, 2.0, 0.0, 1.0]])
        >>> hllc(wind, wind, axis=2)  # mass, both momenta and energy that the wind carries
        tensor([[ 2.,  5.,  0., 11.]])
    """
    order = (
        (0, 1, 2, 3) if axis == 2 else (0, 2, 1, 3)
    )  # density, velocity across the face, along it, pressure
    rho_l, u_l, _, p_l = (left[:, i] for i in order)
    rho_r, u_r, _, p_r = (right[:, i] for i in order)
    sound_l, sound_r = (GAMMA * p_l / rho_l).sqrt(), (GAMMA * p_r / rho_r).sqrt()
    slowest = torch.minimum(u_l - sound_l, u_r - sound_r)
    fastest = torch.maximum(u_l + sound_l, u_r + sound_r)
    inflow_l, inflow_r = rho_l * (slowest - u_l), rho_r * (fastest - u_r)
    contact = (p_r - p_l + inflow_l * u_l - inflow_r * u_r) / (inflow_l - inflow_r)

    # The side K, by weights 1 and 0, which are exact here and several times as fast as `where`.
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
