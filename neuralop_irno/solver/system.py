"""What solvers of equations call: the equation of a batch, and a preconditioner for it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.equations.equation import BoundEquation, Map

Prepared = TypeVar("Prepared")


class LearnedPreconditioner(Protocol):
    """A correction bound to one x that approximates A^{-1} r."""

    def __call__(self, h: Tensor, r: Tensor) -> Tensor:
        """M r at the state h, in the precision of r."""

    def select(self, keep: Tensor) -> LearnedPreconditioner:
        """The same for the samples ``keep`` only."""

    def on(self, equation: BoundEquation, carry: Map) -> LearnedPreconditioner:
        """The same on another grid, for an equation bound there; ``carry`` takes fields to it."""


class System:
    r"""An equation for one x with what is known of its inverse, as solvers of equations see it.

    It takes the place of `neuralop_irno.solver.solver.Phi` in the loop. A call is the residual itself.

    Args:
        equation: bound to x.
        learned: Phi as a preconditioner; None if there is none.
        domain: with the plain inner product; by default that of the equation, unweighted.
    """

    def __init__(
        self,
        equation: BoundEquation,
        learned: LearnedPreconditioner | None = None,
        domain: Domain | None = None,
    ) -> None:
        self.physics, self.learned = equation, learned
        self.domain = equation.domain.unweighted() if domain is None else domain
        self._prepared: dict[Any, Any] = {}

    def __call__(self, h: Tensor, taken: Tensor | None = None) -> Tensor:
        return self.physics(h)

    def prepared(self, key: Hashable, build: Callable[[], Prepared]) -> Prepared:
        """What a preconditioner computes once for this system, under a key of its own."""
        if key not in self._prepared:
            self._prepared[key] = build()
        return self._prepared[key]

    def select(self, keep: Tensor) -> System:
        """The system of the samples ``keep`` only."""
        learned = None if self.learned is None else self.learned.select(keep)
        return System(self.physics.select(keep), learned, self.domain.select(keep))

    def scale(self, h: Tensor) -> Tensor:
        """The norm to which tolerances are relative, ``(samples,)``: that of the residual at h = 0.

        For a linear equation it is the norm of the right-hand side. Where it is zero or not finite it is 1.
        """
        size = self.domain.norm(self.physics(self.physics.lift(torch.zeros_like(h))))
        return torch.where((size > 0) & size.isfinite(), size, 1.0)
