"""The Kuramoto-Sivashinsky equation: chaos in one dimension."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.data.solvers.flow import PeriodicFlow
from neuralop_irno.data.solvers.pseudo_spectral import PeriodicGrid


class KuramotoSivashinsky(PeriodicFlow):
    r"""The Kuramoto-Sivashinsky equation of unstable flame fronts and falling films, on a periodic line:

    .. math:: u_t + u u_x + u_{xx} + u_{xxxx} = 0

    Waves longer than 2 pi grow, shorter ones decay, and the nonlinear term transfers energy from the former
    to the latter, so that solutions stay bounded without forcing.

    Args:
        resolution: points of the solver, at least 1.5 per unit of length.
        length: length of the line. From about 22 on most lengths give chaos, where nearby states diverge by a
            factor e in 10 to 20 units of time; at some, such as 32, flows can settle to travelling waves.
        dt: the time step.
        device: torch device.

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
        r"""The modes of :math:`-\frac12 (u^2)_x`, dealiased."""
        square = self.grid.transform(self.grid.values(modes).square())
        return -0.5 * self._slope * square * self.grid.kept
