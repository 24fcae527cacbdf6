"""Policies for the refinement of each call of a rollout, and their state between calls.

Every policy calls `IterativeRefiner.solve`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Protocol, Self

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import expected
from neuralop_irno.rollouts.caller import CallAhead
from neuralop_irno.solution import Solution
from neuralop_irno.solver.stopping import Limits

SMALLEST, LARGEST = 1e-30, 1e30
"""A tolerance that only a fixed point meets, and one that every state meets."""


@dataclass(frozen=True)
class Carry:
    """The state of a refinement between calls.

    Attributes:
        spent: evaluations of Phi by each sample so far, ``(samples,)``.
        correction: the refined minus the base's output in the last call, laid out like it; None before the
            first call, and for policies that do not use it.
        residuals: of each sample's last solve, relative to |h|, ``(samples, most)``.
    """

    spent: Tensor
    correction: Tensor | None = None
    residuals: Tensor | None = None

    def take(self, domain: Domain, keep: Tensor) -> Self:
        """That of the samples ``keep`` alone."""
        correction = None if self.correction is None else domain.take(self.correction, keep)
        residuals = None if self.residuals is None else self.residuals[keep]
        return replace(self, spent=self.spent[keep], correction=correction, residuals=residuals)

    def put(self, domain: Domain, keep: Tensor, theirs: Self) -> Self:
        """This state, with the entries of the samples ``keep`` replaced."""

        def merged(
            mine: Tensor | None, new: Tensor | None, put: Callable[[Tensor, Tensor, Tensor], Tensor]
        ) -> Tensor | None:
            return new if mine is None or new is None else put(mine, keep, new)

        return replace(
            self,
            spent=self.spent.index_copy(0, keep, theirs.spent),
            correction=merged(self.correction, theirs.correction, domain.put),
            residuals=merged(
                self.residuals, theirs.residuals, lambda mine, at, new: mine.index_copy(0, at, new)
            ),
        )

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that are not None, by name."""
        held = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in held.items() if value is not None}


class Refinement(Protocol):
    """Refines the output of one call."""

    def __call__(self, call: CallAhead, carry: Carry, made: int, calls: int) -> tuple[Solution, Carry]:
        """The refined output, and the state for the next call.

        Args:
            call: of the model.
            carry: the state from the last call, for the samples of this one.
            made: calls before this one.
            calls: of the whole rollout.
        """


@dataclass(frozen=True)
class Refine:
    """The same refinement in every call: K steps, or as many as a tolerance needs.

    Args:
        steps: K; the model's own by default.
        rtol: with atol, stop when the residual is below ``atol + rtol |h|``.
        atol: see rtol.
        max_steps: with a tolerance, the most steps.
        warm_start: start at the base's output plus the correction of the last call. This saves
            steps if the base's errors are alike from call to call and the iteration converges;
            if the iteration stops earlier, errors of the last call remain.

    Example:
        >>> Refine(rtol=1e-2, max_steps=8)
        Refine(steps=None, rtol=0.01, atol=0.0, max_steps=8, warm_start=False)
    """

    steps: int | None = None
    rtol: float = 0.0
    atol: float = 0.0
    max_steps: int | None = None
    warm_start: bool = False

    def __post_init__(self) -> None:
        Limits(steps=self.steps, max_steps=self.max_steps, atol=self.atol, rtol=self.rtol)

    def __call__(self, call: CallAhead, carry: Carry, made: int, calls: int) -> tuple[Solution, Carry]:
        limits = {"steps": self.steps, "max_steps": self.max_steps, "atol": self.atol, "rtol": self.rtol}
        if not self.warm_start:
            solution = call.solve(**limits)
            return solution, replace(carry, spent=carry.spent + solution.steps)
        base = call.base_answer()
        start = base if carry.correction is None else base + carry.correction
        whole = start.isfinite()  # a sample in which the base blows up must not affect the others
        solution = call.solve(**limits, start=start.where(whole, 0))
        solution = replace(solution, value=solution.value.where(whole, torch.nan))
        spent = carry.spent + solution.steps
        return solution, replace(carry, spent=spent, correction=solution.value - base)


@dataclass(frozen=True)
class Adaptive:
    r"""More evaluations in calls with larger residuals, within a budget.

    The criterion is the residual :math:`r_k = |\alpha \Phi(x, h_k)| / |h_k|`. A sample is iterated until its
    residual is as small as that of the last call after as many evaluations as the budget now allows per call:
    a call that is as hard as the last takes that many, a harder one takes more, an easier one fewer. Saved
    evaluations are available to later calls. The first call takes ``most``.

    Args:
        budget: the most evaluations of Phi per call, averaged over the calls of a sample.
        most: the most evaluations in one call.

    Example:
        >>> Adaptive(budget=2.4, most=4)  # instead of K = 4 everywhere
        Adaptive(budget=2.4, most=4)
    """

    budget: float
    most: int

    def __post_init__(self) -> None:
        if self.most < 1 or not 1 <= self.budget <= self.most:
            hint = "Adaptive(budget=2.4, most=4)"
            raise ValueError(expected("1 <= budget <= most", (self.budget, self.most), hint))

    def __call__(self, call: CallAhead, carry: Carry, made: int, calls: int) -> tuple[Solution, Carry]:
        rest = self.budget * calls - carry.spent
        left = calls - made
        # Each of the calls to come needs at least one evaluation.
        most = (rest - (left - 1)).floor().clamp(1, self.most).long()
        solution = call.solve(rtol=self._tolerance(carry, rest / left), max_steps=most)
        residuals = self._in_units_of(call.domain.norm(solution.value), solution, carry.residuals)
        return solution, replace(carry, spent=carry.spent + solution.steps, residuals=residuals)

    def _tolerance(self, carry: Carry, allowed: Tensor) -> Tensor:
        """The residual of each sample's last solve after ``allowed`` evaluations, interpolated."""
        if carry.residuals is None:
            return torch.full_like(allowed, SMALLEST)
        place = allowed.clamp(1, self.most) - 1
        below, above = (end.long()[:, None] for end in (place.floor(), place.ceil()))
        known = carry.residuals.to(allowed.dtype).clamp(SMALLEST, LARGEST).log()
        return torch.lerp(known.gather(1, below), known.gather(1, above), place.frac()[:, None])[:, 0].exp()

    def _in_units_of(self, size: Tensor, solution: Solution, before: Tensor | None) -> Tensor:
        """The relative residuals of a solve; missing ones are extrapolated by the last solve's ratios."""
        size = size.clamp(min=SMALLEST)  # no division by zero for a field of zeros
        rows = [row[: self.most] / whole for row, whole in zip(solution.residuals, size, strict=True)]
        met = [torch.cat([row, row.new_full((self.most - len(row),), torch.nan)]) for row in rows]
        columns = list(torch.stack(met).unbind(1))
        for k in range(1, self.most):
            fall = 1.0 if before is None else before[:, k] / before[:, k - 1].clamp(min=SMALLEST)
            columns[k] = torch.where(columns[k].isnan(), columns[k - 1] * fall, columns[k])
        return torch.stack(columns, 1)
