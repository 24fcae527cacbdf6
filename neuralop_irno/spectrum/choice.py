"""The choice of a Laplacian for a graph, by its parts or by the config."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.errors import check_choice, expected
from neuralop_irno.spectrum.laplacian import (
    Laplacian,
    graph_laplacian,
    knn_laplacian,
    mesh_laplacian,
    robust_laplacian,
    softened,
)

NEIGHBOURS = 8

STIFFEST = 2.0
"""Largest contribution of one cell or edge to the eigenvalues, in units of the squared Nyquist frequency;
regular cells add about 0.2. Only slivers add more. They would stretch the spectrum so that polynomials cannot
resolve its low end, and would dominate the mean eigenvalue of the modes left out."""


@dataclass(frozen=True)
class SpectrumChoice:
    """Options of the spectrum on graphs; see ``docs/laplacians.md``.

    Attributes:
        laplacian: ``mesh`` (cotangent), ``robust``, ``knn`` or ``edges``. The default is ``mesh`` for graphs
            with cells, ``knn`` for graphs with coordinates, else ``edges``.
        bands: number of bands up to the Nyquist frequency, for graphs too large for all their modes.
        modes: number of lowest modes to compute where polynomials do not resolve the lowest bands.
        nyquist: the frequency of value 1, in radians per unit of length, to share one among meshes of
            different resolution; by default pi over the node distance of each mesh.
        period: the lengths of a periodic box, for ``knn``; by default the ``period`` of the data.
        cache: a folder in which eigenvectors are stored by the content of the mesh.
    """

    laplacian: str | None = None
    bands: int = 16
    modes: int = 256
    nyquist: float | None = None
    period: Sequence[float] | None = None
    cache: str | None = None

    def __post_init__(self) -> None:
        if self.laplacian is not None:
            check_choice("a Laplacian", self.laplacian, LAPLACIANS)
        if self.bands < 2 or self.modes < 1 or not (self.nyquist is None or self.nyquist > 0):
            got = f"bands={self.bands}, modes={self.modes}, nyquist={self.nyquist}"
            raise ValueError(expected("bands >= 2, modes >= 1 and nyquist > 0", got, "bands=16, modes=256"))

    def name_for(self, graph: GraphDomain) -> str:
        """The name of the Laplacian of a graph."""
        if self.laplacian is not None:
            return self.laplacian
        if graph.pos is None:
            return "edges"
        return "knn" if graph.cells is None else "mesh"


def laplacian_of(graph: GraphDomain, choice: SpectrumChoice) -> Laplacian:
    """The Laplacian of one graph, with the measure of its domain as mass.

    Hence the energies sum to the mean square over the domain, and a spectral loss with equal weights equals
    the spatial loss.

    Example:
        >>> edges = torch.tensor([[0, 1, 2], [1, 2, 0]])
        >>> ring = GraphDomain.of(torch.zeros(3, 1), {"edge_index": edges})
        >>> laplacian_of(ring, SpectrumChoice()).stiffness.toarray()[0].tolist()
        [2.0, -1.0, -1.0]
    """
    name = choice.name_for(graph)
    laplacian = LAPLACIANS[name](graph, choice)
    if graph.measure is None:
        mass = np.full(laplacian.nodes, laplacian.mass.mean() if laplacian.nodes else 1.0)
    else:
        mass = graph.measure.detach().cpu().double().numpy()
        if not (mass > 0).all():
            wanted = "a measure > 0 at every node for a spectrum"
            raise ValueError(expected(wanted, mass.min(), "leaving those nodes out"))
        if name == "edges":  # its nodes have mass 1 in the mean
            mass = mass / mass.mean()
    if choice.nyquist is not None and name == "edges":
        raise ValueError(expected("coordinates for a given nyquist", "edges only", "nyquist=None"))
    nyquist = laplacian.nyquist if choice.nyquist is None else choice.nyquist
    return dataclasses.replace(laplacian, mass=mass, nyquist=nyquist)


def dimension_of(graph: GraphDomain) -> int:
    """The dimension of the cells of a graph, else of its coordinates, else 1."""
    if graph.cells is not None:
        return len(graph.cells) - 1
    return 1 if graph.pos is None else graph.pos.shape[1]


def _points(graph: GraphDomain, name: str) -> Tensor:
    if graph.pos is None:
        raise ValueError(expected(f"coordinates for laplacian='{name}'", "none", "pos=..., or 'edges'"))
    return graph.pos


def _mesh(graph: GraphDomain, choice: SpectrumChoice) -> Laplacian:
    if graph.cells is None:
        raise ValueError(expected("cells for laplacian='mesh'", "none", "face=..., or laplacian='knn'"))
    return mesh_laplacian(_points(graph, "mesh"), graph.cells, STIFFEST)


def _robust(graph: GraphDomain, choice: SpectrumChoice) -> Laplacian:
    cells = graph.cells if graph.cells is not None and len(graph.cells) == 3 else None
    return softened(robust_laplacian(_points(graph, "robust"), cells), STIFFEST)


def _knn(graph: GraphDomain, choice: SpectrumChoice) -> Laplacian:
    pos, period = _points(graph, "knn"), None
    if choice.period is not None:
        period = torch.tensor(choice.period)
    elif graph.period is not None and bool(graph.period.isfinite().all()):
        period = graph.period[0]
        pos = torch.remainder(pos, period)
        pos = torch.where(pos < period, pos, 0)
    return softened(knn_laplacian(pos, NEIGHBOURS, graph.measure, period), STIFFEST)


def _edges(graph: GraphDomain, choice: SpectrumChoice) -> Laplacian:
    return graph_laplacian(graph.edges.index, len(graph.batch))


LAPLACIANS: dict[str, Callable[[GraphDomain, SpectrumChoice], Laplacian]] = {
    "mesh": _mesh,
    "robust": _robust,
    "knn": _knn,
    "edges": _edges,
}
