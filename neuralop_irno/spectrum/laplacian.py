"""Laplacians of meshes, point clouds and graphs, as a symmetric stiffness and a lumped mass."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from neuralop_irno.domain.elements import LinearElements
from neuralop_irno.errors import check_least, expected

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Laplacian:
    r"""The operator :math:`M^{-1} L`, minus the Laplace operator of the domain.

    .. math:: u^T L u \approx \int |\nabla u|^2 \qquad u^T M u \approx \int u^2

    Attributes:
        stiffness: L, symmetric, positive semidefinite, rows that sum to zero; float64, ``(N, N)``.
        mass: the diagonal of M, the measure of each node, ``(N,)``.
        nyquist: the frequency of value 1, :math:`\pi / h` for nodes h apart. On a grid of spacing h it is the
            Nyquist frequency of an axis. To compare meshes of several sizes, set the same for all of them:
            ``dataclasses.replace(laplacian, nyquist=...)``.
    """

    stiffness: sp.csr_array
    mass: Array
    nyquist: float

    @property
    def nodes(self) -> int:
        """The number of nodes."""
        return len(self.mass)

    @cached_property
    def symmetric(self) -> sp.csr_array:
        """The symmetric matrix with the same eigenvalues, M^(-1/2) L M^(-1/2)."""
        scale = sp.diags_array(self.mass**-0.5)
        return (scale @ self.stiffness @ scale).tocsr()

    @cached_property
    def digest(self) -> str:
        """A hash of the content; equal for equal matrices."""
        content = hashlib.sha256()
        matrix = self.stiffness
        for array in (matrix.indptr, matrix.indices, matrix.data, self.mass):
            content.update(f"{array.dtype}{array.shape}".encode())
            content.update(np.ascontiguousarray(array).data)
        return content.hexdigest()


def mesh_laplacian(pos: Tensor, cells: Tensor, stiffest: float = math.inf) -> Laplacian:
    r"""The Laplacian of linear finite elements; on triangles the cotangent Laplacian.

    .. math:: L_{ij} = \sum_T |T| \, \nabla \phi_i \cdot \nabla \phi_j \qquad
              M_{ii} = \sum_{T \ni i} |T| / (d + 1)

    Exact on linear functions. Surfaces in space and polylines work too: gradients are taken within a cell.

    A nearly flat cell (a sliver) gives entries of unbounded size. With ``stiffest`` such a cell is scaled
    down as a whole, which keeps the matrix positive semidefinite, and changes slowly varying modes by at most
    the cell's share of the domain.

    Args:
        pos: coordinates, ``(N, D)``.
        cells: the corners of each cell, as PyG's ``data.face``, ``(d + 1, cells)``: 3 rows for triangles,
            4 for tetrahedra, 2 for segments.
        stiffest: largest contribution of one cell to the eigenvalues, in units of the squared Nyquist
            frequency; unbounded by default.

    Example:
        >>> import torch
        >>> pos = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> square = mesh_laplacian(pos, torch.tensor([[0, 1], [1, 3], [2, 2]]))
        >>> square.mass.sum().round(12)
        np.float64(1.0)
        >>> x = pos[:, 0].numpy()
        >>> float(x @ square.stiffness @ x)
        1.0
    """
    points, corners = _numbers(pos), cells.detach().cpu().numpy()
    dim = len(corners) - 1
    if corners.ndim != 2 or not 1 <= dim <= points.shape[1]:
        wanted = f"cells (corners, cells) with 2 to {points.shape[1] + 1} corners in these dimensions"
        raise ValueError(expected(wanted, tuple(cells.shape), "data.face, or cells.T"))
    _check_indices(corners, len(points), "cells")
    elements = LinearElements(points, corners)
    mass = elements.lumped_mass
    bare = int((mass == 0).sum())
    if bare:
        wanted = "nodes that belong to a cell"
        raise ValueError(expected(wanted, f"{bare} in none", "leaving those nodes out"))
    nyquist = _nyquist(mass, dim)
    trace = (np.einsum("cii->ci", elements.stiffness) / mass[corners.T]).sum(1)
    bounded = elements.stiffness * np.minimum(1, stiffest * nyquist**2 / trace)[:, None, None]
    weights = -elements.assemble(bounded)
    weights.setdiag(0)
    return Laplacian(_stiffness(weights), mass, nyquist)


def softened(laplacian: Laplacian, stiffest: float) -> Laplacian:
    """A Laplacian with non-negative weights, each bounded like the cells in `mesh_laplacian`.

    Example:
        >>> import torch
        >>> near = knn_laplacian(torch.tensor([[0.0], [1e-6], [1.0], [2.0]]), 2, torch.ones(4))
        >>> soft = softened(near, 2.0)
        >>> bool(near.stiffness.max() > 1e11), float(soft.stiffness.max() / near.nyquist**2) < 1.5
        (True, True)
    """
    weights = sp.coo_array(-laplacian.stiffness)
    off = weights.row != weights.col
    ends, values = np.stack([weights.row, weights.col])[:, off], weights.data[off]
    most = stiffest * laplacian.nyquist**2 / (1 / laplacian.mass)[ends].sum(0)
    shape = laplacian.stiffness.shape
    bounded = sp.coo_array((np.minimum(values, most), (ends[0], ends[1])), shape).tocsr()
    return Laplacian(_stiffness(bounded), laplacian.mass, laplacian.nyquist)


def graph_laplacian(edge_index: Tensor, nodes: int, weight: Tensor | None = None) -> Laplacian:
    """The combinatorial Laplacian, degrees minus adjacency, with mass 1 at every node.

    Edges are undirected: repeated or reversed edges count once, with the largest of their weights; self loops
    are ignored. Neighbours have distance 1, so that the Nyquist frequency is pi times the root of the mean
    weight.

    Args:
        edge_index: ``(2, edges)``.
        nodes: number of nodes, including isolated ones.
        weight: non-negative weight of each edge, ``(edges,)``; by default 1.

    Example:
        >>> import torch
        >>> path = graph_laplacian(torch.tensor([[0, 1], [1, 2]]), nodes=3)
        >>> path.stiffness.toarray().astype(int).tolist()
        [[1, -1, 0], [-1, 2, -1], [0, -1, 1]]
    """
    ends = edge_index.detach().cpu().numpy()
    if ends.ndim != 2 or len(ends) != 2:
        raise ValueError(expected("edge_index (2, edges)", tuple(edge_index.shape), "edge_index.T"))
    _check_indices(ends, nodes, "edge_index")
    values = np.ones(ends.shape[1]) if weight is None else _numbers(weight)
    if values.shape != ends.shape[1:] or not (values >= 0).all():
        wanted = f"one weight >= 0 for each of {ends.shape[1]} edges"
        raise ValueError(expected(wanted, values.shape, "edge_weight.abs()"))
    weights = _undirected(ends, values, nodes)
    mean = float(weights.data.mean()) if weights.nnz else 1.0
    return Laplacian(_stiffness(weights), np.ones(nodes), math.pi * math.sqrt(mean or 1.0))


def knn_laplacian(
    pos: Tensor, neighbours: int = 8, measure: Tensor | None = None, period: Tensor | None = None
) -> Laplacian:
    r"""The Laplacian of points without a mesh, from their nearest neighbours.

    .. math:: L_{ij} = - \frac{2 d}{\bar n} \, \frac{\sqrt{m_i m_j}}{|x_i - x_j|^2}

    with :math:`\bar n` the mean number of neighbours. On a grid with the 2 d nearest neighbours this is the
    usual finite difference. On scattered points it has the scale of the Laplace operator, but is not a
    consistent approximation.

    Args:
        pos: coordinates of distinct points, ``(N, d)``.
        neighbours: smallest number of neighbours of each point.
        measure: the mass of each node, ``(N,)``; by default the volume of the ball up to the last neighbour,
            divided by the number of neighbours.
        period: the lengths of a periodic box, for points in ``[0, period)``, ``(d,)``.

    Example:
        >>> import torch
        >>> line = knn_laplacian(torch.arange(8.0)[:, None], 2, torch.ones(8), torch.tensor([8.0]))
        >>> (line.stiffness.diagonal()[:3].tolist(), line.nyquist == math.pi)
        ([2.0, 2.0, 2.0], True)
    """
    points = _numbers(pos)
    count, dim = points.shape
    near = min(neighbours, count - 1)
    check_least(1, 8, neighbours=neighbours)
    if near < 1:
        mass = np.ones(count) if measure is None else _numbers(measure)
        return Laplacian(_stiffness(sp.csr_array((count, count))), mass, _nyquist(mass, dim))
    tree = cKDTree(points, boxsize=None if period is None else _numbers(period))
    distance, other = (part[:, 1:] for part in tree.query(points, k=near + 1))
    if not distance.all():
        got = f"{int((distance[:, 0] == 0).sum())} that coincide"
        raise ValueError(expected("points that differ", got, "torch.unique(pos, dim=0)"))
    ball = math.pi ** (dim / 2) / math.gamma(dim / 2 + 1) * distance[:, -1] ** dim
    mass = ball / near if measure is None else _numbers(measure)
    if mass.shape != (count,) or not (mass > 0).all():
        wanted = f"a measure > 0 for each of {count} nodes, for a spectrum"
        got = f"{len(mass)} numbers, {int((~(mass > 0)).sum())} of them not above 0, as outside of a mask"
        raise ValueError(expected(wanted, got, "losses and metrics without a spectrum, or measure=None"))
    ends = np.stack([np.repeat(np.arange(count), near), other.ravel()])
    weights = _undirected(ends, (mass[ends[0]] * mass[ends[1]]) ** 0.5 / distance.ravel() ** 2, count)
    weights.data *= 2 * dim * count / weights.nnz
    return Laplacian(_stiffness(weights), mass, _nyquist(mass, dim))


def robust_laplacian(pos: Tensor, faces: Tensor | None = None) -> Laplacian:
    """The tufted Laplacian of a surface, from points or from triangles of any quality.

    Paper: Sharp and Crane (2020), https://doi.org/10.1111/cgf.14069.

    Args:
        pos: coordinates, ``(N, 2)`` or ``(N, 3)``.
        faces: triangles, ``(3, faces)``; without them pos is a point cloud sampled from a surface.
    """
    try:
        import robust_laplacian as tufted
    except ImportError as error:
        wanted = "the package robust_laplacian for this Laplacian"
        hint = "pip install 'neuralop_irno[robust]', or knn_laplacian(pos)"
        raise ImportError(expected(wanted, "none installed", hint)) from error
    points = _numbers(pos)
    points = np.pad(points, ((0, 0), (0, 3 - points.shape[1])))  # the package takes three coordinates
    if faces is None:
        stiffness, mass = tufted.point_cloud_laplacian(points)
    else:
        stiffness, mass = tufted.mesh_laplacian(points, faces.detach().cpu().numpy().T)
    weights = sp.csr_array(-stiffness)
    weights.setdiag(0)
    volumes = mass.diagonal()
    return Laplacian(_stiffness(weights), volumes, _nyquist(volumes, 2))


def _stiffness(weights: sp.csr_array) -> sp.csr_array:
    """Degrees minus weights: exactly symmetric, with all diagonal entries stored."""
    weights = (weights + weights.T) / 2
    # Stored diagonal entries keep isolated nodes in the sparsity pattern.
    return (sp.diags_array(np.asarray(weights.sum(1))) - weights).tocsr()


def _undirected(ends: Array, values: Array, nodes: int) -> sp.csr_array:
    """Symmetric edge weights: for each pair of nodes the largest of its weights."""
    low, high = ends.min(0, initial=nodes), ends.max(0, initial=0)
    proper = low < high
    pairs, first = np.unique(low[proper].astype(np.int64) * nodes + high[proper], return_inverse=True)
    largest = np.zeros(len(pairs))
    np.maximum.at(largest, first, values[proper])
    upper = sp.coo_array((largest, (pairs // max(nodes, 1), pairs % max(nodes, 1))), (nodes, nodes)).tocsr()
    return (upper + upper.T).tocsr()


def _nyquist(mass: Array, dim: int) -> float:
    """Pi / h, with h the edge length of a cube with the mean measure of a node."""
    return math.pi / float(mass.mean()) ** (1 / dim) if len(mass) else math.pi


def _numbers(tensor: Tensor) -> Array:
    numbers: Array = tensor.detach().cpu().double().numpy()
    if not np.isfinite(numbers).all():
        wanted = "finite coordinates and weights"
        raise ValueError(expected(wanted, "NaN or infinite ones", "removing those points"))
    return numbers


def _check_indices(indices: Array, nodes: int, name: str) -> None:
    if indices.size and not (indices.min() >= 0 and indices.max() < nodes):
        wanted = f"{name} between 0 and {nodes - 1}"
        raise ValueError(expected(wanted, f"{indices.min()} to {indices.max()}", "node indices from 0"))
