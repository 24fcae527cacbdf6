"""Any block that keeps the shape of its input, iterated until it rests."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno.base.checks import check_finite
from neuralop_irno.build import build_solver, other_solver
from neuralop_irno.correction.correction import BoundCorrection
from neuralop_irno.errors import expected
from neuralop_irno.networks.bounds import PicardSolution
from neuralop_irno.networks.call import FixedPointMap, arguments, laid_out
from neuralop_irno.precision import at_least_float32
from neuralop_irno.solution import Trajectory
from neuralop_irno.solver.drive import no_steps, run_steps, run_to_tolerance, run_training, run_until
from neuralop_irno.solver.gradient import gradient_rule
from neuralop_irno.solver.picard import Picard
from neuralop_irno.solver.plain_step import plain_step
from neuralop_irno.solver.solver import Solver
from neuralop_irno.solver.step_size import Constant
from neuralop_irno.solver.stopping import Limits, SolveRecorder


class PicardNetwork(nn.Module):
    r"""A block T, iterated with shared weights; at rest it solves :math:`\lambda T(u) + f = u`.

    .. math:: u_{k+1} = a \, u_k + (1 - a) \, (\lambda \, T(u_k) + f) \qquad u_0 = x

    It is called as the block is, with whatever else the block takes: on grids and sequences
    ``network(x)``, on graphs ``network(x, edge_index, edge_attr=..., batch=...)``. Every grid and every
    graph of a batch is iterated on its own account; ``batch`` is for that, whether the block asks for it or
    not.

    Args:
        block: T, any module whose answer is shaped like its first input.
        smoothing: a, at least 0 and below 1. With k the Lipschitz constant of :math:`\lambda T`, a step
            shrinks distances by :math:`a + (1 - a) k` or better.
        steps: how many to take; with a tolerance, how many at most.
        tol: in evaluation, a sample stops when its step is smaller than this part of its state; None takes
            all steps. Training takes all steps that its gradient rule asks for.
        inject: the free function f: True for x itself, a module for what it makes of x, False for none.
        weight: lambda.
        solver: by name or by config; its step size is 1 - a.
        gradient: how gradients cross the loop in training; see `neuralop_irno.solver.gradient`.

    Shapes:
        - x and the answer: ``(B, *S)`` for any S, or ``(N, C)`` on graphs
        - whatever else the block takes has a row for each sample, on graphs for each node; or it is no tensor

    Example:
        >>> block = nn.Linear(4, 4)
        >>> network = PicardNetwork(block, smoothing=0.5, steps=2)
        >>> x = torch.randn(3, 4)
        >>> once = 0.5 * x + 0.5 * block(x)
        >>> torch.allclose(network(x), 0.5 * once + 0.5 * block(once))
        True
    """

    def __init__(
        self,
        block: nn.Module,
        *,
        smoothing: float = 0.5,
        steps: int = 8,
        tol: float | None = None,
        inject: bool | nn.Module = False,
        weight: float = 1.0,
        solver: Any = "picard",
        gradient: Any = "unrolled",
    ) -> None:
        super().__init__()
        if not isinstance(block, nn.Module):
            raise TypeError(expected("a block that is a module", type(block).__name__, "an nn.Module"))
        if not isinstance(smoothing, (int, float)) or not 0 <= smoothing < 1:
            raise ValueError(expected("smoothing at least 0 and below 1", repr(smoothing), "smoothing=0.5"))
        if not isinstance(weight, (int, float)) or not math.isfinite(weight):
            raise ValueError(expected("a finite weight", repr(weight), "weight=1.0"))
        if not isinstance(inject, (bool, nn.Module)):
            raise TypeError(expected("inject as a bool or a module", repr(inject), "inject=True"))
        if steps is None:
            raise ValueError(expected("steps >= 0", None, "steps=8"))
        self._usual = Limits(steps) if tol is None else Limits(rtol=tol, max_steps=steps)
        self.steps, self.tol, self.smoothing, self.weight = steps, tol, smoothing, weight
        self.block = block
        self.inject = inject
        self.solver = build_solver(solver, 1 - smoothing)
        self.gradient = gradient_rule(gradient)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Where the iteration ends.

        Args:
            x: the state to start from.
            args: what else the block takes by position.
            kwargs: what else it takes by keyword.
        """
        phi, start = self._problem(x, args, kwargs)
        if self.training and self.steps:
            rule = self.gradient.for_answers()
            return rule(phi, self.solver, start, no_steps(phi, start), self.steps).value
        if not self._usual.tolerance:
            return run_steps(phi, self.solver, start, self.steps).value
        taken = no_steps(phi, start)
        budgets = self._usual.budgets(self.steps, taken)
        stopping = SolveRecorder(phi, start, budgets, self.solver.answer, self._usual)
        run_until(phi, self.solver, start, stopping, taken)
        return stopping.value

    def trajectory(self, x: Tensor, *args: Any, **kwargs: Any) -> Trajectory:
        """The iterates that carry a gradient, as losses on an iteration read them.

        `ContractionLoss` reads it: ``loss(network.trajectory(x), x)``, and ``trajectory.last`` is the answer.

        Args:
            x: the state to start from.
            args: what else the block takes by position.
            kwargs: what else it takes by keyword.
        """
        phi, start = self._problem(x, args, kwargs)
        rule = self.gradient.for_answers()
        return run_training(phi, self.solver, rule, start, self.steps, _as_it_is, _as_it_is)

    @torch.no_grad()
    def solve(
        self,
        x: Tensor,
        *args: Any,
        solver: Any = None,
        steps: int | None = None,
        max_steps: int | Tensor | None = None,
        max_evaluations: int | None = None,
        atol: float = 0.0,
        rtol: float | Tensor = 0.0,
        lipschitz: float | Tensor | None = None,
        throw: bool = False,
        **kwargs: Any,
    ) -> PicardSolution:
        """Where the iteration ends, with an account of how each sample got there, and Banach's bounds.

        Args:
            x: the state to start from.
            args: what else the block takes by position.
            solver: another solver than the network's own. It evaluates the block once more than it takes
                steps: the bound on its answer comes from the plain step that would follow.
            steps: take so many, without a tolerance; by default the network's own way to stop.
            max_steps: with a tolerance, how many at most.
            max_evaluations: of the block in steps, counted in samples over the whole batch.
            atol: a sample has converged when its step is smaller than ``atol + rtol |u|``.
            rtol: see atol.
            lipschitz: a bound on the Lipschitz constant of T, where it is known, for all samples or for each
                of them: the bounds hold then. Otherwise they rest on the contraction that was observed.
            throw: raise if a sample ended badly, rather than mark it.
            kwargs: what else the block takes by keyword.
        """
        known = None if lipschitz is None else torch.as_tensor(lipschitz, dtype=torch.float64)
        if known is not None and not bool((known >= 0).all()):
            raise ValueError(expected("lipschitz >= 0", lipschitz, "lipschitz_bound(block)"))
        limits = Limits(steps, max_steps, max_evaluations, atol, rtol)
        if steps is None and not limits.tolerance:
            limits = self._usual
        phi, start = self._problem(x, args, kwargs)
        if known is not None and known.dim() and known.shape != (phi.domain.samples,):
            wanted = f"lipschitz once, or for each of {phi.domain.samples} samples"
            raise ValueError(expected(wanted, tuple(known.shape), "lipschitz_bound(block)"))
        chosen = other_solver(solver, self.solver)
        solution = run_to_tolerance(phi, chosen, start, self.steps, limits, _as_it_is)
        step, alpha = plain_step(phi, chosen, solution.steps)
        coming = None
        if not _takes_plain_steps(chosen):
            coming = alpha.abs() * phi.domain.norm(step(solution.value))
            solution = replace(solution, evaluations=solution.evaluations + phi.domain.samples)
        factor = None if known is None else self._factor(known.to(alpha.device), alpha.double())
        bounded = PicardSolution.of(solution, factor, coming)
        return bounded.or_raise() if throw else bounded

    def factor(self, lipschitz: float) -> float:
        """By how much a step shrinks distances where T has this Lipschitz constant."""
        return float(self._factor(torch.tensor(lipschitz), torch.tensor(1 - self.smoothing)))

    def _factor(self, lipschitz: Tensor, alpha: Tensor) -> Tensor:
        return (1 - alpha).abs() + alpha.abs() * abs(self.weight) * lipschitz

    def _problem(
        self, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[BoundCorrection, Tensor]:
        """One call, laid out for the iteration: u -> lambda T(u) + f - u, and where it starts."""
        check_finite(x, "x")
        start = at_least_float32(x)
        free = self.inject(start) if isinstance(self.inject, nn.Module) else start if self.inject else None
        call = laid_out(self.block, start, free, arguments(self.block, args, kwargs))
        return BoundCorrection(FixedPointMap(self.block, self.weight), call, call.domain), start


def _takes_plain_steps(solver: Solver) -> bool:
    """Whether Banach's bounds speak of the steps that a solver takes: Picard's, all of one size."""
    return type(solver) is Picard and isinstance(solver.alpha, Constant)


def _as_it_is(field: Tensor) -> Tensor:
    return field
