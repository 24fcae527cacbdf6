"""The spectrum of a sphere: spherical harmonics, by the transforms of torch-harmonics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from neuralop_irno._torch_harmonics import torch_harmonics
from neuralop_irno.domain.sphere import exact_degree, nyquist_degree, row_weights
from neuralop_irno.precision import without_autocast
from neuralop_irno.spectrum.spectrum import Spectrum, mean_power


class HarmonicSpectrum(Spectrum):
    r"""The energies of spherical harmonics, with the degree l in the part of |w|.

    .. math:: f = \sum_{l=0}^{L} \sum_{m=-l}^{l} f_{lm} Y_{lm} + r \qquad
              E_{l0} = \frac{|f_{l0}|^2}{4\pi}, \quad E_{lm} = \frac{2 |f_{lm}|^2}{4\pi} \; (m > 0)

    L is the highest degree up to which harmonics are orthonormal in the quadrature of the grid, see
    `exact_degree`: n - 1 on n rows of Gauss, (n - 1) / 2 on equiangular ones. The energy of the rest r, which
    is finer, is the last line, at the Nyquist frequency: the lines sum to the mean square over the sphere.

    Frequencies are degrees in units of `nyquist_degree`, from 0 to 1. Means over all modes are over the
    harmonics up to that degree.

    Args:
        shape: rows and columns, ``(nlat, nlon)``.
        grid: one of `neuralop_irno.domain.sphere.GRIDS`.
        device: of the frequencies.

    Shapes:
        - field: ``(B, C, nlat, nlon)``; energies: ``(B, C, lines)``

    Example:
        >>> spectrum = HarmonicSpectrum((8, 16), "legendre-gauss")
        >>> spectrum.energies(torch.full((1, 1, 8, 16), 2.0))[..., :3].round(decimals=4)
        tensor([[[4., 0., 0.]]])
    """

    sharp = True

    def __init__(self, shape: Sequence[int], grid: str, device: torch.device | str = "cpu") -> None:
        self.shape, self.grid = (shape[0], shape[1]), grid
        self.description = f"the spherical harmonics of the {grid} grid"
        self._highest, finest = exact_degree(grid, shape), nyquist_degree(shape)
        degree, order = torch.tril_indices(self._highest + 1, self._highest + 1)
        self._places = (degree.to(device), order.to(device))
        self._both = (1 + (order > 0).double()).to(device)
        self._degrees = torch.arange(finest + 1, device=device)
        self.frequency = (torch.cat([degree.float(), torch.tensor([float(finest)])]) / finest).to(device)
        self._weight = (row_weights(grid, shape[0])).to(device)
        self._transforms: dict[torch.dtype, tuple[nn.Module, nn.Module]] = {}

    def energies(self, field: Tensor) -> Tensor:
        precise = field.to(torch.promote_types(field.dtype, torch.float32))
        with without_autocast(field.device):
            analyse, synthesise = self._of(precise)
            coefficients = analyse(precise)
            rest = precise - synthesise(coefficients)
            lines = torch.view_as_real(coefficients)[:, :, *self._places].square().sum(-1)
            beyond = (rest.square() * self._weight.to(precise)).mean((-2, -1))
            share = self._both.to(lines.dtype) / (4 * math.pi)
            return torch.cat([lines * share, beyond[..., None]], -1)

    def mean_power(self, exponent: Tensor) -> Tensor:
        return mean_power(self._degrees / self._degrees[-1], 2 * self._degrees + 1.0, exponent)

    def _of(self, field: Tensor) -> tuple[nn.Module, nn.Module]:
        """The transform to coefficients ``(B, C, L + 1, L + 1)`` and back, in the precision of a field."""
        known = self._transforms.get(field.dtype)
        if known is None:
            package, degrees = torch_harmonics(), self._highest + 1
            with torch.inference_mode(False):
                known = self._transforms[field.dtype] = tuple(
                    transform(*self.shape, lmax=degrees, mmax=degrees, grid=self.grid).to(field)
                    for transform in (package.RealSHT, package.InverseRealSHT)
                )
        return known


@lru_cache(maxsize=16)
def harmonics_of(shape: tuple[int, ...], grid: str, device: torch.device) -> HarmonicSpectrum:
    """The spectrum of a grid on the sphere, cached."""
    with torch.inference_mode(False):  # cached tensors are used in training too
        return HarmonicSpectrum(shape, grid, device)
