"""Multigrid cycles for equations on grids, in which Phi may propose an update at each level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.domain.cell_transfers import averaged, prolonged, restricted
from neuralop_irno.domain.condition import HALF
from neuralop_irno.domain.ends import check_ends, ends_of
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.equations.equation import BoundEquation, Map
from neuralop_irno.errors import expected
from neuralop_irno.registry import PRECONDITIONERS
from neuralop_irno.solution import unchanged
from neuralop_irno.solver.preconditioner import Preconditioner
from neuralop_irno.solver.smoothing import check_smoothing, damped_jacobi
from neuralop_irno.solver.system import LearnedPreconditioner, System

COARSEST = 8
"""Grids with an axis of no more cells, or of an odd number, are not halved."""

SMALL = 1024
"""Values up to which the coarsest equation is solved exactly; beyond it is smoothed."""

SMOOTHING = 32
"""Smoothing steps on a coarsest grid that is too large for an exact solve."""


@dataclass(frozen=True)
class Level:
    """The equation on one grid.

    Attributes:
        equation: bound to x there.
        apply: v -> A v.
        ends: the boundary of each axis.
        learned: Phi there; None without one.
        inverse: of A on the coarsest grid, ``(B, n, n)``; None on others.
    """

    equation: BoundEquation
    apply: Map
    ends: tuple[str, ...]
    learned: LearnedPreconditioner | None
    inverse: Tensor | None = None


@PRECONDITIONERS.register("multigrid")
class Multigrid(Preconditioner):
    r"""One multigrid V-cycle for A u = r from u = 0, on grids with n, n/2, n/4 .. cells along each axis.

    .. math:: u \leftarrow u + \omega D^{-1} (r - A u) \qquad
              u \leftarrow u + \theta \, \Phi(x, D^{-1} (r - A u)) \qquad
              u \leftarrow u + P \, M_{coarse} R (r - A u) \qquad
              u \leftarrow u + \omega D^{-1} (r - A u)

    with the diagonal D of A, linear interpolation P between the centres of cells, :math:`R = P^T / 2^d`, and
    on each coarser grid the same equation for x averaged over blocks of cells. With ``phi``, the correction
    of the model proposes an update on each grid, of which the multiple :math:`\theta` with the smallest error
    in the norm of A is taken (the smallest residual for an equation that is not symmetric); with two
    ``proposals`` it does so again after the coarser grids. In
    :math:`D^{-1} r` the equation looks alike on all grids, so that Phi has the same weights on each of them,
    and is evaluated there as it is. Where Phi is zero, and without ``phi``, the cycle is the classical one:
    linear, and symmetric positive definite if A is. Trottenberg et al., Multigrid (2001).

    Args:
        phi: whether Phi proposes updates.
        boundary: for P and R, ``periodic``, ``dirichlet`` (u is zero on the wall) or ``neumann`` (its normal
            derivative is), for all axes or for each; by default the ``boundary`` of the equation, and
            ``periodic`` for one without it.
        smoothing: smoothing steps before and after the coarser grids.
        damping: :math:`\omega`.
        proposals: updates that Phi proposes on each grid: 1, before the coarser grids, or 2, also after them.

    Example:
        >>> from neuralop_irno.equations.equation import LinearEquation
        >>> equation = LinearEquation(
        ...     lambda x, v: (2 * v - v.roll(1, 2) - v.roll(-1, 2)) * v.shape[2] ** 2 + v,
        ...     lambda x: x, diagonal=lambda x: torch.full_like(x, 2 * x.shape[2] ** 2 + 1), symmetric=True,
        ... )
        >>> x = torch.randn(1, 1, 64, dtype=torch.float64)
        >>> system = System(equation.bind(x, GridDomain.of(x)))
        >>> h = torch.zeros_like(x)
        >>> for _ in range(5):
        ...     h = h + Multigrid(phi=False).of(system, h, system(h))
        >>> bool(system(h).norm() < 1e-2 * x.norm())
        True
    """

    def __init__(
        self,
        phi: bool = True,
        boundary: str | Sequence[str] | None = None,
        smoothing: int = 1,
        damping: float = 0.8,
        proposals: int = 1,
    ) -> None:
        check_smoothing(smoothing, damping)
        if proposals not in (1, 2):
            raise ValueError(expected("proposals of 1 or 2", proposals, "proposals=1"))
        if boundary is not None:
            check_ends(boundary)
        self.phi, self.boundary, self.smoothing, self.damping = phi, boundary, smoothing, damping
        self.proposals = proposals

    def of(self, system: System, h: Tensor, r: Tensor) -> Tensor:
        levels = system.prepared(self, lambda: self._levels(system, h))
        return self._cycle(levels, h, r)

    def _levels(self, system: System, h: Tensor) -> list[Level]:
        """The equation on all grids, the finest first."""
        equation, learned = system.physics, system.learned
        if self.phi and learned is None:
            got, hint = "one that is not given the residual", "multigrid with phi: false"
            raise ValueError(expected("a correction of x, h and r as the preconditioner", got, hint))
        if not isinstance(equation.domain, GridDomain):
            raise ValueError(
                expected("an equation on a grid for multigrid", "one on points", "'auxiliary_grid'")
            )
        boundary: Any = self.boundary or getattr(equation.equation, "boundary", "periodic")
        ends = ends_of(boundary, len(equation.domain.shape))
        learned = learned.on(equation, unchanged) if self.phi and learned is not None else None
        levels = [Level(equation, equation.linearised(h), ends, learned)]
        while all(n % 2 == 0 and n > COARSEST for n in equation.domain.shape):
            equation, h = coarser(equation), averaged(h)
            learned = None if learned is None else learned.on(equation, averaged)
            levels.append(Level(equation, equation.linearised(h), ends, learned))
        last = levels[-1]
        if h[0].numel() <= SMALL:
            levels[-1] = replace(last, inverse=_inverse(last.apply, h))
        return levels

    def _cycle(self, levels: Sequence[Level], h: Tensor, r: Tensor) -> Tensor:
        level, below = levels[0], levels[1:]
        equation = level.equation
        if level.inverse is not None:
            solved = torch.einsum("bij,bj->bi", level.inverse, r.flatten(1))
            return equation.project(solved.reshape(r.shape))
        steps = self.smoothing if below else SMOOTHING
        u, r = damped_jacobi(equation, level.apply, r, steps, self.damping)
        if not below:
            return u
        if level.learned is not None:
            update = self._proposed(level, h, r)
            u, r = u + update, r - level.apply(update)
        update = self._cycle(below, averaged(h), below[0].equation.project(restricted(r, level.ends)))
        update = equation.project(prolonged(update, level.ends))
        u, r = u + update, r - level.apply(update)
        if level.learned is not None and self.proposals == 2:
            update = self._proposed(level, h, r)
            u, r = u + update, r - level.apply(update)
        after, _ = damped_jacobi(equation, level.apply, r, self.smoothing, self.damping, residual=False)
        return u + after

    @staticmethod
    def _proposed(level: Level, h: Tensor, r: Tensor) -> Tensor:
        """The best multiple of the update that Phi proposes for each sample; zero where it is not finite."""
        assert level.learned is not None
        equation, domain = level.equation, level.equation.domain.unweighted()
        proposed = equation.project(level.learned(h, r))
        image = level.apply(proposed)
        to = proposed if equation.equation.symmetric is not False else image
        along, size = domain.inner(to, r), domain.inner(to, image)
        finite = along.isfinite() & size.isfinite()
        # A proposal of zero is taken as it is, for its gradient.
        share = torch.where(size == 0, 1.0, along / torch.where(size == 0, 1.0, size))
        usable = domain.spread(finite & (size >= 0), r)
        return torch.where(usable, domain.spread(share, r) * proposed, 0.0)


def coarser(equation: BoundEquation) -> BoundEquation:
    """The same equation on half as many cells along each axis, for x averaged over blocks of cells."""
    domain, mask = equation.domain, equation.mask
    assert isinstance(domain, GridDomain)
    if mask is not None:
        mask = averaged(mask.to(equation.x.dtype)) >= HALF
    return equation.equation.bind(
        averaged(equation.x), domain.with_shape([n // 2 for n in domain.shape]), mask
    )


def _inverse(apply: Map, like: Tensor) -> Tensor:
    """The pseudo-inverse of A on a small grid, ``(B, n, n)``."""
    size = like[0].numel()
    columns = []
    for place in range(size):
        unit = torch.zeros_like(like).flatten(1)
        unit[:, place] = 1
        columns.append(apply(unit.reshape(like.shape)).flatten(1))
    matrix = torch.stack(columns, 2)
    # Not finite is an outcome of the solver, and pinv raises on it.
    return torch.linalg.pinv(torch.where(matrix.isfinite(), matrix, 0.0), rtol=1e-12)
