"""Preconditioners of the solvers of equations, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from neuralop_irno.errors import expected
from neuralop_irno.printed import PrintedAsCall
from neuralop_irno.registry import PRECONDITIONERS, given_by_name
from neuralop_irno.solver.system import System


class Preconditioner(PrintedAsCall):
    """M, an approximation of A^{-1}: subclasses define `of`. It may change from step to step."""

    def of(self, system: System, h: Tensor, r: Tensor) -> Tensor:
        """M r at the state h, laid out like r and in its precision."""
        raise NotImplementedError(f"{type(self).__name__} does not define of(system, h, r)")


@PRECONDITIONERS.register("identity")
class Identity(Preconditioner):
    """M r = r: the method without a preconditioner."""

    def of(self, system: System, h: Tensor, r: Tensor) -> Tensor:
        return r


@PRECONDITIONERS.register("jacobi")
class Jacobi(Preconditioner):
    """M r = D^{-1} r, with the diagonal D of A."""

    def of(self, system: System, h: Tensor, r: Tensor) -> Tensor:
        if system.physics.diagonal is None:
            got, hint = "one that does not state it", "LinearEquation(.., diagonal=lambda x: ...)"
            raise ValueError(expected("an equation with the diagonal of A", got, hint))
        return system.physics.by_diagonal(r)


@PRECONDITIONERS.register("phi")
class Learned(Preconditioner):
    r"""The odd part of the correction beside the diagonal D of A, or beside 1 if D is not known:

    .. math:: M r = D^{-1} r + \tfrac12 \left( \Phi(x, h, r) - \Phi(x, h, -r) \right)

    with Phi in its own precision. :math:`D^{-1}` reduces the rough part of an error, for which Phi need not
    be exact (https://arxiv.org/abs/2208.13273); before any training Phi is zero, and M is `Jacobi`. The even
    part of Phi, such as what it returns for r = 0, has no counterpart in :math:`A^{-1}`, and would be left
    in every direction. A step costs two evaluations of Phi.
    """

    def of(self, system: System, h: Tensor, r: Tensor) -> Tensor:
        if system.learned is None:
            got, hint = "one that is not given the residual", "IterativeRefiner(.., equation=...)"
            raise ValueError(expected("a correction of x, h and r as the preconditioner", got, hint))
        return system.physics.by_diagonal(r) + (system.learned(h, r) - system.learned(h, -r)) / 2


PreconditionerLike = str | Mapping[str, Any] | Preconditioner


def preconditioner_from(spec: PreconditionerLike) -> Preconditioner:
    """A preconditioner from its name or config; an object is returned unchanged."""
    built = PRECONDITIONERS.part(spec).build() if given_by_name(spec) else spec
    if not isinstance(built, Preconditioner):
        hint = f"one of {', '.join(PRECONDITIONERS.names())}"
        raise TypeError(expected("a preconditioner", type(built).__name__, hint))
    return built
