"""Two-dimensional turbulence: the vorticity equation on a periodic square with sinusoidal forcing."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.data.sizes import real
from neuralop_irno.data.solvers.flow import PeriodicFlow
from neuralop_irno.data.solvers.pseudo_spectral import PeriodicGrid


class Turbulence(PeriodicFlow):
    r"""Kolmogorov flow in the vorticity w of an incompressible fluid on :math:`[0, 2\pi)^2`:

    .. math:: w_t + u \cdot \nabla w = \nu \Delta w - \mu w - k F \cos(k y),
              \qquad u = (\psi_y, -\psi_x), \quad -\Delta \psi = w

    Args:
        resolution: points per side of the solver.
        viscosity: nu.
        drag: mu, which limits the growth of the largest scales.
        forcing: F.
        forcing_wavenumber: k.
        dt: the time step; by default min(0.02, 1.28 / resolution). 1.5 times this is close to unstable.
        device: torch device.

    Example:
        >>> flow = Turbulence(resolution=16)
        >>> flow.run(samples=2, frames=3, frame=0.1, seed=0, warmup=0.2).shape
        torch.Size([2, 3, 16, 16])
    """

    peak = 4.0
    amplitude = 5.0

    def __init__(
        self,
        resolution: int = 64,
        viscosity: float = 4e-3,
        drag: float = 0.1,
        forcing: float = 1.0,
        forcing_wavenumber: int = 4,
        dt: float | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.grid = PeriodicGrid(resolution, dim=2, device=device)
        real("viscosity", viscosity, zero=True)
        self.dt = min(0.02, 1.28 / resolution) if dt is None else dt
        self.linear = -viscosity * self.grid.squared - drag
        _, y = self.grid.points()
        self.forcing = -forcing * forcing_wavenumber * torch.cos(forcing_wavenumber * y)
        self._forcing_modes = self.grid.transform(self.forcing)
        self._inverse_laplacian = torch.where(
            self.grid.squared > 0, 1 / self.grid.squared.clamp(min=1e-12), 0.0
        )

    def advection(self, modes: Tensor) -> Tensor:
        r"""The modes of :math:`-u \cdot \nabla w`, dealiased."""
        kx, ky = self.grid.wavenumbers
        streamfunction = modes * self._inverse_laplacian
        u, v, w_x, w_y = self.grid.values(
            torch.stack(
                [1j * ky * streamfunction, -1j * kx * streamfunction, 1j * kx * modes, 1j * ky * modes]
            )
        )
        return -self.grid.transform(u * w_x + v * w_y) * self.grid.kept

    def nonlinear(self, modes: Tensor) -> Tensor:
        """All terms except viscosity and drag."""
        return self.advection(modes) + self._forcing_modes * self.grid.kept
