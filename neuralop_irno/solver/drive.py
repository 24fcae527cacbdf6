"""Drivers around `iterate`: for a number of steps, to a tolerance, and for training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.errors import expected, shown
from neuralop_irno.solution import Solution, Trajectory
from neuralop_irno.solver.accuracy import Accuracy
from neuralop_irno.solver.iterate import StepWrapper, Watch, iterate
from neuralop_irno.solver.plain_step import plain_step
from neuralop_irno.solver.solver import Phi, Physics, Solver, SolverState
from neuralop_irno.solver.stopping import Limits, SolveRecorder


@dataclass(frozen=True)
class Iterates:
    """The result of a number of steps.

    Attributes:
        value: the solver's answer after the last step.
        state: the solver's state after the last step.
        h: the iterate after each step that carries a gradient.
        taken: for each of these, the number of steps taken by each sample, ``(samples,)``.
    """

    value: Tensor
    state: SolverState
    h: tuple[Tensor, ...]
    taken: tuple[Tensor, ...]


GradientRule = Callable[[Phi, Solver, Tensor, Tensor, int], Iterates]
"""From Phi, the solver, a start, the steps already taken by each sample, and a number of steps, to the
iterates that are supervised in training; see `neuralop_irno.solver.gradient`."""


def run_steps(
    phi: Phi,
    solver: Solver,
    start: Tensor,
    steps: int,
    *,
    taken: Tensor | None = None,
    state: SolverState | None = None,
    watch: Watch | None = None,
    around: StepWrapper | None = None,
) -> Iterates:
    """Take a number of steps.

    Args:
        phi: the correction, bound to x.
        solver: takes the steps.
        start: the state to start from.
        steps: number of steps.
        taken: steps already taken by each sample, ``(samples,)``; zero by default.
        state: the solver's state, to continue from earlier steps; a new one by default.
        watch: called after every step; see `iterate`.
        around: wraps every step; see `iterate`.
    """
    if state is None:
        state = solver.init(start, no_steps(phi, start) if taken is None else taken)
    found: list[tuple[Tensor, Tensor]] = []

    def collect(h: Tensor, state: SolverState) -> None:
        found.append((h, state.taken))

    if watch is None and torch.is_grad_enabled():
        watch = collect
    h, state = iterate(phi, start, state, solver, steps, watch, around)
    return Iterates(solver.answer(h, state), state, tuple(h for h, _ in found), tuple(k for _, k in found))


def run_until(phi: Phi, solver: Solver, start: Tensor, stopping: SolveRecorder, taken: Tensor) -> None:
    """Take steps until ``stopping`` has ended every sample; the results are stored in it.

    Args:
        phi: the correction, bound to x.
        solver: takes the steps.
        start: the state to start from.
        stopping: a `SolveRecorder` of the same batch.
        taken: steps already taken by each sample, ``(samples,)``.
    """
    state = solver.init(start, taken)
    starters = stopping.starters()
    if not len(starters):
        return
    if len(starters) < phi.domain.samples:
        start, state = phi.domain.take(start, starters), state.select(phi.domain, starters)
        phi = phi.select(starters)
    iterate(phi, start, state, solver, stopping.longest, stopping)


def run_to_tolerance(
    phi: Phi,
    solver: Solver,
    start: Tensor,
    usual: int,
    limits: Limits,
    as_answer: Callable[[Tensor], Any],
) -> Solution:
    """Iterate every sample until it has converged, failed, or used up its steps.

    Args:
        phi: the correction, bound to x.
        solver: takes the steps.
        start: the state to start from.
        usual: the number of steps if the limits give none.
        limits: when to stop.
        as_answer: converts a state to the layout of the base's answer.
    """
    if start.is_meta:
        raise ValueError(expected("fields with values in solve", "meta tensors", "model(x) for shapes only"))
    taken = no_steps(phi, start)
    accuracy = Accuracy(phi.domain, start)
    stopping = SolveRecorder(phi, start, limits.budgets(usual, taken), solver.answer, limits, accuracy)
    run_until(phi, solver, start, stopping, taken)
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


def run_training(
    phi: Phi,
    solver: Solver,
    rule: GradientRule,
    start: Tensor,
    steps: int,
    as_field: Callable[[Tensor], Tensor],
    as_answer: Callable[[Tensor], Any],
    taken: Tensor | None = None,
    physics: Physics | None = None,
) -> Trajectory:
    """The supervised iterates of one training pass, for the losses.

    Args:
        phi: the correction, bound to x.
        solver: takes the steps.
        rule: which iterates carry a gradient.
        start: the state to start from.
        steps: K; with 0 the start itself is supervised.
        as_field: converts a target to the layout of the states.
        as_answer: the inverse of ``as_field``.
        taken: steps already taken by each sample's start, ``(samples,)``. If given, only the next step is
            supervised, and the rule is not used.
        physics: the residual of the equation, for the losses.

    Raises:
        ValueError: ``taken`` is not a number for each sample.
    """
    samples = phi.domain.samples
    if taken is not None and not (isinstance(taken, Tensor) and taken.shape == (samples,)):
        got = tuple(taken.shape) if isinstance(taken, Tensor) else shown(taken)
        raise ValueError(expected(f"taken of shape ({samples},)", got, "a number for each sample"))
    if taken is not None:
        found = run_steps(phi, solver, start, 1, taken=taken)
    elif steps:
        found = rule(phi, solver, start, no_steps(phi, start), steps)
    else:
        found = run_steps(phi, solver, start, 0)
    behind = found.taken or (found.state.taken,)
    progress = tuple(((k - 1) / max(steps - 1, 1)).clamp(0, 1) for k in behind)
    before = (behind[-1] - 1).clamp(min=0)
    alpha = solver.step_size_for(start, before)
    residual = plain_step(phi, solver, before, start)[0] if alpha is None else None
    return Trajectory(
        found.h or (found.value,), progress, phi.domain, phi, alpha, as_field, as_answer, residual, physics
    )


def no_steps(phi: Phi, start: Tensor) -> Tensor:
    """Zero for every sample."""
    return torch.zeros(phi.domain.samples, dtype=torch.long, device=start.device)
