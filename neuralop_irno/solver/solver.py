"""What a solver is: a way to start, and a way to take one step."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from neuralop_irno.domain.domain import Domain


class Phi(Protocol):
    """A correction bound to one x: what a solver may ask."""

    domain: Domain

    @property
    def physics(self) -> Phi | None:
        """h -> the residual of the equation that h should solve, where it is known."""

    def __call__(self, h: Tensor, taken: Tensor | None = None) -> Tensor:
        """Phi(x, h), laid out like h; ``taken`` are the steps that each sample has behind it."""

    def select(self, keep: Tensor) -> Phi:
        """The same for the samples ``keep`` alone."""


@dataclass(frozen=True)
class SolverState:
    """What a solver carries from step to step.

    Attributes:
        taken: steps taken by each sample, ``(samples,)``. A step is one evaluation of Phi.
        at: where Phi was evaluated last, laid out like h.
        residual: alpha * Phi there, what a plain damped step would add. It vanishes at a fixed point and
            nowhere else, however far the solver itself went.
    """

    PER_SAMPLE: ClassVar[frozenset[str]] = frozenset({"taken"})
    """The attributes with one row a sample. The others are fields, tuples of fields, and states."""

    taken: Tensor
    at: Tensor
    residual: Tensor

    def select(self, domain: Domain, keep: Tensor) -> Self:
        """The state of the samples ``keep`` alone."""

        def part(name: str, value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(part(name, entry) for entry in value)
            if isinstance(value, SolverState):
                return value.select(domain, keep)
            return value[keep] if name in self.PER_SAMPLE else domain.take(value, keep)

        return replace(self, **{f.name: part(f.name, getattr(self, f.name)) for f in fields(self)})

    def forget(self, domain: Domain, whose: Tensor, at: Tensor, residual: Tensor) -> Self:
        """The state of a solver that comes, for some samples, fresh from another point.

        Args:
            domain: of the batch.
            whose: the samples, as a mask ``(samples,)``.
            at: the points.
            residual: what is known there.
        """
        mask = domain.spread(whose, at)
        return replace(
            self, at=torch.where(mask, at, self.at), residual=torch.where(mask, residual, self.residual)
        )


class Solver(nn.Module):
    """A fixed-point iteration in two methods. The loop itself is `iterate`, for every solver.

    Attributes:
        adds_noise: whether a step adds noise to the state, which is what the rule `from_truth` trains on.
    """

    adds_noise = False

    @abstractmethod
    def init(self, h: Tensor, taken: Tensor) -> SolverState:
        """The state before the first step; ``taken`` counts the steps that h has behind it."""

    @abstractmethod
    def step(self, phi: Phi, h: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One step, with one evaluation of Phi: the next iterate and state. Nothing is changed in place."""

    def answer(self, h: Tensor, state: Any) -> Tensor:
        """What to return for an iteration that ends here: by default, where it ends."""
        return h

    def step_size(self, taken: Tensor) -> Tensor | None:
        """alpha of each sample after ``taken`` steps, ``(samples,)``.

        None, the default, says that the solver has no such number. Losses and diagnostics then read
        alpha * Phi off the ``residual`` of its states: see `neuralop_irno.solver.plain_step`.
        """
        return None
