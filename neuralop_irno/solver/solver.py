"""What a solver is: a way to start, and a way to take one step."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor, nn

from neuralop_irno.domain.domain import Domain


class Phi(Protocol):
    """A correction bound to one x: what a solver may ask."""

    domain: Domain

    def __call__(self, h: Tensor) -> Tensor:
        """Phi(x, h), laid out like h."""

    def select(self, keep: Tensor) -> Phi:
        """The same for the samples ``keep`` alone."""


@dataclass(frozen=True)
class SolverState:
    """What a solver carries from step to step.

    Attributes:
        taken: steps taken by each sample, ``(samples,)``.
        update: what the last step added, laid out like h. It vanishes at a fixed point.
    """

    taken: Tensor
    update: Tensor

    def select(self, domain: Domain, keep: Tensor) -> SolverState:
        """The state of the samples ``keep`` alone."""
        return SolverState(self.taken[keep], domain.take(self.update, keep))


State = TypeVar("State", bound=SolverState)


class Solver(nn.Module):
    """A fixed-point iteration in two verbs. The loop itself is `iterate`, for every solver."""

    @abstractmethod
    def init(self, h: Tensor, taken: Tensor) -> SolverState:
        """The state before the first step; ``taken`` counts the steps that h has behind it."""

    @abstractmethod
    def step(self, phi: Phi, h: Tensor, state: SolverState) -> tuple[Tensor, SolverState]:
        """One step: the next iterate and the next state. Nothing is changed in place."""
