"""The Kuramoto-Sivashinsky equation: chaos on a line that feeds itself."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.data.solvers.flow import PeriodicFlow
from neuralop_irno.data.solvers.pseudo_spectral import PeriodicGrid


class KuramotoSivashinsky(PeriodicFlow):
    r"""Unstable flame fronts, or films that run down a wall, on a periodic line:

    .. math:: u_t + u u_x + u_{xx} + u_{xxxx} = 0

    Waves longer than 2 pi grow, shorter ones decay, and the nonlinear term carries energy from the first to
    the second: the flow feeds itself, and neither dies out nor blows up.

    Args:
        resolution: points that the solver works on, at least one and a half a unit of length.
        length: of the line. From about 22 on most are chaotic, and neighbours move apart by a factor e in 10
            to 20 units of time; some, as 32, let flows come to waves that keep their shape.
        dt: the time step.
        device: where to compute.

    Example:
        >>> KuramotoSivashinsky(resolution=32).run(samples=2, frames=3, frame=1.0, seed=0).shape
        torch.Size([2, 3, 32])
    """

    peak = 1.0

    def __init__(
        self,
        resolution: int = 64,
        length: float = 36.0,
        dt: float = 0.02,
        device: torch.device | str = "cpu",
    ) -> None:
        self.grid = PeriodicGrid(resolution, 1, length, device)
        self.dt = dt
        self.linear = self.grid.squared - self.grid.squared.square()
        self._slope = 1j * self.grid.wavenumbers[0]

    def nonlinear(self, modes: Tensor) -> Tensor:
        r"""The modes of :math:`-\frac12 (u^2)_x`, free of aliasing."""
        square = self.grid.transform(self.grid.values(modes).square())
        return -0.5 * self._slope * square * self.grid.kept
