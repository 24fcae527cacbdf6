"""Multigrid for equations on unstructured meshes, on a grid that covers them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.domain.cover import Cover
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.equations.equation import Equation, Map, equation_from
from neuralop_irno.errors import expected
from neuralop_irno.registry import PRECONDITIONERS
from neuralop_irno.solver.multigrid import COARSEST, Multigrid
from neuralop_irno.solver.preconditioner import Preconditioner
from neuralop_irno.solver.smoothing import check_smoothing, damped_jacobi
from neuralop_irno.solver.system import System


@dataclass(frozen=True)
class Covered:
    """The grid of a system on meshes.

    Attributes:
        cover: interpolates between both.
        grid: the equation on the grid, with Phi.
        apply: v -> A v on the meshes.
        volume: of a cell of the grid.
    """

    cover: Cover
    grid: System
    apply: Map
    volume: float


@PRECONDITIONERS.register("auxiliary_grid")
class AuxiliaryGrid(Preconditioner):
    r"""Smoothing on a mesh, and a multigrid cycle on a regular grid of about the same spacing.

    .. math:: u \leftarrow u + \omega D^{-1} (r - A u) \qquad
              u \leftarrow u + P \, M_{grid} \tfrac{1}{|c|} P^T (r - A u) \qquad
              u \leftarrow u + \omega D^{-1} (r - A u)

    with linear interpolation P from the cells of a grid over the bounding box of all nodes, zero on its
    walls, and cells of volume abs(c). The residual on the mesh is one of integrals, as of finite elements. On
    the grid an equation for the same x, carried there by means over nodes, is preconditioned by `Multigrid`,
    in which a Phi for grids proposes updates at all levels. Xu (1996), https://doi.org/10.1007/BF02238513.

    Args:
        equation: on the grid, a name, a config or an object: ``darcy`` for ``mesh_darcy``.
        phi: whether Phi proposes updates on the grid.
        smoothing: smoothing steps before and after the grid.
        damping: :math:`\omega`. For linear elements in d dimensions the eigenvalues of :math:`D^{-1} A` are
            at most d + 1, and below 2 / (d + 1) smoothing never increases the error.
        proposals: of Phi on each grid, as in `Multigrid`.
    """

    def __init__(
        self,
        equation: str | Mapping[str, Any] | Equation = "darcy",
        phi: bool = True,
        smoothing: int = 2,
        damping: float = 0.5,
        proposals: int = 1,
    ) -> None:
        check_smoothing(smoothing, damping)
        self.equation, self.phi = equation_from(equation), phi
        self.smoothing, self.damping = smoothing, damping
        self.proposals = proposals
        self._cycle = Multigrid(phi, proposals=proposals)

    def of(self, system: System, h: Tensor, r: Tensor) -> Tensor:
        known = system.prepared(self, lambda: self._covered(system, h))
        physics, cover = system.physics, known.cover
        u, r = damped_jacobi(physics, known.apply, r, self.smoothing, self.damping)
        load = cover.to_cells(r) / known.volume
        update = physics.project(cover.to_nodes(self._cycle.of(known.grid, torch.zeros_like(load), load)))
        u, r = u + update, r - known.apply(update)
        after, _ = damped_jacobi(physics, known.apply, r, self.smoothing, self.damping, residual=False)
        return u + after

    def _covered(self, system: System, h: Tensor) -> Covered:
        physics, domain = system.physics, system.physics.domain
        if not isinstance(domain, GraphDomain) or domain.pos is None or h.shape[1] != 1:
            got = "one on a grid" if isinstance(domain, GridDomain) else "other points"
            wanted = "an equation of one field on a mesh with pos for auxiliary_grid"
            raise ValueError(expected(wanted, got, "preconditioner='multigrid'"))
        pos = domain.pos.double()
        low = pos.amin(0)
        sides = pos.amax(0) - low
        nodes = len(pos) / domain.samples
        spacing = float((sides.prod() / nodes) ** (1 / len(sides)))
        shape = [_halvable(float(side) / spacing) for side in sides]
        cover = Cover.of(domain, shape, low, sides)
        there = GridDomain(domain.samples, shape, sides.tolist())
        equation = self.equation.bind(cover.means(physics.x), there)
        learned = None if system.learned is None else system.learned.on(equation, cover.means)
        volume = float(sides.prod()) / math.prod(shape)
        return Covered(cover, System(equation, learned), physics.linearised(h), volume)


def _halvable(cells: float) -> int:
    """A number of cells near a given one that is a small number times a power of two.

    Example:
        >>> _halvable(31.6), _halvable(316.2)
        (32, 320)
    """
    halvings = max(0, math.floor(math.log2(max(cells, 1) / COARSEST)))
    return max(2, round(cells / 2**halvings) * 2**halvings)
