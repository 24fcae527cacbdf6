"""Drivers around `iterate`: one for training and for a number of steps, one for solving to a tolerance."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.solution import Solution, Trajectory
from neuralop_irno.solver.accuracy import Accuracy
from neuralop_irno.solver.gradient import Leg, Step
from neuralop_irno.solver.iterate import Watch, iterate
from neuralop_irno.solver.plain_step import plain_step
from neuralop_irno.solver.solver import Phi, Solver, SolverState
from neuralop_irno.solver.stopping import Limits, Stopping

USABLE = 0.01
"""An adjoint that missed its tolerance is used if what is left is below this share of the gradient."""


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
        watch: Watch | None = None,
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

        if watch is None and torch.is_grad_enabled():
            watch = collect
        value, state = iterate(self.phi, start, state, self.solver, steps, watch, around)
        return Leg(self.solver.answer(value, state), state, tuple(iterates), tuple(behind_each))

    def answers(self, start: Tensor, steps: int) -> list[Tensor]:
        """The values of the legs of 0, 1, .. steps from a state, in one pass."""
        found = [start]

        def keep(h: Tensor, state: SolverState) -> None:
            found.append(self.solver.answer(h, state))

        self(start, steps, watch=keep)
        return found

    def settle(self, start: Tensor, taken: Tensor, limits: Limits) -> tuple[Tensor, Tensor]:
        """Where each sample has converged, and the steps that it then has behind it."""
        budget = torch.full_like(taken, limits.budget(0))
        stopping = Stopping(self.phi, start, budget, self.solver.answer, limits)
        iterate_each(self.phi, start, self.solver.init(start, taken), self.solver, stopping)
        return stopping.value, taken + stopping.taken

    def adjoint(
        self, pull: Callable[[Tensor], Tensor], grad: Tensor, solver: Solver, limits: Limits
    ) -> Tensor:
        """The u with u = grad + pull(u), by a solver; grad itself for samples where it finds none.

        It is judged by the residual in units of grad: u itself may grow without bound where the equation has
        no solution, as with a correction that is zero, whose step is the identity.
        """
        whole = _WholeBatch(lambda u: grad + pull(u) - u, self.phi.domain)
        norm, spread = whole.domain.norm, whole.domain.spread
        scale = norm(grad)
        best, left = grad, torch.full_like(scale, torch.inf)

        def until_all_have_converged(h: Tensor, state: SolverState) -> Tensor | None:
            nonlocal best, left
            # A sample whose gradient is zero has its u already.
            size = norm(state.residual)
            # Where u is so large that grad is lost in its rounding, the residual says nothing.
            size = torch.maximum(size, torch.finfo(h.dtype).eps * norm(state.at))
            share = torch.where(scale > 0, size / scale, 0.0)
            closer = share < left
            best, left = torch.where(spread(closer, h), state.at, best), torch.where(closer, share, left)
            return state.taken.new_zeros(0) if bool((left < limits.rtol).all()) else None

        state = solver.init(grad, no_steps(whole, grad))
        iterate(whole, grad, state, solver, limits.budget(0), until_all_have_converged)
        found = left < USABLE
        if not bool(found.all()):
            warnings.warn(
                "implicit gradient: the adjoint equation of some samples was not solved; their gradient is "
                "that of one step, as by gradient='one_step'",
                stacklevel=2,
            )
        return torch.where(spread(found, grad), best, grad)


class _WholeBatch:
    """A function of all samples at once as a `Phi`; no sample can leave it early."""

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
    if not len(starters):
        return
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
    before = (behind[-1] - 1).clamp(min=0)
    alpha = solver.step_size(before)
    residual = plain_step(phi, solver, before)[0] if alpha is None else None
    return Trajectory(iterates, progress, phi.domain, phi, alpha, as_field, as_answer, residual)


def no_steps(phi: Phi, start: Tensor) -> Tensor:
    """Zero for every sample."""
    return torch.zeros(phi.domain.samples, dtype=torch.long, device=start.device)
