"""The spectrum of a domain, and its number of waves."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.errors import expected
from neuralop_irno.spectrum.choice import SpectrumChoice, dimension_of
from neuralop_irno.spectrum.fourier import fourier_spectrum
from neuralop_irno.spectrum.graph_spectrum import GraphSpectrum
from neuralop_irno.spectrum.spectrum import Spectrum


def spectrum_of(domain: Domain, device: torch.device, choice: SpectrumChoice | None = None) -> Spectrum:
    """The Fourier spectrum of a grid, or the Laplacian spectra of a batch of graphs.

    Example:
        >>> edges = torch.tensor([[0, 1, 2], [1, 2, 0]])
        >>> ring = GraphDomain.of(torch.zeros(3, 1), {"edge_index": edges})
        >>> spectrum_of(ring, torch.device("cpu")).description
        'all modes of the edges Laplacian'
    """
    if isinstance(domain, GridDomain):
        if choice is not None and choice.nyquist is not None:
            wanted = "nyquist=None on a grid, whose cells count"
            raise ValueError(expected(wanted, choice.nyquist, "nyquist=None"))
        return fourier_spectrum(domain.shape, device)
    if isinstance(domain, GraphDomain):
        return GraphSpectrum(domain, device, choice or SpectrumChoice())
    raise ValueError(expected("a grid or a graph for a spectral loss", type(domain).__name__, "spectral=0"))


def waves_at_nyquist(domain: Domain) -> Tensor:
    r"""The number of waves of the Nyquist frequency along a side of each sample's domain, ``(samples,)``.

    .. math:: \tfrac12 N^{1/d}

    for N points in d dimensions: n / 2 if every axis has n points.

    Example:
        >>> waves_at_nyquist(GridDomain(samples=2, shape=(32, 32)))
        tensor([16., 16.])
    """
    if isinstance(domain, GraphDomain):
        points = domain.batch.bincount(minlength=domain.samples).double()
        return (points ** (1 / dimension_of(domain)) / 2).float()
    if isinstance(domain, GridDomain):
        side = math.prod(domain.shape) ** (1 / len(domain.shape))
        return torch.full((domain.samples,), side / 2)
    raise ValueError(expected("a grid or a graph to count waves on", type(domain).__name__, "sobolev=0"))
