"""What a spectrum is: coefficients, the frequency of each, and how many modes each stands for."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class Spectrum(ABC):
    """An orthonormal transform of the fields of one domain, so that Parseval's identity holds.

    Attributes:
        frequency: of every mode, relative to the Nyquist frequency of the domain, ``(modes,)``; where
            every sample has modes of its own, ``(samples, modes)``.
        multiplicity: how many modes of the full spectrum each coefficient stands for, likewise; 0 for
            places that only fill up.
    """

    frequency: Tensor
    multiplicity: Tensor

    @abstractmethod
    def analyse(self, field: Tensor) -> Tensor:
        """The coefficients of a field, ``(samples, C, modes)``.

        Scaled so that the multiplicity-weighted mean of their squared moduli over all modes is the
        mean square of the field.
        """

    def amplitude(self, coefficients: Tensor) -> Tensor:
        """What is left of coefficients where phases, or bases of an eigenspace, are arbitrary."""
        return coefficients.abs()
