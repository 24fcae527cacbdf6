"""Fourier collocation on a periodic cube: grid, random fields, and time step."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from neuralop_irno.data.sizes import fits, real, whole
from neuralop_irno.errors import expected


class PeriodicGrid:
    """The cube [0, length)^d with n points per side, and its wavenumbers in the half spectrum.

    Args:
        size: points along each axis.
        dim: number of axes.
        length: length of each axis.
        device: device of the arrays.

    Attributes:
        wavenumbers: one array per axis, each ``(size, .., size // 2 + 1)``.
        squared: squared length of the wavevectors.
        kept: 1 for the modes kept by the two-thirds rule, 0 otherwise; it prevents aliasing of products.
    """

    def __init__(
        self, size: int, dim: int, length: float = 2 * math.pi, device: torch.device | str = "cpu"
    ) -> None:
        if size < 4:
            raise ValueError(expected("a grid of at least 4 points per side", size, "size=64"))
        whole("dim", dim, 1, 3), real("length", length)
        fits(float(whole("size", size)) ** dim)
        self.size, self.dim, self.length = size, dim, length
        full = torch.fft.fftfreq(size, 1 / size, device=device)
        half = torch.fft.rfftfreq(size, 1 / size, device=device)
        grids = torch.meshgrid(*[full] * (dim - 1), half, indexing="ij")
        unit = 2 * math.pi / length
        self.wavenumbers = tuple(unit * k for k in grids)
        self.squared = torch.stack(self.wavenumbers).square().sum(0)
        self.kept = torch.stack([k.abs() < size / 3 for k in grids]).all(0).float()

    def points(self) -> tuple[Tensor, ...]:
        """Coordinates, one array per axis, each ``(size, .., size)``."""
        axis = torch.arange(self.size, device=self.squared.device) * (self.length / self.size)
        return torch.meshgrid(*[axis] * self.dim, indexing="ij")

    def transform(self, field: Tensor) -> Tensor:
        """Transform values to modes, over the last axes."""
        return torch.fft.rfftn(field, dim=self._axes())

    def values(self, modes: Tensor) -> Tensor:
        """Transform modes to values, over the last axes."""
        return torch.fft.irfftn(modes, s=[self.size] * self.dim, dim=self._axes())

    def coarsen(self, modes: Tensor, size: int) -> Tensor:
        """Values on a coarser grid, by cutting off the modes that it cannot resolve."""
        if size == self.size:
            return self.values(modes)
        if size > self.size:
            raise ValueError(expected(f"a coarser grid than {self.size}", size, f"size={self.size // 2}"))
        low = (size - 1) // 2
        index = torch.cat([torch.arange(low + 1), torch.arange(-low, 0)]).to(modes.device)
        # The mode at the Nyquist frequency of an even grid is set to zero.
        gap = size - len(index)
        for axis in self._axes()[:-1]:
            modes = modes.index_select(axis, index % self.size)
            zeros = torch.zeros_like(modes.narrow(axis, 0, gap))
            first, last = modes.split([low + 1, low], dim=axis)
            modes = torch.cat([first, zeros, last], axis)
        modes = modes[..., : low + 1]
        modes = torch.nn.functional.pad(modes, (0, size // 2 - low))
        scale = (size / self.size) ** self.dim
        return torch.fft.irfftn(modes * scale, s=[size] * self.dim, dim=self._axes())

    def _axes(self) -> list[int]:
        return list(range(-self.dim, 0))


def random_field(grid: PeriodicGrid, samples: int, peak: float, generator: torch.Generator) -> Tensor:
    """Gaussian fields of zero mean and unit variance whose spectrum peaks at a wavenumber.

    Shapes:
        - returns: ``(samples, *S)``
    """
    noise = torch.randn(samples, *[grid.size] * grid.dim, generator=generator)
    shape = grid.squared * torch.exp(-grid.squared / peak**2)
    field = grid.values(grid.transform(noise.to(grid.squared.device)) * shape)
    return field / field.flatten(1).std(1).reshape(-1, *[1] * grid.dim)


def integrating_factor_rk4(
    linear: Tensor, nonlinear: Callable[[Tensor], Tensor], dt: float
) -> Callable[[Tensor], Tensor]:
    r"""A time step for :math:`\hat u_t = L \hat u + N(\hat u)`: exact in L, of fourth order in N.

    Args:
        linear: L, diagonal in Fourier space.
        nonlinear: N, from modes to modes.
        dt: the time step.
    """
    half = torch.exp(linear * dt / 2)
    whole = half * half

    def step(modes: Tensor) -> Tensor:
        a = nonlinear(modes)
        b = nonlinear(half * (modes + dt / 2 * a))
        c = nonlinear(half * modes + dt / 2 * b)
        d = nonlinear(whole * modes + dt * half * c)
        return whole * modes + dt / 6 * (whole * a + 2 * half * (b + c) + d)

    return step
