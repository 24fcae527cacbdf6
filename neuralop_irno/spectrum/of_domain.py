"""The spectrum of a domain, and its number of waves."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.sphere import SphereDomain, nyquist_degree
from neuralop_irno.domain.tuples import TupleDomain
from neuralop_irno.errors import expected
from neuralop_irno.spectrum.choice import SpectrumChoice, dimension_of
from neuralop_irno.spectrum.fourier import fourier_spectrum, nyquist_of_axes
from neuralop_irno.spectrum.graph_spectrum import GraphSpectrum
from neuralop_irno.spectrum.harmonics import harmonics_of
from neuralop_irno.spectrum.spectrum import Spectrum


def spectrum_of(
    domain: Domain,
    device: torch.device,
    choice: SpectrumChoice | None = None,
    axes: str | tuple[str, ...] = "fourier",
) -> Spectrum:
    """The spectrum of a grid, the harmonics of a sphere, or the Laplacian spectra of a batch of graphs.

    Args:
        domain: the domain. A grid in a box of known lengths has physical frequencies; if its cells have a
            measure, fields are multiplied by its root, so that energies sum to their norm.
        device: the device of the spectrum.
        choice: options on graphs.
        axes: the transforms along the axes of a flat grid; see `FourierSpectrum`.

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
        if isinstance(domain, SphereDomain):
            return _of_sphere(domain, device, axes)
        nyquist = nyquist_of_axes(domain.shape, domain.lengths)
        spectrum = fourier_spectrum(domain.shape, device, nyquist, axes)
        return spectrum if domain.measure is None else OfWeighted(spectrum, domain.measure)
    if axes != "fourier":
        wanted = "axes='fourier' away from grids, where there are no axes"
        raise ValueError(expected(wanted, repr(axes), "the spectrum's own options"))
    if isinstance(domain, GraphDomain):
        return GraphSpectrum(domain, device, choice or SpectrumChoice())
    if isinstance(domain, TupleDomain):
        hint = "the spectrum of each field on its own domain"
        raise ValueError(expected("one field for a spectrum", f"a tuple of {len(domain.parts)}", hint))
    raise ValueError(expected("a grid or a graph for a spectral loss", type(domain).__name__, "spectral=0"))


def _of_sphere(domain: SphereDomain, device: torch.device, axes: str | tuple[str, ...]) -> Spectrum:
    if axes != "fourier":
        wanted = "axes='fourier', the default, on a sphere, whose modes are harmonics"
        raise ValueError(expected(wanted, repr(axes), "leaving axes out"))
    spectrum = harmonics_of(domain.shape, domain.grid, device)
    if domain.by_quadrature or domain.measure is None:
        return spectrum
    return OfWeighted(spectrum, domain.measure.cpu() / domain.quadrature)


class OfWeighted(Spectrum):
    """The spectrum of fields times the root of the measure of their cells: its energies sum to the norm.

    Args:
        spectrum: of the grid.
        measure: of its cells, with mean 1, ``(1 or B, 1, *S or 1)``.

    Example:
        >>> rows = GridDomain(1, (8, 4), measure=torch.rand(8, 1))
        >>> field = torch.randn(1, 1, 8, 4)
        >>> energies = spectrum_of(rows, field.device).energies(field)
        >>> torch.allclose(energies.sum(-1)[:, 0], rows.inner(field, field))
        True
    """

    def __init__(self, spectrum: Spectrum, measure: Tensor) -> None:
        self._spectrum, self._root = spectrum, measure.sqrt()
        self.frequency, self.sharp = spectrum.frequency, spectrum.sharp
        self.description = f"{spectrum.description}, by the measure of its cells"

    def energies(self, field: Tensor) -> Tensor:
        return self._spectrum.energies(field * self._root.to(field))

    def mean_power(self, exponent: Tensor) -> Tensor:
        return self._spectrum.mean_power(exponent)


def waves_at_nyquist(domain: Domain) -> Tensor:
    r"""The number of waves of the Nyquist frequency along a side of each sample's domain, ``(samples,)``.

    .. math:: \tfrac12 N^{1/d}

    for N points in d dimensions: n / 2 if every axis has n points. On a grid in a box of known lengths the
    side is that of a cube of the same volume, and the Nyquist frequency that of the finest axis:

    .. math:: \frac{(\prod_i L_i)^{1/d}}{2 \min_i (L_i / n_i)}

    On a sphere it is the degree of the finest harmonics.

    Example:
        >>> waves_at_nyquist(GridDomain(samples=2, shape=(32, 32)))
        tensor([16., 16.])
        >>> waves_at_nyquist(GridDomain(samples=1, shape=(64, 16), lengths=(1.0, 1.0)))
        tensor([32.])
    """
    if isinstance(domain, GraphDomain):
        points = domain.batch.bincount(minlength=domain.samples).double()
        return (points ** (1 / dimension_of(domain)) / 2).float()
    if isinstance(domain, SphereDomain):
        return torch.full((domain.samples,), float(nyquist_degree(domain.shape)))
    if isinstance(domain, GridDomain):
        nyquist = nyquist_of_axes(domain.shape, domain.lengths)
        cubes = math.prod(n / own for n, own in zip(domain.shape, nyquist, strict=True))
        return torch.full((domain.samples,), cubes ** (1 / len(domain.shape)) / 2)
    raise ValueError(expected("a grid or a graph to count waves on", type(domain).__name__, "sobolev=0"))
