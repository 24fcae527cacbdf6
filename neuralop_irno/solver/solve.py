"""The loop with its company: for training (legs of a trajectory), and for answers (per-sample ends)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.solution import Solution, Trajectory
from neuralop_irno.solver.accuracy import Accuracy
from neuralop_irno.solver.gradient import Leg, Step
from neuralop_irno.solver.iterate import iterate
from neuralop_irno.solver.picard import step_size_of
from neuralop_irno.solver.solver import Phi, Solver, SolverState
from neuralop_irno.solver.stopping import Limits, Stopping


class LegRunner:
    """The loop as gradient rules are handed it: see `neuralop_irno.solver.gradient.Run`."""

    def __init__(self, phi: Phi, solver: Solver) -> None:
        self.phi, self.solver = phi, solver

    def __call__(
        self,
        start: Tensor,
        steps: int | Tensor,
        *,
        state: SolverState | None = None,
        taken: Tensor | None = None,
        around: Callable[[Step, Tensor, SolverState], tuple[Tensor, SolverState]] | None = None,
    ) -> Leg:
        if state is None:
            behind = no_steps(self.phi, start) if taken is None else taken
            state = self.solver.init(start, behind)
        if isinstance(steps, Tensor):
            stopping = Stopping(self.phi, start, steps, self.solver.answer)
            iterate_each(self.phi, start, state, self.solver, stopping)
            return Leg(stopping.value, state, (), ())
        iterates: list[Tensor] = []
        behind_each: list[Tensor] = []

        def collect(h: Tensor, state: SolverState) -> None:
            iterates.append(h)
            behind_each.append(state.taken)

        watch = collect if torch.is_grad_enabled() else None
        value, state = iterate(self.phi, start, state, self.solver, steps, watch, around)
        return Leg(self.solver.answer(value, state), state, tuple(iterates), tuple(behind_each))

    def settle(self, start: Tensor, taken: Tensor, limits: Limits) -> tuple[Tensor, Tensor]:
        """Where each sample comes to rest, and the steps that it then has behind it."""
        budget = torch.full_like(taken, limits.budget(0))
        stopping = Stopping(self.phi, start, budget, self.solver.answer, limits)
        iterate_each(self.phi, start, self.solver.init(start, taken), self.solver, stopping)
        return stopping.value, taken + stopping.taken

    def adjoint(
        self, pull: Callable[[Tensor], Tensor], grad: Tensor, solver: Solver, limits: Limits
    ) -> Tensor:
        """The u with u = grad + pull(u), by a solver."""
        whole = _WholeBatch(lambda u: grad + pull(u) - u, self.phi.domain)
        reached: list[Tensor] = []

        def until_all_are_there(h: Tensor, state: SolverState) -> Tensor | None:
            reached[:] = [h]
            size, scale = whole.domain.norm(state.residual), whole.domain.norm(h)
            done = bool((limits.scaled(size, scale) < 1).all())
            return state.taken.new_zeros(0) if done else None

        state = solver.init(grad, no_steps(whole, grad))
        iterate(whole, grad, state, solver, limits.budget(0), until_all_are_there)
        return reached[0] if reached else grad


class _WholeBatch:
    """A function of all samples at once as a `Phi`; nobody can leave it early."""

    physics = None

    def __init__(self, function: Callable[[Tensor], Tensor], domain: Domain) -> None:
        self.function, self.domain = function, domain

    def __call__(self, h: Tensor, taken: Tensor | None = None) -> Tensor:
        return self.function(h)

    def select(self, keep: Tensor) -> _WholeBatch:
        return self


def iterate_each(phi: Phi, start: Tensor, state: SolverState, solver: Solver, stopping: Stopping) -> None:
    """Run every sample to its own end; the watch holds all that happened."""
    starters = stopping.starters()
    if len(starters) < phi.domain.samples:
        start, state = phi.domain.take(start, starters), state.select(phi.domain, starters)
        phi = phi.select(starters)
    iterate(phi, start, state, solver, stopping.longest, stopping)


def solve(
    phi: Phi,
    start: Tensor,
    solver: Solver,
    usual: int,
    limits: Limits,
    as_answer: Callable[[Tensor], Any],
) -> Solution:
    """Iterate every sample until it has converged, failed, or spent its steps.

    Args:
        phi: the correction, bound to x.
        start: the state to start from.
        solver: takes the steps.
        usual: how many, where the limits do not say.
        limits: when to stop.
        as_answer: lays a state out as the caller wants it.
    """
    taken = no_steps(phi, start)
    accuracy = Accuracy(phi.domain, start)
    budgets = limits.budgets(usual, taken)
    stopping = Stopping(phi, start, budgets, solver.answer, limits, accuracy)
    iterate_each(phi, start, solver.init(start, taken), solver, stopping)
    return Solution(
        value=as_answer(stopping.value),
        outcomes=tuple(stopping.outcomes),
        steps=stopping.taken,
        residuals=stopping.residuals(),
        contraction=accuracy.contraction,
        error_bound=accuracy.bound,
        bound_holds=accuracy.holds,
        error_estimate=None,
        best=as_answer(accuracy.best),
        predictors={
            "moved": phi.domain.norm(stopping.value - start),
            "residual": stopping.last,
            "bound": accuracy.bound,
        },
        evaluations=stopping.evaluations,
    )


def trajectory_of(
    leg: Leg,
    steps: int,
    phi: Phi,
    solver: Solver,
    as_field: Callable[[Tensor], Tensor],
    as_answer: Callable[[Tensor], Any],
) -> Trajectory:
    """The supervised stretch of an iteration, as losses read it.

    Args:
        leg: what a gradient rule returned.
        steps: K, of the whole iteration.
        phi: the correction, bound to x.
        solver: that took the steps.
        as_field: lays a target out like the states.
        as_answer: the way back.
    """
    iterates = leg.iterates or (leg.value,)
    behind = leg.taken or (leg.state.taken,)
    progress = tuple(((k - 1) / max(steps - 1, 1)).clamp(0, 1) for k in behind)
    alpha = step_size_of(solver, behind[-1] - 1)
    return Trajectory(iterates, progress, phi.domain, phi, alpha, as_field, as_answer)


def no_steps(phi: Phi, start: Tensor) -> Tensor:
    """Zero for every sample."""
    return torch.zeros(phi.domain.samples, dtype=torch.long, device=start.device)
