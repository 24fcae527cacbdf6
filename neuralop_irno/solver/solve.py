"""The loop with its company: for training (legs of a trajectory), and for answers (per-sample ends)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neuralop_irno.solver.gradient import Leg, Step
from neuralop_irno.solver.iterate import iterate
from neuralop_irno.solver.solver import Phi, Solver, SolverState
from neuralop_irno.solver.stopping import Stopping, Tolerance


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
            stopping = Stopping(self.phi.domain, start, steps)
            iterate_each(self.phi, start, state, self.solver, stopping)
            return Leg(stopping.value, state, (), ())
        iterates: list[Tensor] = []
        behind_each: list[Tensor] = []

        def collect(h: Tensor, state: SolverState) -> None:
            iterates.append(h)
            behind_each.append(state.taken)

        watch = collect if torch.is_grad_enabled() else None
        value, state = iterate(self.phi, start, state, self.solver, steps, watch, around)
        return Leg(value, state, tuple(iterates), tuple(behind_each))


def iterate_each(phi: Phi, start: Tensor, state: SolverState, solver: Solver, stopping: Stopping) -> None:
    """Run every sample to its own end; the watch holds all that happened."""
    starters = stopping.starters()
    if len(starters) < phi.domain.samples:
        start, state = phi.domain.take(start, starters), state.select(phi.domain, starters)
        phi = phi.select(starters)
    iterate(phi, start, state, solver, stopping.longest, stopping)


def solve(phi: Phi, start: Tensor, solver: Solver, budget: int, tolerance: Tolerance | None) -> Stopping:
    """Iterate every sample until it has converged, failed, or taken ``budget`` steps."""
    taken = no_steps(phi, start)
    stopping = Stopping(phi.domain, start, torch.full_like(taken, budget), tolerance)
    iterate_each(phi, start, solver.init(start, taken), solver, stopping)
    return stopping


def no_steps(phi: Phi, start: Tensor) -> Tensor:
    """Zero for every sample."""
    return torch.zeros(phi.domain.samples, dtype=torch.long, device=start.device)
