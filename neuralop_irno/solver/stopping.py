"""Who stops, when, and why: one answer per sample."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.solution import Outcome
from neuralop_irno.solver.solver import SolverState

GROWTH = 1e3
"""A sample whose update is this many times its smallest so far is called growing."""


@dataclass(frozen=True)
class Tolerance:
    """Converged means |update| < atol + rtol |h|; both 0 means that no tolerance was asked for."""

    atol: float = 0.0
    rtol: float = 0.0

    def scaled(self, update: Tensor, h: Tensor) -> Tensor:
        """The size of an update in units of the tolerance: converged is < 1."""
        return update / (self.atol + self.rtol * h)


class Stopping:
    """A watch for `iterate` that ends each sample on its own and keeps what it leaves behind.

    Args:
        domain: of the whole batch.
        start: the state before the first step.
        budget: the steps that each sample may take, ``(samples,)``.
        tolerance: when a sample has converged.

    Attributes:
        value: the state of each sample where it stopped.
        taken: the steps that each sample took, ``(samples,)``.
        outcomes: how each sample ended.
    """

    def __init__(
        self, domain: Domain, start: Tensor, budget: Tensor, tolerance: Tolerance | None = None
    ) -> None:
        self._here = domain
        self._whole = domain
        self._tolerance = tolerance
        self._budget = budget
        self._active = torch.arange(domain.samples, device=start.device)
        self._sizes: list[tuple[Tensor, Tensor]] = []
        self._smallest = torch.full((domain.samples,), torch.inf, device=start.device, dtype=start.dtype)
        self.value = start
        self.taken = torch.zeros_like(budget)
        self.outcomes = [Outcome.COMPLETED] * domain.samples

    @property
    def longest(self) -> int:
        """The largest budget of all."""
        return int(self._budget.max()) if len(self._budget) else 0

    def starters(self) -> Tensor:
        """The samples that may take a step at all."""
        self._active = self._budget.nonzero()[:, 0]
        self._here = self._whole.select(self._active)
        return self._active

    def __call__(self, h: Tensor, state: SolverState) -> Tensor | None:
        active = self._active
        size = self._here.norm(state.update)
        self._sizes.append((active, size))
        self.taken[active] += 1
        smallest = torch.minimum(self._smallest[active], size)
        self._smallest[active] = smallest

        finite = size.isfinite()
        growing = size > GROWTH * smallest
        spent = self.taken[active] >= self._budget[active]
        converged = torch.zeros_like(finite)
        if self._tolerance is not None:
            converged = self._tolerance.scaled(size, self._here.norm(h)) < 1
        done = ~finite | spent
        if self._tolerance is not None:
            done |= converged | growing
        if not done.any():
            return None

        ended, going_on = done.nonzero()[:, 0], (~done).nonzero()[:, 0]
        self.value = self._whole.put(self.value, active[ended], self._here.take(h, ended))
        out_of_steps = Outcome.COMPLETED if self._tolerance is None else Outcome.OUT_OF_STEPS
        for i in ended.tolist():
            self.outcomes[int(active[i])] = (
                Outcome.NOT_FINITE
                if not finite[i]
                else Outcome.CONVERGED
                if converged[i]
                else Outcome.GROWING
                if self._tolerance is not None and growing[i]
                else out_of_steps
            )
        self._here = self._here.select(going_on)
        self._active = active[going_on]
        return going_on

    def residuals(self) -> tuple[Tensor, ...]:
        """The size of every update that each sample made, in order; no padding."""
        rows: list[list[Tensor]] = [[] for _ in range(self._whole.samples)]
        for active, size in self._sizes:
            for sample, value in zip(active.tolist(), size.unbind(), strict=True):
                rows[sample].append(value)
        return tuple(
            torch.stack(row) if row else self.taken.new_zeros(0, dtype=torch.float32) for row in rows
        )
