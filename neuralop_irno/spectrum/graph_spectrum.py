"""The spectrum of a batch of graphs: each graph has its own, made when it is first met and then kept."""

from __future__ import annotations

import hashlib
import logging
import math
from collections import OrderedDict
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.spectrum.bands import even_bands, members
from neuralop_irno.spectrum.choice import SpectrumChoice, dimension_of, laplacian_of
from neuralop_irno.spectrum.eigenbasis import LaplacianEigenbasis
from neuralop_irno.spectrum.eigenpairs import eigenpairs, highest
from neuralop_irno.spectrum.laplacian import Laplacian
from neuralop_irno.spectrum.spectrum import Spectrum

ALL_MODES = 600
"""Graphs of up to so many nodes get all their modes, larger ones bands."""

ORDERS = (32, 320)
"""The least and the greatest order of the polynomials."""

SHARP = 5
"""So many times the order that just tells bands apart puts energies into their bands to 1e-4."""

KEPT = 2 * 2**30
"""Bytes of spectra that are kept in memory: a training set meets each of its meshes in every epoch."""

log = logging.getLogger("neuralop_irno")


class Known(NamedTuple):
    """The spectrum of one graph.

    Attributes:
        spectrum: of fields ``(n, C)`` on its n nodes.
        words: which it is.
        size: about how many bytes it takes.
    """

    spectrum: Spectrum
    words: str
    size: int


_known: OrderedDict[str, Known] = OrderedDict()


class GraphSpectrum(Spectrum):
    r"""Spectra of graphs side by side, in the order of the batch.

    Where a Nyquist frequency is given, so that meshes of any fineness share one, the mean of
    :math:`(|w| / w_{nyq})^\lambda` is that over the ball of frequencies below it, :math:`d / (d + \lambda)`:
    it belongs to the space, and not to the mesh.

    Args:
        domain: of the graphs.
        device: where the spectra live.
        choice: of Laplacian and bands.

    Attributes:
        words: which spectra these are.

    Shapes:
        - field: ``(N, C)``; frequency: ``(samples, lines)``
    """

    def __init__(self, domain: GraphDomain, device: torch.device, choice: SpectrumChoice) -> None:
        known = [_spectrum_of(domain, place, device, choice) for place in range(domain.samples)]
        sizes = torch.bincount(domain.batch, minlength=domain.samples).tolist()
        self.rows = members(domain.batch, sizes, device)
        self.spectra = [each.spectrum for each in known]
        self.words = "; ".join(sorted({each.words for each in known}))
        self.dimension = dimension_of(domain) if choice.nyquist is not None else None
        frequencies = [torch.atleast_2d(spectrum.frequency)[0] for spectrum in self.spectra]
        self.frequency = (
            pad_sequence(frequencies, batch_first=True) if frequencies else torch.zeros(0, 0, device=device)
        )

    def energies(self, field: Tensor) -> Tensor:
        lines = self.frequency.shape[1]
        found = []
        for spectrum, rows in zip(self.spectra, self.rows, strict=True):
            own = spectrum.energies(field.index_select(0, rows))
            found.append(F.pad(own, (0, lines - own.shape[2])))
        return torch.cat(found) if found else field.new_zeros(0, field.shape[1], 0)

    def mean_power(self, exponent: Tensor) -> Tensor:
        if self.dimension is not None:
            return self.dimension / (self.dimension + exponent)
        each = [s.mean_power(e[None]) for s, e in zip(self.spectra, exponent, strict=True)]
        return torch.cat(each) if each else exponent.new_zeros(0)


def _spectrum_of(domain: GraphDomain, place: int, device: torch.device, choice: SpectrumChoice) -> Known:
    """The spectrum of one graph of a batch."""
    graph = domain.select(torch.tensor([place], device=domain.batch.device))
    shape = graph.cells if graph.pos is not None and graph.cells is not None else None
    edges = graph.edges.index if choice.name_for(graph) == "edges" else None
    key = _digest([len(graph.batch), graph.measure, graph.pos, shape, edges], [device, choice])
    if key in _known:
        _known.move_to_end(key)
        return _known[key]
    laplacian = laplacian_of(graph, choice)
    spectrum, what, size = _best_for(laplacian, device, choice)
    words = f"{what} of the {choice.name_for(graph)} Laplacian"
    log.info("a graph of %d nodes: %s", laplacian.nodes, words)
    _known[key] = Known(spectrum, words, size)
    while len(_known) > 1 and sum(each.size for each in _known.values()) > KEPT:
        _known.popitem(last=False)
    return _known[key]


def _best_for(
    laplacian: Laplacian, device: torch.device, choice: SpectrumChoice
) -> tuple[Spectrum, str, int]:
    """All modes where they are cheap; else bands, exact at the low end where polynomials are not enough."""
    nodes = laplacian.nodes
    if nodes <= ALL_MODES:
        pairs = eigenpairs(laplacian, cache=choice.cache)
        return LaplacianEigenbasis([pairs], device=device), "all modes", 12 * nodes**2
    # Keeping the compiler out of the polynomials loads the compiler, a second of time: only where they serve.
    from neuralop_irno.spectrum.chebyshev import ChebyshevBands, order_needed

    centres = even_bands(choice.bands)
    top = math.sqrt(highest(laplacian.symmetric)) / laplacian.nyquist
    least, most = ORDERS
    order = max(least, SHARP * order_needed(top, 0.0, centres))
    entries = 12 * laplacian.stiffness.nnz
    if order <= most:
        bands = ChebyshevBands([laplacian], centres.tolist(), order, device=device)
        return bands, f"{len(centres)} bands", entries
    pairs = eigenpairs(laplacian, choice.modes, cache=choice.cache)
    reach = math.sqrt(pairs.values[-1]) / laplacian.nyquist if pairs.low else 0.0
    order = min(max(least, SHARP * order_needed(top, reach, centres)), most)
    size = entries + 12 * nodes * pairs.low
    if order_needed(top, reach, centres) <= most:
        bands = ChebyshevBands([laplacian], centres.tolist(), order, [pairs], device=device)
        return bands, f"{pairs.low} modes, and {len(centres)} bands above them,", size
    return LaplacianEigenbasis([pairs], device=device), f"{pairs.low} modes, and the rest as one,", size


def _digest(tensors: list[Tensor | int | None], others: list[object]) -> str:
    """A word for the content of a graph, and what is asked of it."""
    seen = hashlib.sha256(repr(others).encode())
    for part in tensors:
        if isinstance(part, Tensor):
            seen.update(f"{part.dtype}{tuple(part.shape)}".encode())
            seen.update(part.detach().cpu().contiguous().numpy().data)
        else:
            seen.update(repr(part).encode())
    return seen.hexdigest()
