"""Base class of the generators of periodic flows."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from neuralop_irno.data.sizes import fits, real, whole
from neuralop_irno.data.solvers.pseudo_spectral import PeriodicGrid, integrating_factor_rk4, random_field
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.errors import expected

MOST_STEPS = 10_000_000
"""Upper bound on time steps of the solver in one run, hours of work."""


class PeriodicFlow(ABC):
    r"""A field u on a periodic grid that obeys :math:`\hat u_t = L \hat u + N(\hat u)`.

    Attributes:
        grid: the grid of the solver.
        dt: the longest time step.
        linear: L, one number per mode.
        peak: the wavenumber at which the spectrum of a random start peaks.
        amplitude: the standard deviation of a random start.
    """

    grid: PeriodicGrid
    dt: float
    linear: Tensor
    peak: float = 2.0
    amplitude: float = 1.0

    @property
    def resolution(self) -> Resolution:
        """What is known of the grid of the snapshots."""
        return Resolution(lengths=[self.grid.length] * self.grid.dim, extent="fixed", pair="waves")

    @abstractmethod
    def nonlinear(self, modes: Tensor) -> Tensor:
        """N, from modes to modes."""

    @torch.no_grad()
    def run(
        self,
        samples: int,
        frames: int,
        frame: float = 0.1,
        seed: int = 0,
        warmup: float = 0.0,
        size: int | None = None,
    ) -> Tensor:
        """Snapshots of independent flows from random starts.

        Args:
            samples: number of flows.
            frames: number of snapshots of each; the first is taken one ``frame`` after the warm-up.
            frame: the time between snapshots.
            seed: seed of the starts. The same seed gives the same flows.
            warmup: simulated time before the snapshots, to become independent of the random start.
            size: points per side of the snapshots, at most those of the solver; finer modes are cut off, not
                aliased.

        Shapes:
            - returns: ``(samples, frames, size, ..)``
        """
        whole("samples", samples), whole("frames", frames)
        time = real("warmup", warmup, zero=True) + frames * real("frame", frame)
        cells = samples * float(self.grid.size) ** self.grid.dim
        steps = max(time / self.dt, frames)
        if steps > MOST_STEPS:
            wanted = f"at most {MOST_STEPS:.0e} time steps of {self.dt:.2g}"
            raise ValueError(expected(wanted, f"{steps:.0e}", "fewer frames, or a shorter time"))
        fits(cells, cells * steps)
        generator = torch.Generator().manual_seed(seed)
        start = random_field(self.grid, samples, self.peak, generator)
        modes = self.grid.transform(self.amplitude * start) * self.grid.kept
        snapshots = []
        for wait in [warmup + frame] + [frame] * (frames - 1):
            modes = self.advance(modes, wait)
            snapshots.append(self.grid.coarsen(modes, size or self.grid.size))
        if not torch.isfinite(modes).all():
            raise RuntimeError(
                expected(f"a stable {type(self).__name__} run", "values that are not finite", "a smaller dt")
            )
        return torch.stack(snapshots, 1)

    def advance(self, modes: Tensor, time: float) -> Tensor:
        """The modes some time later, in equal steps of at most about dt."""
        steps = max(1, round(time / self.dt))
        step = integrating_factor_rk4(self.linear, self.nonlinear, time / steps)
        for _ in range(steps):
            modes = step(modes)
        return modes
