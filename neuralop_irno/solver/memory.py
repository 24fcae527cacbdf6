"""The state of solvers that store their last steps, per sample."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from neuralop_irno.annotations import as_whole
from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import expected
from neuralop_irno.solver.solver import SolverState

FRESH = -1
"""The value of ``known`` before the first step, when there are no two points to take a difference of."""


@dataclass(frozen=True)
class MemoryState(SolverState):
    """The stored steps of a solver.

    Attributes:
        known: how many of the ``stored`` steps are valid for each sample, ``(samples,)``.
        stored: the stored steps, newest first; each is a tuple of fields.
    """

    PER_SAMPLE: ClassVar[frozenset[str]] = frozenset({"taken", "known"})

    known: Tensor
    stored: tuple[tuple[Tensor, ...], ...] = ()

    @classmethod
    def fresh(cls, h: Tensor, taken: Tensor) -> Self:
        """The state before the first step."""
        return cls(taken, h, torch.zeros_like(h), torch.full_like(taken, FRESH))

    def forget(self, domain: Domain, whose: Tensor, at: Tensor, residual: Tensor) -> Self:
        state = super().forget(domain, whose, at, residual)
        return replace(state, known=torch.where(whose, 0, state.known))

    def store(
        self, at: Tensor, residual: Tensor, step: tuple[Tensor, ...], known: Tensor, memory: int
    ) -> Self:
        """The state one step later, with ``step`` in front of the stored steps."""
        return replace(
            self,
            taken=self.taken + 1,
            at=at,
            residual=residual,
            known=torch.where(self.known == FRESH, 0, (known + 1).clamp(max=memory)),
            stored=(step, *self.stored[: memory - 1]),
        )

    def valid(self, known: Tensor) -> Tensor:
        """The stored steps that are valid for each sample, as a mask ``(samples, stored)``."""
        return torch.arange(len(self.stored), device=known.device) < known[:, None]


def memory_of(steps: int) -> int:
    """The number of steps that a solver stores, checked to be at least one."""
    number = as_whole(steps)
    if number is None or number < 1:
        raise ValueError(expected("a memory of at least one step", steps, "memory=5"))
    return number
