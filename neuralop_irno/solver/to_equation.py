"""The driver of solvers of equations: iterate until the equation's residual meets a tolerance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.solution import Outcome, Solution
from neuralop_irno.solver.drive import no_steps
from neuralop_irno.solver.iterate import iterate
from neuralop_irno.solver.krylov import EquationSolver, KrylovState
from neuralop_irno.solver.smallest_stretch import SmallestStretch
from neuralop_irno.solver.solver import SolverState
from neuralop_irno.solver.stopping import GROWTH, Limits, SolveRecorder
from neuralop_irno.solver.system import System


class EquationRecorder(SolveRecorder):
    """A watch that ends each sample by the residual of its equation.

    A sample has converged when the norm of the residual is below ``atol + rtol * scale``, with the scale of
    `System.scale`. The residual that the solver carries along is then computed from h again, so that
    rounding cannot make an answer look converged. With a ``residual_tol`` it is below that number too. A
    residual that has grown by `GROWTH` ends as stalled: rounding in it is the usual reason.

    Args:
        system: of the whole batch.
        start: the state before the first step.
        residual: of the equation there.
        budget: largest number of steps of each sample, ``(samples,)``.
        solver: its `patience` ends samples as stalled.
        limits: the tolerances.
    """

    def __init__(
        self,
        system: System,
        start: Tensor,
        residual: Tensor,
        budget: Tensor,
        solver: EquationSolver,
        limits: Limits,
    ) -> None:
        super().__init__(system, start, budget, solver.answer, limits)
        self._patience = solver.patience
        self.scale = system.scale(start)
        self.target = limits.atol + limits.rtol * self.scale
        if limits.residual_tol is not None:  # both are met, if both are given
            met = torch.where(self.target > 0, self.target, torch.inf)
            self.target = met.clamp(max=limits.residual_tol)
        self.replaced = torch.zeros_like(budget)
        self.stretch = None
        if system.physics.linear and system.physics.stability is None:
            self.stretch = SmallestStretch(system.domain, start, residual)

    def _ends(
        self, active: Tensor, h: Tensor, size: Tensor, reached: Tensor, state: SolverState
    ) -> dict[Outcome, Tensor]:
        assert isinstance(state, KrylovState)
        assert self._physics is not None
        self.replaced[active] = state.replaced
        if self.stretch is not None:
            self.stretch.see(self._here, active, state.at, state.residual)
        smallest, enough, spent = self._progress(active, size)
        ends = {Outcome.NOT_FINITE: ~(size.isfinite() & reached.isfinite())}
        if not self._limits.tolerance:
            return {**ends, Outcome.COMPLETED: enough, Outcome.OUT_OF_STEPS: spent}
        target = self.target[active]
        solved = size < target
        if solved.any():
            solved = solved & (self._here.norm(self._physics(h)) < target)
        return {
            **ends,
            Outcome.CONVERGED: solved,
            **state.ends,
            Outcome.STALLED: (self._waited[active] >= self._patience) | (size > GROWTH * smallest),
            Outcome.OUT_OF_STEPS: spent,
        }


def solve_equation(
    system: System,
    solver: EquationSolver,
    start: Tensor,
    usual: int,
    limits: Limits,
    as_answer: Callable[[Tensor], Any],
) -> Solution:
    """Solve an equation from a start; every sample ends on its own.

    A sample whose start meets the tolerance takes no step.

    Args:
        system: the equation and its preconditioner.
        solver: takes the steps.
        start: in double precision.
        usual: the number of steps if the limits give none.
        limits: when to stop.
        as_answer: converts a state to the layout of the base's answer.
    """
    start = system.physics.lift(start)
    solver.check(system, start)
    taken = no_steps(system, start)
    budget = limits.budgets(usual, taken)
    residual = system.physics(start)
    before = system.domain.norm(residual)
    stopping = EquationRecorder(system, start, residual, budget, solver, limits)
    solved = (before < stopping.target) if limits.tolerance else torch.zeros_like(taken).bool()
    stopping.skip(solved, Outcome.CONVERGED)
    starters = stopping.starters()
    if len(starters):
        here, phi, state = start, system, solver.init(start, taken)
        assert isinstance(state, KrylovState)
        state = replace(state, target=stopping.target)
        if len(starters) < system.domain.samples:
            here, state = system.domain.take(start, starters), state.select(system.domain, starters)
            phi = system.select(starters)
        iterate(phi, here, state, solver, stopping.longest, stopping)
    value = stopping.value
    nothing = torch.full_like(before, torch.nan)
    size = system.domain.norm(system.physics(value))
    bound, proved, estimate = torch.full_like(before, torch.inf), torch.zeros_like(taken).bool(), None
    if system.physics.stability is not None:
        estimate = bound = size / system.physics.stability.to(size)
        proved = bound.isfinite()
    elif stopping.stretch is not None:
        seen = stopping.stretch.value
        estimate = torch.where(seen.isfinite(), size / seen, torch.nan)
    return Solution(
        value=as_answer(value),
        outcomes=tuple(stopping.outcomes),
        steps=stopping.taken,
        residuals=stopping.residuals(),
        contraction=nothing,
        error_bound=bound,
        bound_holds=proved,
        bound_proved=proved,
        error_estimate=estimate,
        best=as_answer(value),
        predictors={},
        evaluations=stopping.evaluations,
        equation_residual=size / stopping.scale,
        replaced=stopping.replaced,
    )
