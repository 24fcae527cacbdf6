"""What the solvers of equations share: their state, and the check of what a preconditioner returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import expected
from neuralop_irno.solution import Outcome
from neuralop_irno.solver.preconditioner import PreconditionerLike, preconditioner_from
from neuralop_irno.solver.solver import Phi, Solver, SolverState
from neuralop_irno.solver.system import System

LEAST_COSINE = 1e-8
"""Where a symmetric definite M is due, M r is replaced by r if <M r, r> is below this share of |M r| |r|."""


@dataclass(frozen=True)
class KrylovState(SolverState):
    """The state of a solver of equations.

    ``residual`` is the residual of the equation at the current iterate h, in place of alpha * Phi, and ``at``
    is h itself.

    Attributes:
        replaced: the number of steps in which each sample's M r was not usable and r took its place,
            ``(samples,)``.
        indefinite: the samples with <p, A p> <= 0 for a search direction p, ``(samples,)``.
        spent: evaluations of the preconditioner by each sample in the last step, ``(samples,)``.
        target: the norm of the residual to reach; zero without a tolerance, ``(samples,)``.
    """

    PER_SAMPLE: ClassVar[frozenset[str]] = frozenset({"taken", "replaced", "indefinite", "spent", "target"})

    replaced: Tensor
    indefinite: Tensor
    spent: Tensor
    target: Tensor

    @classmethod
    def nothing(cls, h: Tensor, taken: Tensor) -> dict[str, Any]:
        """The attributes before the first step."""
        zeros = torch.zeros_like(taken)
        return {
            "taken": taken, "at": h, "residual": torch.zeros_like(h),
            "replaced": zeros, "indefinite": zeros.bool(), "spent": zeros,
            "target": h.new_zeros(taken.shape),
        }  # fmt: skip

    def evaluated(self, samples: int) -> int:
        return int(self.spent.sum())

    @property
    def ends(self) -> dict[Outcome, Tensor]:
        """Samples that cannot go on, as masks ``(samples,)``."""
        return {Outcome.INDEFINITE: self.indefinite}


class EquationSolver(Solver):
    """Base class of the solvers of an equation, which call Phi as a preconditioner.

    Args:
        preconditioner: a name, a config or an object; ``phi`` is the correction of the model.

    Attributes:
        patience: steps without progress after which a sample ends as stalled.
        minimises: what a step makes as small as it can: the ``energy`` <e, A e> of the error e, or the norm
            of the ``residual``.
    """

    patience = 400
    minimises = "residual"

    def __init__(self, preconditioner: PreconditionerLike = "phi") -> None:
        super().__init__()
        self.preconditioner = preconditioner_from(preconditioner)

    def check(self, system: System, h: Tensor) -> None:
        """Raise ValueError for an equation that this solver is not made for; called once per solve."""


def system_of(phi: Phi) -> System:
    """The system that a solver of equations is called with; raises ValueError for a bare correction."""
    if not isinstance(phi, System):
        got, hint = "a correction without one", "IterativeRefiner(..., equation=...), or solver='picard'"
        raise ValueError(expected("an equation for this solver", got, hint))
    return phi


def as_direction(domain: Domain, proposed: Tensor, r: Tensor, along: bool) -> tuple[Tensor, Tensor]:
    """M r scaled to the norm of r, and for which samples it can serve as a direction, ``(samples,)``.

    It is r itself for the others: where M r is zero or not finite, or does not point along r although it
    should.

    Args:
        domain: with the plain inner product.
        proposed: M r.
        r: the residual.
        along: whether <M r, r> has to be positive, as for a definite M.
    """
    # No solver depends on the length of M r: its derivative, which is not finite at 0, is not needed.
    size, wanted = domain.norm(proposed.detach()), domain.norm(r.detach())
    good = size.isfinite() & (size > 0)
    unit = torch.where(domain.spread(good, r), proposed / domain.spread(torch.where(good, size, 1.0), r), 0.0)
    if along:
        good = good & (domain.inner(unit, r) > LEAST_COSINE * wanted)
    return torch.where(domain.spread(good, r), domain.spread(wanted, r) * unit, r), good
