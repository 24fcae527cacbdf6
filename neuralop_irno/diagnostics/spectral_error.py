"""The error in bands of the spectrum, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neuralop_irno.domain.sphere import grid_domain
from neuralop_irno.spectrum.of_domain import spectrum_of
from neuralop_irno.spectrum.spectrum import Spectrum


@dataclass(frozen=True)
class BandErrors:
    """The energy of the error in radial bands, averaged over samples and channels.

    Attributes:
        frequency: the middle of each band, relative to the Nyquist frequency, ``(bands,)``.
        error: after each step, ``(steps + 1, bands)``.
        truth: of the target, ``(bands,)``.
    """

    frequency: Tensor
    error: Tensor
    truth: Tensor

    def thirds(self) -> Tensor:
        """The error's energy in the low, middle and high third of the frequencies, ``(steps + 1, 3)``."""
        third = (self.frequency / self.frequency.max() * 3).long().clamp(max=2)
        return torch.stack([self.error[:, third == i].sum(1) for i in range(3)], 1)


def band_errors(
    answers: list[Tensor],
    y: Tensor,
    bands: int = 16,
    lengths: Sequence[float] | None = None,
    sphere: str | None = None,
) -> BandErrors:
    """The error of every iterate in radial bands.

    Args:
        answers: h_0, h_1, .., each ``(B, C, *S)``.
        y: the truth, ``(B, C, *S)``.
        bands: how many.
        lengths: the sides of the box; without them the cells are taken as cubes.
        sphere: the grid of fields on a sphere; see `neuralop_irno.domain.sphere.SphereDomain`.

    Example:
        >>> y = torch.randn(2, 1, 16, 16)
        >>> result = band_errors([torch.zeros_like(y), y], y, bands=4)
        >>> torch.allclose(result.error[0], result.truth), result.error[1].sum().item()
        (True, 0.0)
    """
    spectrum = spectrum_of(grid_domain(y, {"lengths": lengths, "sphere": sphere}), y.device)

    def energy(field: Tensor) -> Tensor:
        return band_energy(spectrum, field, bands).mean((0, 1))

    return BandErrors(band_middles(spectrum, bands), torch.stack([energy(h - y) for h in answers]), energy(y))


def band_ratios(answers: list[Tensor], y: Tensor, spectrum: Spectrum, bands: int = 16) -> Tensor:
    """The error of every iterate in units of the first one's, band by band and sample by sample.

    1 means that the error in the band equals that of the base. Bands in which the base's error is
    only rounding are nan.

    Shapes:
        - answers: ``(B, C, *S)`` or ``(N, C)`` each
        - returns: ``(steps + 1, samples, bands)``
    """
    energy = torch.stack([band_energy(spectrum, h - y, bands).mean(1) for h in answers])
    truth = band_energy(spectrum, y, bands).mean(1)
    known = energy[0] > torch.finfo(energy.dtype).eps * truth.sum(-1, keepdim=True)
    return torch.where(known, (energy / energy[0]).sqrt(), torch.nan)


def highest_band(spectrum: Spectrum) -> float:
    """The end of the last band: the corner of a grid's spectrum, or on graphs the Nyquist frequency."""
    return float(spectrum.frequency.max().clamp(min=1e-12)) if spectrum.frequency.dim() == 1 else 1.0


def band_middles(spectrum: Spectrum, bands: int) -> Tensor:
    """The middle frequency of each band, ``(bands,)``."""
    middle = torch.arange(bands, device=spectrum.frequency.device) + 0.5
    return middle / bands * highest_band(spectrum)


def band_energy(spectrum: Spectrum, field: Tensor, bands: int) -> Tensor:
    """The share of the mean square in bands of equal width, ``(samples, C, bands)``; the last has all above.

    The bands sum to the mean square of the field (Parseval).
    """
    energy = spectrum.energies(field)
    band = (torch.atleast_2d(spectrum.frequency) / highest_band(spectrum) * bands).long().clamp(max=bands - 1)
    result = energy.new_zeros(*energy.shape[:2], bands)
    return result.scatter_add(2, band[:, None].expand_as(energy), energy)
