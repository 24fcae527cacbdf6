"""The spectrum of a batch of graphs; the spectrum of each graph is computed once and cached."""

from __future__ import annotations

import hashlib
import math
import weakref
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.messages import log
from neuralop_irno.recently_used import RecentlyUsed
from neuralop_irno.spectrum.bands import even_bands, members
from neuralop_irno.spectrum.choice import SpectrumChoice, dimension_of, laplacian_of
from neuralop_irno.spectrum.eigenbasis import LaplacianEigenbasis
from neuralop_irno.spectrum.eigenpairs import eigenpairs, highest
from neuralop_irno.spectrum.laplacian import Laplacian
from neuralop_irno.spectrum.spectrum import Spectrum

ALL_MODES = 600
"""Graphs of up to this many nodes get all their modes, larger ones bands."""

ORDERS = (32, 320)
"""Smallest and largest order of the polynomials."""

SHARP = 5
"""Factor on the order that just resolves the bands; with it band energies are accurate to 1e-4."""

KEPT = 2 * 2**30
"""Size in bytes of the cache of spectra; training uses the spectrum of each mesh in every epoch."""

BATCHES = 256
"""Number of batches whose keys are cached, so that repeated batches are not hashed again."""


class KnownSpectrum(NamedTuple):
    """The spectrum of one graph.

    Attributes:
        spectrum: the spectrum of fields ``(n, C)`` on its n nodes.
        description: a description of the spectrum.
        size: approximate size in bytes.
    """

    spectrum: Spectrum
    description: str
    size: int


class Met(NamedTuple):
    """A cached batch of graphs.

    Attributes:
        tensors: weak references to its tensors, since an id alone can be reused by another tensor.
        keys: the key in `_known` of each graph.
    """

    tensors: tuple[weakref.ref[Tensor], ...]
    keys: list[str]


_known: RecentlyUsed[KnownSpectrum] = RecentlyUsed(KEPT)
"""Spectra by the content of their graphs."""

_met: RecentlyUsed[Met] = RecentlyUsed(BATCHES)
"""The keys in `_known` of earlier batches, by the identity of their tensors."""


class GraphSpectrum(Spectrum):
    r"""The spectra of the graphs of a batch, in the order of the batch.

    If ``choice.nyquist`` is given, so that meshes of different resolution share it, the mean of
    :math:`(|w| / w_{nyq})^\lambda` is taken over the ball of frequencies below it, :math:`d / (d + \lambda)`,
    which does not depend on the mesh.

    Args:
        domain: the domain of the graphs.
        device: the device of the spectra.
        choice: the Laplacian and the bands.

    Attributes:
        description: a description of the spectra.

    Shapes:
        - field: ``(N, C)``; frequency: ``(samples, lines)``
    """

    def __init__(self, domain: GraphDomain, device: torch.device, choice: SpectrumChoice) -> None:
        known = _spectra_of(domain, device, choice)
        sizes = torch.bincount(domain.batch, minlength=domain.samples).tolist()
        self.rows = members(domain.batch, sizes, device)
        self.spectra = [each.spectrum for each in known]
        self.description = "; ".join(sorted({each.description for each in known}))
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


def _spectra_of(domain: GraphDomain, device: torch.device, choice: SpectrumChoice) -> list[KnownSpectrum]:
    """The spectrum of each graph of a batch."""
    tensors = domain.given
    # Inference tensors have no version counter: changes in place would not be noticed.
    tracked = not any(tensor.is_inference() for tensor in tensors)
    identity = (
        *((id(tensor), tensor._version) for tensor in tensors if tracked),
        *(domain.samples, len(domain.batch), device, repr(choice)),
    )
    met = _met.get(identity) if tracked else None
    if met is not None and all(ref() is tensor for ref, tensor in zip(met.tensors, tensors, strict=True)):
        found = [_known.get(key) for key in met.keys]
        if all(found):
            return [each for each in found if each is not None]
    graphs = [
        domain.select(torch.tensor([place], device=domain.batch.device)) for place in range(domain.samples)
    ]
    keys = [_digest(graph, device, choice) for graph in graphs]
    if tracked:
        _met.put(identity, Met(tuple(map(weakref.ref, tensors)), keys), 1)
    return [
        _known.get(key) or _made(graph, key, device, choice) for graph, key in zip(graphs, keys, strict=True)
    ]


def _made(graph: GraphDomain, key: str, device: torch.device, choice: SpectrumChoice) -> KnownSpectrum:
    """Compute the spectrum of one graph and cache it."""
    # The cache is used in training too, which cannot use tensors made in inference mode.
    with torch.inference_mode(False):
        laplacian = laplacian_of(graph, choice)
        spectrum, what, size = _best_for(laplacian, device, choice)
    description = f"{what} of the {choice.name_for(graph)} Laplacian"
    log.debug("a graph of %d nodes: %s", laplacian.nodes, description)
    known = KnownSpectrum(spectrum, description, size)
    _known.put(key, known, size)
    return known


def _best_for(
    laplacian: Laplacian, device: torch.device, choice: SpectrumChoice
) -> tuple[Spectrum, str, int]:
    """All modes of small graphs; else bands, with exact low modes where polynomials do not resolve them."""
    nodes = laplacian.nodes
    if nodes <= ALL_MODES:
        pairs = eigenpairs(laplacian, cache=choice.cache)
        return LaplacianEigenbasis([pairs], device=device), "all modes", 12 * nodes**2
    # Imported here: its @torch.compiler.disable loads the compiler, which takes a second.
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


def _digest(graph: GraphDomain, device: torch.device, choice: SpectrumChoice) -> str:
    """A hash of the content of a graph, the device and the choice."""
    cells = graph.cells if graph.pos is not None else None
    edges = graph.edges.index if choice.name_for(graph) == "edges" else None
    seen = hashlib.sha256(repr((len(graph.batch), device, choice)).encode())
    for part in (graph.measure, graph.pos, cells, edges, graph.period):
        if part is None:
            seen.update(b"None")
        else:
            seen.update(f"{part.dtype}{tuple(part.shape)}".encode())
            seen.update(part.detach().cpu().contiguous().numpy().data)
    return seen.hexdigest()
