"""Linear (P1) finite elements on segments, triangles and tetrahedra: lumped masses and stiffness matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuralop_irno.errors import expected

Array = NDArray[Any]

FLAT = 1e-14
"""A cell is refused as flat if its volume is below this share of its longest edge to the power d."""


class LinearElements:
    r"""The functions phi_i that are linear in each cell, 1 at node i and 0 at the others.

    Cells may lie in a space of more dimensions, as surfaces do: gradients are taken within a cell.

    Args:
        pos: coordinates, ``(N, D)``.
        cells: the corners of each cell, ``(d + 1, cells)``.

    Attributes:
        volume: :math:`|T| = \sqrt{\det E E^T} / d!` of each cell, with its edges E from the first corner.
        gradients: of the functions of a cell's corners, ``(cells, d + 1, D)``.
        stiffness: :math:`|T| \, \nabla \phi_i \cdot \nabla \phi_j` of each cell, ``(cells, d + 1, d + 1)``.

    Example:
        >>> pos = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> triangle = LinearElements(pos, cells=np.array([[0], [1], [2]]))
        >>> triangle.assemble(triangle.stiffness).toarray().tolist()
        [[1.0, -0.5, -0.5], [-0.5, 0.5, 0.0], [-0.5, 0.0, 0.5]]
    """

    def __init__(self, pos: Array, cells: Array) -> None:
        self.pos, self.cells = pos, cells
        dim = len(cells) - 1
        edges = (pos[cells[1:]] - pos[cells[:1]]).transpose(1, 0, 2)
        gram = edges @ edges.transpose(0, 2, 1)
        longest = np.sqrt(np.einsum("cii->ci", gram)).max(1, initial=0.0)
        self.volume = np.sqrt(np.clip(np.linalg.det(gram), 0, None)) / math.factorial(dim)
        flat = int((self.volume <= FLAT * longest**dim).sum())
        if flat:
            raise ValueError(
                expected("cells that have a volume", f"{flat} that are flat", "leaving those out")
            )
        # Gradients as combinations of the edges: those of a cell add up to zero.
        signs = np.concatenate([-np.ones((1, dim)), np.eye(dim)])
        combined = signs @ np.linalg.inv(gram)
        self.gradients = combined @ edges
        self.stiffness = self.volume[:, None, None] * (combined @ signs.T)

    @property
    def lumped_mass(self) -> Array:
        """The mass of each node; see `lumped_mass`."""
        volume, cells, pos = map(torch.from_numpy, (self.volume, self.cells, self.pos))
        return lumped_mass(volume, cells, pos).numpy()

    def assemble(self, local: Array) -> sp.csr_array:
        """The matrix of all nodes, ``(N, N)``, from those of the cells, ``(cells, d + 1, d + 1)``."""
        nodes = len(self.pos)
        rows = np.broadcast_to(self.cells.T[:, :, None], local.shape).ravel()
        columns = np.broadcast_to(self.cells.T[:, None, :], local.shape).ravel()
        return sp.coo_array((local.ravel(), (rows, columns)), (nodes, nodes)).tocsr()


def lumped_mass(volume: Tensor, cells: Tensor, pos: Tensor) -> Tensor:
    """The mass of each node, ``(N,)``: an equal part of every cell around it.

    Args:
        volume: of the cells, ``(cells,)``.
        cells: the corners of each cell, ``(d + 1, cells)``.
        pos: coordinates, ``(N, D)``, of the dtype of the result.
    """
    share = (volume / len(cells)).to(pos.dtype).repeat(len(cells))
    return pos.new_zeros(len(pos)).index_add(0, cells.reshape(-1), share)


def lumped_measure(pos: Tensor, cells: Tensor) -> Tensor:
    r"""The measure of each node of a mesh: an equal part of every cell around it.

    .. math:: m_i = \sum_{T \ni i} \frac{|T|}{d + 1} \qquad |T| = \frac{1}{d!} \sqrt{\det E^T E}

    Args:
        pos: coordinates, ``(N, D)``.
        cells: the corners of each cell, ``(d + 1, cells)``: segments, triangles or tetrahedra.

    Shapes:
        - returns: ``(N,)``

    Example:
        >>> square = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> lumped_measure(square, torch.tensor([[0, 1], [1, 3], [2, 2]])) * 6
        tensor([1., 2., 2., 1.])
    """
    dim = len(cells) - 1
    if not 1 <= dim <= pos.shape[1]:
        raise ValueError(
            expected(
                f"cells of 2 to {pos.shape[1] + 1} corners, (corners, cells)",
                tuple(cells.shape),
                "data.face in triangles or tetrahedra",
            )
        )
    edges = (pos[cells[1:]] - pos[cells[:1]]).movedim(0, 1).double()
    volume = (edges @ edges.mT).det().clamp(min=0).sqrt() / math.factorial(dim)
    return lumped_mass(volume, cells, pos)
