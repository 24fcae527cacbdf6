"""The interface of spectra: lines, their frequencies, and the energy of a field in each."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from neuralop_irno.spectrum.bands import band_windows

HIGHEST = 2.0
"""Upper limit of frequencies, relative to the Nyquist frequency; only slivers have higher ones."""


class Spectrum(ABC):
    """Splits the mean square of the fields of one domain into lines.

    A line does not depend on the choice of a basis: it is a wave on a grid, a whole eigenspace of a
    Laplacian, or a band of eigenspaces.

    Attributes:
        frequency: the frequency of each line, relative to the Nyquist frequency of the domain, ``(lines,)``;
            if every sample has its own lines, ``(samples, lines)``.
        sharp: whether single lines can be compared, as waves on a grid; the modes of a mesh depend on the
            position of every node, and only bands of them can be compared.
        description: a description of the spectrum.
    """

    frequency: Tensor
    sharp: bool = False
    description: str = ""

    @abstractmethod
    def energies(self, field: Tensor) -> Tensor:
        """The part of the mean square in each line, ``(samples, C, lines)``.

        The sum over the lines is the mean square of the field over its domain (Parseval).
        """

    @abstractmethod
    def mean_power(self, exponent: Tensor) -> Tensor:
        """The mean over all modes of the domain of the frequency to the power ``exponent``, per sample.

        Shapes:
            - exponent: ``(samples,)``
            - returns: ``(samples,)``
        """


class InBands(Spectrum):
    """A spectrum with its lines summed into smooth bands, which have equal multiplicity.

    Args:
        spectrum: the spectrum whose lines are summed.
        centres: centres of the bands, ascending, ``(bands,)``; see `band_windows`.

    Shapes:
        - energies: ``(samples, C, bands)``

    Example:
        >>> from neuralop_irno.spectrum.fourier import FourierSpectrum
        >>> bands = InBands(FourierSpectrum([16]), torch.tensor([0.0, 0.5, 1.0]))
        >>> wave = torch.cos(torch.arange(16) * torch.pi / 2)[None, None]
        >>> bands.energies(wave).squeeze().round(decimals=4)
        tensor([0.0000, 0.5000, 0.0000])
    """

    def __init__(self, spectrum: Spectrum, centres: Tensor) -> None:
        self.spectrum, self.description = spectrum, spectrum.description
        self.frequency = centres.to(spectrum.frequency)
        self._windows = band_windows(torch.atleast_2d(spectrum.frequency), self.frequency)

    def energies(self, field: Tensor) -> Tensor:
        energies = self.spectrum.energies(field)
        return energies @ self._windows.to(energies.dtype)

    def mean_power(self, exponent: Tensor) -> Tensor:
        return mean_power(self.frequency, torch.ones_like(self.frequency), exponent)


def mean_power(frequency: Tensor, multiplicity: Tensor, exponent: Tensor) -> Tensor:
    """The mean of the frequencies to the power ``exponent``, weighted by the modes of each line.

    Shapes:
        - frequency, multiplicity: ``(lines,)`` or ``(samples, lines)``
        - exponent: ``(samples,)``; returns: ``(samples,)``

    Example:
        >>> mean_power(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 3.0]), torch.tensor([1.0, 2.0]))
        tensor([0.7500, 0.7500])
    """
    powers = torch.atleast_2d(frequency) ** exponent[:, None]
    return (powers * multiplicity).sum(1) / torch.atleast_2d(multiplicity).sum(1).clamp(min=1e-12)
