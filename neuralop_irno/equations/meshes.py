"""Equations on meshes by linear (P1) finite elements, assembled from the nodes and cells of the domain."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.elements import Array, LinearElements
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.equations.diffusion import channel, positive
from neuralop_irno.equations.equation import Functions, LinearEquation
from neuralop_irno.equations.matrices import SparseMatrix
from neuralop_irno.errors import check_least, expected
from neuralop_irno.registry import EQUATIONS


def elements_of(domain: Domain) -> tuple[GraphDomain, LinearElements]:
    """The domain as a mesh, with its linear elements; raises ValueError where there is no mesh."""
    hint = "a graph with pos and face (triangles, tetrahedra or segments), as of as_graph(mesh)"
    if not isinstance(domain, GraphDomain) or domain.pos is None or domain.cells is None:
        got = type(domain).__name__ if not isinstance(domain, GraphDomain) else "a graph without cells"
        raise ValueError(expected("a mesh for this equation", got, hint))
    if domain.period is not None and bool(domain.period.isfinite().any()):
        raise ValueError(expected("an open mesh for this equation", "a periodic box", "of_matrix"))
    return domain, LinearElements(domain.pos.cpu().double().numpy(), domain.cells.cpu().numpy())


def boundary_nodes(cells: Array, nodes: int) -> Array:
    """Which nodes are corners of a side that belongs to one cell only, ``(nodes,)``.

    Args:
        cells: the corners of each cell, ``(d + 1, cells)``.
        nodes: their number.

    Example:
        >>> boundary_nodes(np.array([[0, 1], [1, 2]]), 3).tolist()  # two segments
        [True, False, True]
    """
    sides = np.concatenate([np.delete(cells, corner, 0) for corner in range(len(cells))], 1)
    found, counts = np.unique(np.sort(sides, 0), axis=1, return_counts=True)
    on_boundary = np.zeros(nodes, dtype=bool)
    on_boundary[found[:, counts == 1]] = True
    return on_boundary


@EQUATIONS.register("mesh_poisson")
class MeshPoisson(LinearEquation):
    r"""Poisson's equation on a mesh, by linear finite elements with lumped masses.

    .. math:: -\Delta h + c h = f \qquad (K + c M) h = M f

    h is zero, or given in a channel of x, at the nodes of the boundary. The residual is one of integrals over
    cells: it is weighted by the masses M. The matrix is symmetric positive definite.

    Args:
        screen: c >= 0.
        boundary_values: the channel of x with h on the boundary; None: h = 0 there.

    Shapes:
        - x: ``(N, C)`` with f in channel 0; h: ``(N, 1)``; the domain has ``pos`` and ``face``

    Example:
        >>> pos = torch.tensor([[0.0], [0.5], [1.0]], dtype=torch.float64)
        >>> x = torch.ones(3, 1, dtype=torch.float64)
        >>> line = GraphDomain.of(x, {"pos": pos, "face": torch.tensor([[0, 1], [1, 2]])})
        >>> h = torch.tensor([[0.0], [0.125], [0.0]], dtype=torch.float64)  # s (1 - s) / 2
        >>> MeshPoisson().bind(x, line)(h).abs().max().item()
        0.0
    """

    symmetric = True
    definite = True
    channels = 1

    def __init__(self, screen: float = 0.0, boundary_values: int | None = None) -> None:
        check_least(0, 1.0, screen=screen)
        self.screen, self.boundary_values = screen, boundary_values

    def terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """a and f at the nodes, ``(N, 1)``."""
        return torch.ones_like(x[:, :1]), channel(x, 0, "f")

    def functions(self, x: Tensor, domain: Domain) -> Functions:
        mesh, elements = elements_of(domain)
        a, f = self.terms(x)
        cells = torch.from_numpy(elements.cells).to(x.device)
        stiffness = torch.from_numpy(elements.stiffness).to(x)
        local = stiffness * a[cells, 0].mean(0)[:, None, None]
        mass = torch.from_numpy(elements.lumped_mass).to(x)
        nodes, corners = len(x), len(cells)
        numbers = torch.arange(nodes, device=x.device)
        matrix = SparseMatrix(
            torch.cat([cells.T[:, :, None].expand(-1, -1, corners).flatten(), numbers]),
            torch.cat([cells.T[:, None, :].expand(-1, corners, -1).flatten(), numbers]),
            torch.cat([local.flatten(), self.screen * mass]),
            nodes,
        )
        fixed = torch.from_numpy(boundary_nodes(elements.cells, nodes)).to(x.device)[:, None]
        walls = torch.zeros(mesh.samples, device=x.device).index_add(0, mesh.batch, fixed[:, 0].float())
        if self.screen == 0 and not bool((walls > 0).all()):
            raise ValueError(expected("a mesh with a boundary", "one that is closed", "screen=1.0"))
        of_x = self.boundary_values
        given = torch.zeros_like(f) if of_x is None else channel(x, of_x, "h on the boundary")
        weighted = mass[:, None] * f

        return Functions(
            residual=lambda h: weighted - matrix @ h,
            apply=lambda v: matrix @ v,
            diagonal=matrix.diagonal[:, None],
            project=lambda v: torch.where(fixed, 0, v),
            lift=lambda h: torch.where(fixed, given.to(h), h),
        )


@EQUATIONS.register("mesh_darcy")
class MeshDarcy(MeshPoisson):
    r"""Darcy's equation on a mesh, by linear finite elements with lumped masses.

    .. math:: -\nabla \cdot (a \nabla h) + c h = f

    In each cell a is the mean of its values at the corners. Otherwise see `MeshPoisson`.

    Args:
        source: f, if it is constant; None: f is in channel 1 of x.
        screen: c >= 0.
        boundary_values: the channel of x with h on the boundary; None: h = 0 there.

    Shapes:
        - x: ``(N, C)`` with a > 0 in channel 0, and f in channel 1 if ``source`` is None; h: ``(N, 1)``

    Example:
        >>> pos = torch.tensor([[0.0], [0.5], [1.0]], dtype=torch.float64)
        >>> a = torch.tensor([[1.0], [1.0], [3.0]], dtype=torch.float64)
        >>> line = GraphDomain.of(a, {"pos": pos, "face": torch.tensor([[0, 1], [1, 2]])})
        >>> MeshDarcy(source=1.0).bind(a, line).diagonal.flatten()
        tensor([2., 6., 4.], dtype=torch.float64)
    """

    def __init__(
        self, source: float | None = None, screen: float = 0.0, boundary_values: int | None = None
    ) -> None:
        super().__init__(screen, boundary_values)
        self.source = source

    def terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a = positive(channel(x, 0, "the permeability a"), "the permeability a, channel 0 of x,")
        f = channel(x, 1, "f") if self.source is None else torch.full_like(a, self.source)
        return a, f
