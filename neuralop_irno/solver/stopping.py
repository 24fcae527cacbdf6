"""Stopping criteria and outcomes, per sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.annotations import as_whole
from neuralop_irno.errors import expected
from neuralop_irno.solution import Outcome
from neuralop_irno.solver.accuracy import Accuracy
from neuralop_irno.solver.solver import Phi, SolverState

GROWTH = 1e3
"""A sample whose residual exceeds its smallest one so far by this factor ends as growing."""

PATIENCE, PROGRESS = 40, 0.99
"""A sample ends as stalled if `PATIENCE` steps do not reduce its residual by the factor `PROGRESS`."""


DEFAULT_MAX_STEPS = 100
"""Largest number of steps of a solve to a tolerance without ``max_steps``."""


@dataclass(frozen=True)
class Limits:
    """When to stop.

    Attributes:
        steps: number of steps without a tolerance; None uses the model's own.
        max_steps: largest number of steps with a tolerance; one for all, or one per sample, ``(samples,)``.
        max_evaluations: largest number of evaluations of Phi, counted in samples over the whole batch; None
            sets no limit.
        atol: a sample has converged when its residual is below ``atol + rtol |h|``.
        rtol: see atol; one for all, or one per sample, ``(samples,)``. With both at 0 there is no tolerance.
        residual_tol: norm of the equation's residual below which the equation counts as solved; None does
            not test it.
    """

    steps: int | None = None
    max_steps: int | Tensor | None = None
    max_evaluations: int | None = None
    atol: float = 0.0
    rtol: float | Tensor = 0.0
    residual_tol: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_steps", "rtol"):
            if isinstance(getattr(self, name), np.ndarray):
                object.__setattr__(self, name, torch.as_tensor(getattr(self, name)))
        for name in ("steps", "max_steps", "max_evaluations"):
            value = getattr(self, name)
            counts = [] if value is None else [as_whole(n) for n in numbers(value)]
            if any(count is None or count < 0 for count in counts):
                raise ValueError(expected(f"{name} >= 0", repr(value), f"{name}=6"))
            if counts and not (name == "max_steps" and isinstance(value, Tensor)):
                object.__setattr__(self, name, counts[0])
        for name in ("atol", "rtol", "residual_tol"):
            value = getattr(self, name)
            found = [] if value is None else numbers(value)
            if not all(isinstance(v, Real) and 0 <= float(v) < math.inf for v in found):
                raise ValueError(expected(f"{name} >= 0 and finite", repr(value), f"{name}=1e-3"))
        if self.tolerance and self.steps is not None:
            raise ValueError(expected("steps, or a tolerance", "both", f"max_steps={self.steps}"))
        if not self.tolerance and self.max_steps is not None:
            raise ValueError(expected("a tolerance beside max_steps", "none", f"steps={self.max_steps}"))

    @property
    def tolerance(self) -> bool:
        """Whether a tolerance was given."""
        return self.atol > 0 or max(numbers(self.rtol), default=0) > 0 or self.residual_tol is not None

    def budget(self, usual: int) -> int:
        """The largest number of steps of a sample; ``usual`` is the model's own."""
        if self.tolerance:
            return DEFAULT_MAX_STEPS if self.max_steps is None else max(numbers(self.max_steps), default=0)
        return usual if self.steps is None else self.steps

    def budgets(self, usual: int, taken: Tensor) -> Tensor:
        """The largest number of steps of each sample, ``(samples,)``, like ``taken``."""
        for name in ("max_steps", "rtol"):
            value = getattr(self, name)
            if isinstance(value, Tensor) and value.dim() and value.shape != taken.shape:
                wanted = f"{name} once, or for each of {len(taken)} samples"
                raise ValueError(expected(wanted, tuple(value.shape), f"{name} of shape ({len(taken)},)"))
        if isinstance(self.max_steps, Tensor):
            return self.max_steps.to(taken).expand_as(taken)
        return torch.full_like(taken, self.budget(usual))

    def scaled(self, residual: Tensor, h: Tensor, samples: Tensor | None = None) -> Tensor:
        """The size of a residual in units of the tolerance: converged is < 1.

        Args:
            residual: the norm of the residual.
            h: the norm of the state.
            samples: the samples of the two; by default all.
        """
        rtol = self.rtol
        if isinstance(rtol, Tensor):
            rtol = rtol.to(h.device)
            rtol = rtol[samples] if rtol.dim() and samples is not None else rtol
        # A state h = 0 with a zero residual is a fixed point, although its tolerance rtol |h| is zero.
        return residual / (self.atol + rtol * h).clamp(min=torch.finfo(h.dtype).tiny)


def numbers(value: Any) -> list[Any]:
    """The values of a tensor as a list; any other value as a list of one."""
    return value.flatten().tolist() if isinstance(value, Tensor) else [value]


def progressed(size: Tensor, smallest: Tensor, waited: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The smallest residuals so far; then the smallest ones that count as progress, and the steps since then.

    Args:
        size: the residuals of this step, ``(samples,)``.
        smallest: the smallest ones before it that counted as progress, ``(samples,)``.
        waited: the steps since then, ``(samples,)``.
    """
    progress = size < PROGRESS * smallest
    waited = torch.where(progress, 0, waited + 1)
    return torch.minimum(smallest, size), torch.where(progress, size, smallest), waited


def ends(
    size: Tensor,
    reached: Tensor,
    least: Tensor,
    waited: Tensor,
    spent: Tensor,
    converging: Mapping[Outcome, Tensor],
) -> dict[Outcome, Tensor]:
    """For each outcome of a solve to a tolerance the samples that end with it; the first that applies counts.

    Args:
        size: the residuals of this step, ``(samples,)``, as the next five.
        reached: the norms of the iterates.
        least: the smallest residuals so far, from `progressed`.
        waited: the steps since the last progress, from `progressed`.
        spent: who may take no further step.
        converging: those that end at the tolerance.
    """
    return {
        Outcome.NOT_FINITE: ~(size.isfinite() & reached.isfinite()),
        **converging,
        Outcome.GROWING: size > GROWTH * least,
        Outcome.STALLED: waited >= PATIENCE,
        Outcome.OUT_OF_STEPS: spent,
    }


class SolveRecorder:
    """A watch for `iterate` that ends each sample on its own and records its result.

    Args:
        phi: the correction, bound to x, of the whole batch.
        start: the state before the first step.
        budget: largest number of steps of each sample, ``(samples,)``.
        answer: the solver's `Solver.answer`, called where samples end.
        limits: the tolerances, and the largest number of evaluations of the batch.
        accuracy: estimates the error of the answers; None skips that.

    Attributes:
        value: the answer of each sample.
        taken: steps taken by each sample, ``(samples,)``.
        outcomes: the outcome of each sample.
        evaluations: number of evaluations of Phi, counted in samples.
    """

    def __init__(
        self,
        phi: Phi,
        start: Tensor,
        budget: Tensor,
        answer: Callable[[Tensor, SolverState], Tensor],
        limits: Limits | None = None,
        accuracy: Accuracy | None = None,
    ) -> None:
        domain = phi.domain
        self._here = domain
        self._whole = domain
        self._answer = answer
        self._limits = limits or Limits()
        self._physics = phi.physics
        self._budget = budget
        self._active = torch.arange(domain.samples, device=start.device)
        self._sizes: list[tuple[Tensor, Tensor]] = []
        self._smallest = torch.full((domain.samples,), torch.inf, device=start.device, dtype=start.dtype)
        self._waited = torch.zeros_like(budget)
        self.accuracy = accuracy
        self.value = start
        self.taken = torch.zeros_like(budget)
        # Without a tolerance a sample with a budget of zero steps is complete.
        nothing = Outcome.OUT_OF_STEPS if self._limits.tolerance else Outcome.COMPLETED
        self.outcomes = [Outcome.OUT_OF_STEPS if steps else nothing for steps in budget.tolist()]
        self.evaluations = 0

    @property
    def longest(self) -> int:
        """The largest budget of the batch."""
        return int(self._budget.max()) if len(self._budget) else 0

    def skip(self, samples: Tensor, outcome: Outcome) -> None:
        """End the samples of a mask ``(samples,)`` before the first step; call it before `starters`."""
        self._budget = torch.where(samples, 0, self._budget)
        for i in samples.nonzero()[:, 0].tolist():
            self.outcomes[i] = outcome

    def starters(self) -> Tensor:
        """The samples with a budget of at least one step."""
        wanting = self._budget.nonzero()[:, 0]
        if not self._room(len(wanting)):
            wanting = wanting[:0]
        self._keep(wanting, wanting)
        return wanting

    def __call__(self, h: Tensor, state: SolverState) -> Tensor | None:
        active = self._active
        size, reached = self._here.norm(state.residual), self._here.norm(h)
        self._sizes.append((active, size))
        self.taken[active] += 1
        self.evaluations += state.evaluated(len(active))
        if self.accuracy is not None:
            self.accuracy.see(self._here, active, h, state, size, reached)
        ended_as = self._ends(active, h, size, reached, state)
        done = torch.stack(list(ended_as.values())).any(0)
        if not done.any():
            return None
        ended, going_on = done.nonzero()[:, 0], (~done).nonzero()[:, 0]
        answers = self._here.take(self._answer(h, state), ended)
        self.value = self._whole.put(self.value, active[ended], answers)
        for i in ended.tolist():
            self.outcomes[int(active[i])] = next(outcome for outcome, who in ended_as.items() if who[i])
        self._keep(going_on, active[going_on])
        return going_on

    def residuals(self) -> tuple[Tensor, ...]:
        """The residual norms of each sample, in order, without padding."""
        rows: list[list[Tensor]] = [[] for _ in range(self._whole.samples)]
        for active, size in self._sizes:
            for sample, value in zip(active.tolist(), size.unbind(), strict=True):
                rows[sample].append(value)
        return tuple(torch.stack(row) if row else self._smallest.new_zeros(0) for row in rows)

    @property
    def last(self) -> Tensor:
        """The last residual norm of each sample, ``(samples,)``."""
        last = torch.full_like(self._smallest, torch.nan)
        for active, size in self._sizes:
            last[active] = size
        return last

    def _keep(self, places: Tensor, samples: Tensor) -> None:
        self._here = self._here.select(places)
        if self._physics and len(places):  # an equation need not be made for an empty batch
            self._physics = self._physics.select(places)
        self._active = samples

    def _room(self, samples: int) -> bool:
        """Whether one more step of ``samples`` samples is within ``max_evaluations``."""
        limit = self._limits.max_evaluations
        return limit is None or self.evaluations + samples <= limit

    def _progress(self, active: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The smallest residuals so far, whose budget is used up, and who may take no further step."""
        least, smallest, waited = progressed(size, self._smallest[active], self._waited[active])
        self._smallest[active], self._waited[active] = smallest, waited
        enough = self.taken[active] >= self._budget[active]
        return least, enough, enough | (not self._room(len(active)))

    def _ends(
        self, active: Tensor, h: Tensor, size: Tensor, reached: Tensor, state: SolverState
    ) -> dict[Outcome, Tensor]:
        """For each outcome the samples that end with it, as a mask; the first that applies is recorded."""
        least, enough, spent = self._progress(active, size)
        if not self._limits.tolerance:
            broken = ~(size.isfinite() & reached.isfinite())
            return {Outcome.NOT_FINITE: broken, Outcome.COMPLETED: enough, Outcome.OUT_OF_STEPS: spent}
        at_rest = self._limits.scaled(size, reached, active) < 1
        converging = {Outcome.CONVERGED: at_rest}
        if self._physics is not None and self._limits.residual_tol is not None:
            solved = self._here.norm(self._physics(h)) < self._limits.residual_tol
            converging = {Outcome.CONVERGED: solved, Outcome.FALSE_FIXED_POINT: at_rest & ~solved}
        return ends(size, reached, least, self._waited[active], spent, converging)
