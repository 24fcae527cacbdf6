"""Which spectrum belongs to which domain."""

from __future__ import annotations

import torch

from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.errors import expected
from neuralop_irno.spectrum.choice import SpectrumChoice
from neuralop_irno.spectrum.fourier import fourier_spectrum
from neuralop_irno.spectrum.graph_spectrum import GraphSpectrum
from neuralop_irno.spectrum.spectrum import Spectrum


def spectrum_of(domain: Domain, device: torch.device, choice: SpectrumChoice | None = None) -> Spectrum:
    """The Fourier spectrum of a grid; off it, that of each graph's own Laplacian.

    Example:
        >>> edges = torch.tensor([[0, 1, 2], [1, 2, 0]])
        >>> ring = GraphDomain.of(torch.zeros(3, 1), {"edge_index": edges})
        >>> spectrum_of(ring, torch.device("cpu")).words
        'all modes of the edges Laplacian'
    """
    if isinstance(domain, GridDomain):
        if choice is not None and choice.nyquist is not None:
            raise ValueError(expected("nyquist=None on a grid, whose cells count", choice.nyquist, "None"))
        return fourier_spectrum(domain.shape, device)
    if isinstance(domain, GraphDomain):
        return GraphSpectrum(domain, device, choice or SpectrumChoice())
    raise ValueError(expected("a grid or a graph for a spectral loss", type(domain).__name__, "spectral=0"))
