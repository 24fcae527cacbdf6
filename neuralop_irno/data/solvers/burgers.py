"""The viscous Burgers equation of a scalar, in one, two or three dimensions."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.data.sizes import real
from neuralop_irno.data.solvers.flow import PeriodicFlow
from neuralop_irno.data.solvers.pseudo_spectral import PeriodicGrid


class Burgers(PeriodicFlow):
    r"""The viscous Burgers equation on :math:`[0, 2\pi)^d`:

    .. math:: u_t + \tfrac12 \sum_i \partial_i u^2 = \nu \Delta u

    Args:
        resolution: points per side.
        dim: 1, 2 or 3.
        viscosity: nu.
        dt: the time step; by default min(0.01, 2.56 / resolution).
        device: torch device.

    Example:
        >>> Burgers(resolution=32, dim=1).run(samples=2, frames=3, frame=0.1, seed=0).shape
        torch.Size([2, 3, 32])
    """

    def __init__(
        self,
        resolution: int = 128,
        dim: int = 1,
        viscosity: float = 0.02,
        dt: float | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.grid = PeriodicGrid(resolution, dim, device=device)
        real("viscosity", viscosity, zero=True)
        self.dt = min(0.01, 2.56 / resolution) if dt is None else dt
        self.linear = -viscosity * self.grid.squared
        self._slope = 1j * torch.stack(self.grid.wavenumbers).sum(0)

    def nonlinear(self, modes: Tensor) -> Tensor:
        r"""The modes of :math:`-\frac12 \sum_i \partial_i u^2`, dealiased."""
        square = self.grid.transform(self.grid.values(modes).square())
        return -0.5 * self._slope * square * self.grid.kept
