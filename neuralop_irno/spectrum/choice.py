"""Which spectrum belongs to which domain."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.errors import expected
from neuralop_irno.spectrum.eigenbasis import LaplacianEigenbasis
from neuralop_irno.spectrum.eigenpairs import Eigenpairs, eigenpairs
from neuralop_irno.spectrum.fourier import fourier_spectrum
from neuralop_irno.spectrum.laplacian import graph_laplacian, knn_laplacian
from neuralop_irno.spectrum.spectrum import Spectrum

ALL_MODES, LOW_MODES = 600, 256
"""Graphs of up to so many nodes get all their modes; larger ones the lowest few, and the rest as one."""

KEPT = 4096
"""Graphs whose modes are kept in memory: a training set meets each of its meshes in every epoch."""

_known: OrderedDict[str, Eigenpairs] = OrderedDict()


def spectrum_of(domain: Domain, device: torch.device) -> Spectrum:
    """The Fourier spectrum of a grid; off it, the eigenvectors of each graph's own Laplacian.

    The Laplacian is that of the nearest neighbours, weighted by distance, where nodes have coordinates,
    and that of the edges where they have none.
    """
    if isinstance(domain, GridDomain):
        return fourier_spectrum(domain.shape, device)
    if isinstance(domain, GraphDomain):
        pairs = [_modes(domain, place) for place in range(domain.samples)]
        return LaplacianEigenbasis(pairs, domain.batch, device)
    raise ValueError(expected("a grid or a graph for a spectral loss", type(domain).__name__, "spectral=0"))


def _modes(domain: GraphDomain, place: int) -> Eigenpairs:
    """The modes of one graph of a batch, computed when it is first met."""
    own = domain.select(torch.tensor([place], device=domain.batch.device))
    parts = [own.measure, own.pos] if own.pos is not None else [own.edges.index]
    key = _digest([len(own.batch), *parts])
    if key in _known:
        _known.move_to_end(key)
        return _known[key]
    if own.pos is not None:
        measure = None if own.measure is None else own.measure.cpu()
        laplacian = knn_laplacian(own.pos.cpu(), min(8, max(len(own.pos) - 1, 1)), measure)
    else:
        laplacian = graph_laplacian(own.edges.index.cpu(), len(own.batch))
    found = eigenpairs(laplacian, None if laplacian.nodes <= ALL_MODES else LOW_MODES)
    _known[key] = found
    if len(_known) > KEPT:
        _known.popitem(last=False)
    return found


def _digest(parts: list[Tensor | int | None]) -> str:
    """A word for the content of a graph."""
    seen = hashlib.sha256()
    for part in parts:
        content = part.detach().cpu().contiguous().numpy().tobytes() if isinstance(part, Tensor) else part
        seen.update(content if isinstance(content, bytes) else repr(content).encode())
    return seen.hexdigest()
