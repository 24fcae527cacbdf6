"""Picard's iteration to a tolerance on a whole batch: samples that have ended keep their values by masks.

`iterate` takes samples that have ended out of the batch, and so changes the shapes of its tensors. Here they
are constant, as `torch.while_loop` requires it of graphs that are exported.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neuralop_irno.solution import Outcome
from neuralop_irno.solver.solver import Phi, Solver
from neuralop_irno.solver.stopping import Limits, ends, progressed

OUTCOMES = tuple(Outcome)
"""An outcome as a number is its place in this tuple."""

State = tuple[Tensor, ...]
"""h, the mask of the samples that go on, their steps, outcomes, residuals, and what `progressed` returns."""

Loop = Callable[[Callable[..., Tensor], Callable[..., State], State], State]
"""``torch.while_loop``, or a function like it."""


class WholeBatch:
    """The steps, outcomes and answers of `run_to_tolerance`, with tensors of constant shapes.

    Args:
        phi: the correction, bound to x.
        solver: takes the steps; `Picard`, whose state holds no memory.
        limits: a tolerance.
        budget: largest number of steps of a sample.

    Example:
        >>> from neuralop_irno.correction.correction import FunctionCorrection
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> from neuralop_irno.solver.picard import Picard
        >>> x = torch.tensor([1.0, 4.0]).reshape(2, 1, 1)
        >>> phi = FunctionCorrection(lambda x, h: x - h).bind(x, GridDomain.of(x))
        >>> solve = WholeBatch(phi, Picard(0.5), Limits(rtol=0.1), 50)
        >>> h, _, steps, *_ = by_steps(solve.going_on, solve.step, solve.first(torch.ones_like(x)))
        >>> h.flatten(), steps
        (tensor([1.0000, 3.8125]), tensor([1, 4]))
    """

    def __init__(self, phi: Phi, solver: Solver, limits: Limits, budget: int) -> None:
        self._phi, self._solver, self._limits, self._budget = phi, solver, limits, budget

    def run(self, start: Tensor, loop: Loop) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The answers, and for each sample the last residual, the number of its outcome, and the steps.

        Args:
            start: the state to start from.
            loop: ``torch.while_loop`` in a graph, else `by_steps`.
        """
        h, _, taken, outcome, residual, *_ = loop(self.going_on, self.step, self.first(start))
        return h, residual, outcome, taken

    def first(self, start: Tensor) -> State:
        """The state before the first step."""
        samples, device = self._phi.domain.samples, start.device
        none = torch.zeros(samples, dtype=torch.long, device=device)
        unknown = torch.full((samples,), torch.nan, dtype=start.dtype, device=device)
        outcome = torch.full_like(none, OUTCOMES.index(Outcome.OUT_OF_STEPS))
        smallest = torch.full_like(unknown, torch.inf)
        return start.clone(), none < self._budget, none, outcome, unknown, smallest, none.clone()

    def going_on(self, h: Tensor, active: Tensor, *others: Tensor) -> Tensor:
        """Whether a sample is left."""
        return active.any()

    def step(
        self,
        h: Tensor,
        active: Tensor,
        taken: Tensor,
        outcome: Tensor,
        residual: Tensor,
        smallest: Tensor,
        waited: Tensor,
    ) -> State:
        """One step of the samples that go on."""
        domain = self._phi.domain
        new, state = self._solver.step(self._phi, h, self._solver.init(h, taken))
        size, reached = domain.norm(state.residual), domain.norm(new)
        least, progress, waited = progressed(size, smallest, waited)
        at_rest = {Outcome.CONVERGED: self._limits.scaled(size, reached) < 1}
        by_outcome = ends(size, reached, least, waited, state.taken >= self._budget, at_rest)
        found, over = outcome, torch.zeros_like(active)
        for name, who in reversed(list(by_outcome.items())):  # the first one that applies is written last
            found = torch.where(who, OUTCOMES.index(name), found)
            over = over | who
        return (
            torch.where(domain.spread(active, h), new, h),
            active & ~over,
            torch.where(active, state.taken, taken),
            torch.where(active, found, outcome),
            torch.where(active, size, residual),
            progress,
            waited,
        )


def by_steps(going_on: Callable[..., Tensor], step: Callable[..., State], state: State) -> State:
    """``torch.while_loop`` as a loop of Python."""
    while going_on(*state):
        state = step(*state)
    return state
