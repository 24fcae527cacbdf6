"""The iteration loop. Training, solving, diagnostics and rollouts all call it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from neuralop_irno.solver.solver import Phi, Solver, SolverState

Step = Callable[[Tensor, SolverState], tuple[Tensor, SolverState]]
StepWrapper = Callable[[Step, Tensor, SolverState], tuple[Tensor, SolverState]]


class Watch(Protocol):
    """Called after every step; may remove samples from the loop."""

    def __call__(self, h: Tensor, state: SolverState) -> Tensor | None:
        """Read the new iterate of the samples still in the loop.

        Returns:
            the positions of the samples that stay, ``(samples that stay,)``; None keeps all of them.
        """


def iterate(
    phi: Phi,
    h: Tensor,
    state: SolverState,
    solver: Solver,
    steps: int,
    watch: Watch | None = None,
    around: StepWrapper | None = None,
) -> tuple[Tensor, SolverState]:
    """Take a number of steps, or fewer if no sample is left.

    Samples not returned by `watch` are removed from the batch and no longer evaluated. The watch stores what
    it needs of them; the loop returns the samples left at the end.

    Args:
        phi: the correction, bound to x.
        h: the state to start from.
        state: the solver's state there.
        solver: takes the steps.
        steps: largest number of steps.
        watch: called after every step; None keeps all samples.
        around: calls each single step; for gradient rules that wrap it.
    """
    for _ in range(steps):

        def step(h: Tensor, state: SolverState, phi: Phi = phi) -> tuple[Tensor, SolverState]:
            return solver.step(phi, h, state)

        if phi.domain.samples:  # most layers raise on an empty batch
            h, state = around(step, h, state) if around else step(h, state)
        going_on = watch(h, state) if watch else None
        if going_on is None:
            continue
        h, state = phi.domain.take(h, going_on), state.select(phi.domain, going_on)
        if not len(going_on):
            break
        phi = phi.select(going_on)
    return h, state
