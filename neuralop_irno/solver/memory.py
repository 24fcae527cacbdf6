"""The state of a solver that learns from its last steps, each sample from its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import expected
from neuralop_irno.solver.solver import SolverState

FRESH = -1
"""What a sample without a step behind it knows: it cannot even take a difference yet."""


@dataclass(frozen=True)
class MemoryState(SolverState):
    """What the last steps taught.

    Attributes:
        known: how many of the lessons are each sample's own, ``(samples,)``.
        lessons: newest first; each is a tuple of fields.
    """

    PER_SAMPLE: ClassVar[frozenset[str]] = frozenset({"taken", "known"})

    known: Tensor
    lessons: tuple[tuple[Tensor, ...], ...] = ()

    @classmethod
    def fresh(cls, h: Tensor, taken: Tensor) -> Self:
        """Before the first step."""
        return cls(taken, h, torch.zeros_like(h), torch.full_like(taken, FRESH))

    def forget(self, domain: Domain, whose: Tensor, at: Tensor, residual: Tensor) -> Self:
        state = super().forget(domain, whose, at, residual)
        return replace(state, known=torch.where(whose, 0, state.known))

    def learn(
        self, at: Tensor, residual: Tensor, lesson: tuple[Tensor, ...], known: Tensor, memory: int
    ) -> Self:
        """The state one step later, with a new lesson in front of the ``known`` ones."""
        return replace(
            self,
            taken=self.taken + 1,
            at=at,
            residual=residual,
            known=torch.where(self.known == FRESH, 0, (known + 1).clamp(max=memory)),
            lessons=(lesson, *self.lessons[: memory - 1]),
        )

    def valid(self, known: Tensor) -> Tensor:
        """Which lessons count for which sample, ``(samples, lessons)``."""
        return torch.arange(len(self.lessons), device=known.device) < known[:, None]


def memory_of(steps: int) -> int:
    """How many steps a solver remembers: at least one."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(expected("a memory of at least one step", steps, "memory=5"))
    return steps
