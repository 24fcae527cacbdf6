"""What a spectrum is: lines, the frequency of each, and how a field's energy is shared among them."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from neuralop_irno.spectrum.bands import band_windows

HIGHEST = 2.0
"""Frequencies above twice a Laplacian's Nyquist frequency count as that: only slivers have any."""


class Spectrum(ABC):
    """How the mean square of the fields of one domain is made up of lines.

    A line is what can be told apart and does not depend on anybody's choice: a wave on a grid, a whole
    eigenspace of a Laplacian, or a band of them.

    Attributes:
        frequency: of every line, relative to the Nyquist frequency of the domain, ``(lines,)``; where
            every sample has lines of its own, ``(samples, lines)``.
        sharp: whether every single line means something, as a wave does; the modes of a mesh depend on the
            place of every node, and only bands of them do.
        words: which spectrum this is.
    """

    frequency: Tensor
    sharp: bool = False
    words: str = ""

    @abstractmethod
    def energies(self, field: Tensor) -> Tensor:
        """The part of the mean square that each line holds, ``(samples, C, lines)``.

        Over the lines it sums to the mean square of the field over its domain (Parseval).
        """

    @abstractmethod
    def mean_power(self, exponent: Tensor) -> Tensor:
        """The mean over all modes of the domain of the frequency to a power, per sample.

        Shapes:
            - exponent: ``(samples,)``
            - returns: ``(samples,)``
        """


class InBands(Spectrum):
    """Another spectrum in fewer lines: smooth bands, every one of them as good as the next.

    Args:
        spectrum: whose lines are joined.
        centres: of the bands, ascending, ``(bands,)``; see `band_windows`.

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
        self.spectrum, self.words = spectrum, spectrum.words
        self.frequency = centres.to(spectrum.frequency)
        self._windows = band_windows(torch.atleast_2d(spectrum.frequency), self.frequency)

    def energies(self, field: Tensor) -> Tensor:
        energies = self.spectrum.energies(field)
        return energies @ self._windows.to(energies.dtype)

    def mean_power(self, exponent: Tensor) -> Tensor:
        return mean_power(self.frequency, torch.ones_like(self.frequency), exponent)


def mean_power(frequency: Tensor, multiplicity: Tensor, exponent: Tensor) -> Tensor:
    """The mean of frequencies to a power, each counted as often as its line has modes.

    Shapes:
        - frequency, multiplicity: ``(lines,)`` or ``(samples, lines)``
        - exponent: ``(samples,)``; returns: ``(samples,)``

    Example:
        >>> mean_power(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 3.0]), torch.tensor([1.0, 2.0]))
        tensor([0.7500, 0.7500])
    """
    powers = torch.atleast_2d(frequency) ** exponent[:, None]
    return (powers * multiplicity).sum(1) / torch.atleast_2d(multiplicity).sum(1).clamp(min=1e-12)
