"""Which spectrum belongs to which domain."""

from __future__ import annotations

import torch

from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.errors import expected
from neuralop_irno.spectrum.fourier import fourier_spectrum
from neuralop_irno.spectrum.spectrum import Spectrum


def spectrum_of(domain: Domain, device: torch.device) -> Spectrum:
    """The Fourier spectrum of a grid; other domains have none yet, and say so."""
    if isinstance(domain, GridDomain):
        return fourier_spectrum(domain.shape, device)
    raise ValueError(expected("a field on a grid for a spectral loss", "one on points", "spectral=0"))
