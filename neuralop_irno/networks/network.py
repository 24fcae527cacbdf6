"""Picard iteration of any block that keeps the shape of its input."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno.build import build_solver, other_solver
from neuralop_irno.correction.correction import BoundCorrection
from neuralop_irno.domain.tuples import TupleDomain
from neuralop_irno.errors import expected
from neuralop_irno.networks.bounds import PicardSolution, steps_to
from neuralop_irno.networks.call import (
    Fields,
    FixedPointMap,
    arguments,
    as_fields,
    as_state,
    block_call,
    free_function,
)
from neuralop_irno.solution import Trajectory, unchanged
from neuralop_irno.solver.drive import no_steps, run_steps, run_to_tolerance, run_training, run_until
from neuralop_irno.solver.gradient import GradientLike, gradient_rule
from neuralop_irno.solver.picard import Picard
from neuralop_irno.solver.plain_step import plain_step
from neuralop_irno.solver.solver import Solver, SolverLike
from neuralop_irno.solver.step_size import Constant
from neuralop_irno.solver.stopping import Limits, SolveRecorder


class PicardNetwork(nn.Module):
    r"""A block T, iterated with shared weights; its fixed point solves :math:`\lambda T(u) + f = u`.

    .. math:: u_{k+1} = a \, u_k + (1 - a) \, (\lambda \, T(u_k) + f) \qquad u_0 = x

    Called with the arguments of the block: on grids and sequences ``network(x)``, on graphs
    ``network(x, edge_index, edge_attr=..., batch=...)``. Every grid or graph of a batch is iterated as a
    separate sample; pass ``batch`` for this even if the block does not take it. From the paper "Operator
    learning meets numerical analysis" (https://arxiv.org/abs/2310.01618).

    Args:
        block: T, any module whose output is shaped like its first input.
        smoothing: a, at least 0 and below 1. With k the Lipschitz constant of :math:`\lambda T`, the
            Lipschitz constant of a step is at most :math:`a + (1 - a) k`.
        steps: number of steps; with a tolerance, the maximum.
        tol: relative tolerance in evaluation: a sample stops when its step is below ``atol + tol |u|``;
            without a tolerance all steps are taken. In training the gradient rule decides their number.
        atol: absolute tolerance in evaluation, in the norm of the domain. The paper's algorithms have only
            this one; a fixed point near zero needs it.
        inject: the free function f: True for x, a module for module(x), False for none.
        weight: lambda.
        solver: a name or a config; its step size is 1 - a.
        gradient: gradient rule of the loop in training; see `neuralop_irno.solver.gradient`.

    Shapes:
        - x and the result: ``(B, *S)`` for any S, or ``(N, C)`` on graphs; or a tuple of fields
          ``(B, C_i, *S_i)``, for a block that maps tuples to tuples. Its norm is the root mean square of
          the norms of its fields
        - other tensor arguments of the block: a row for each sample, on graphs for each node

    Example:
        >>> block = nn.Linear(4, 4)
        >>> network = PicardNetwork(block, smoothing=0.5, steps=2)
        >>> x = torch.randn(3, 4)
        >>> once = 0.5 * x + 0.5 * block(x)
        >>> torch.allclose(network(x), 0.5 * once + 0.5 * block(once), atol=1e-6)
        True
    """

    def __init__(
        self,
        block: nn.Module,
        *,
        smoothing: float = 0.5,
        steps: int = 8,
        tol: float | None = None,
        atol: float = 0.0,
        inject: bool | nn.Module = False,
        weight: float = 1.0,
        solver: SolverLike = "picard",
        gradient: GradientLike = "unrolled",
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
        exact = tol is None and not atol
        self._usual = (
            Limits(steps, atol=atol) if exact else Limits(max_steps=steps, atol=atol, rtol=tol or 0.0)
        )
        self.steps, self.tol, self.atol = steps, tol, atol
        self.smoothing, self.weight = smoothing, weight
        self.block = block
        self.inject = inject
        self.solver = build_solver(solver, 1 - smoothing)
        self.gradient = gradient_rule(gradient)

    def forward(self, x: Fields, *args: Any, **kwargs: Any) -> Fields:
        """The last iterate.

        Args:
            x: the initial state.
            args: further positional arguments of the block.
            kwargs: keyword arguments of the block.
        """
        phi, start, domain = self._problem(x, args, kwargs)
        if self.training and self.steps:
            rule = self.gradient.for_answers()
            found = rule(phi, self.solver, start, no_steps(phi, start), self.steps)
            return as_fields(found.value, domain)
        if not self._usual.tolerance:
            return as_fields(run_steps(phi, self.solver, start, self.steps).value, domain)
        taken = no_steps(phi, start)
        budgets = self._usual.budgets(self.steps, taken)
        stopping = SolveRecorder(phi, start, budgets, self.solver.answer, self._usual)
        run_until(phi, self.solver, start, stopping, taken)
        return as_fields(stopping.value, domain)

    def trajectory(self, x: Fields, *args: Any, **kwargs: Any) -> Trajectory:
        """The iterates that carry a gradient, for losses on the iteration.

        Use it as ``ContractionLoss()(network.trajectory(x), x)``; ``trajectory.last`` is the last iterate.

        Args:
            x: the initial state.
            args: further positional arguments of the block.
            kwargs: keyword arguments of the block.
        """
        phi, start, domain = self._problem(x, args, kwargs)
        rule = self.gradient.for_answers()
        if domain is None:
            return run_training(phi, self.solver, rule, start, self.steps, unchanged, unchanged)
        packed: Callable[[Any], Tensor] = domain.packed
        unpacked = partial(as_fields, domain=domain)
        return run_training(phi, self.solver, rule, start, self.steps, packed, unpacked)

    @torch.no_grad()
    def solve(
        self,
        x: Fields,
        *args: Any,
        solver: SolverLike | None = None,
        steps: int | None = None,
        max_steps: int | Tensor | None = None,
        max_evaluations: int | None = None,
        atol: float = 0.0,
        rtol: float | Tensor = 0.0,
        lipschitz: float | Tensor | None = None,
        radius: float | None = None,
        throw: bool = False,
        **kwargs: Any,
    ) -> PicardSolution:
        """Solve to a tolerance; returns the outcome of each sample and Banach's error bounds.

        Args:
            x: the initial state.
            args: further positional arguments of the block.
            solver: a solver to use in place of the network's own. Solvers other than Picard's need one more
                evaluation of the block: their error bound comes from the next Picard step.
            steps: a fixed number of steps, without a tolerance; by default the network's own stopping rule.
            max_steps: with a tolerance, the maximum number of steps.
            max_evaluations: maximum number of evaluations of the block in steps, summed over the samples.
            atol: a sample has converged when its step is smaller than ``atol + rtol |u|``.
            rtol: see atol.
            lipschitz: a known bound on the Lipschitz constant of T, one number or one per sample: then the
                error bounds hold. Otherwise they are estimates from the observed contraction.
            radius: r, if ``lipschitz`` holds on the ball |u| <= r only, in the Euclidean norm of a sample:
                samples that may leave it (see `keeps_ball`) have no error bound. Takes one more evaluation
                of the block.
            throw: raise if a sample failed, instead of marking it.
            kwargs: keyword arguments of the block.
        """
        known = None if lipschitz is None else torch.as_tensor(lipschitz, dtype=torch.float64)
        if known is not None and not bool((known >= 0).all()):
            raise ValueError(expected("lipschitz >= 0", lipschitz, "lipschitz_bound(block)"))
        limits = Limits(steps, max_steps, max_evaluations, atol, rtol)
        if steps is None and not limits.tolerance:
            limits = self._usual
        phi, start, domain = self._problem(x, args, kwargs)
        if known is not None and known.dim() and known.shape != (phi.domain.samples,):
            wanted = f"lipschitz once, or for each of {phi.domain.samples} samples"
            raise ValueError(expected(wanted, tuple(known.shape), "lipschitz_bound(block)"))
        chosen = other_solver(solver, self.solver)
        solution = run_to_tolerance(phi, chosen, start, self.steps, limits, unchanged)
        step, alpha = plain_step(phi, chosen, solution.steps, solution.value)
        coming = None
        if not _takes_plain_steps(chosen):
            coming = alpha.abs() * phi.domain.norm(step(solution.value))
            solution = replace(solution, evaluations=solution.evaluations + phi.domain.samples)
        factor = None if known is None else self._factor(known.to(alpha.device), alpha.double())
        if radius is not None:
            if known is None or factor is None:
                raise ValueError(
                    expected("lipschitz beside radius", None, "lipschitz_bound(block, radius=r)")
                )
            kept = self._keeps_ball(phi, start, known.to(alpha.device), radius)
            # Over-relaxed steps and other solvers may leave a ball that the plain step maps into itself.
            kept &= (_euclidean(phi, solution.value) <= radius) & ((alpha <= 1) | (coming is not None))
            factor = torch.where(kept, factor, torch.inf)
            solution = replace(solution, evaluations=solution.evaluations + phi.domain.samples)
        bounded = PicardSolution.of(solution, factor, coming)
        value, best = as_fields(solution.value, domain), as_fields(solution.best, domain)
        bounded = replace(bounded, value=value, best=best)
        return bounded.or_raise() if throw else bounded

    def factor(self, lipschitz: float) -> float:
        """The contraction factor of a step if T has this Lipschitz constant."""
        known = torch.tensor([lipschitz, 1 - self.smoothing], dtype=torch.float64)
        return float(self._factor(*known))

    def steps_to(self, error: float, *, lipschitz: float, largest: float) -> int:
        r"""Steps from f after which the equation's residual is below an error, whatever f is.

        .. math:: |\lambda T(u_n) + f - u_n| \le q^n |\lambda| M, \qquad q = a + (1 - a) |\lambda| k

        This is corollary 2 of the paper, with the factor :math:`|\lambda|` that its proof leaves out.

        Args:
            error: the level, in any norm in which k and M hold.
            lipschitz: k, a bound on the Lipschitz constant of T.
            largest: M, a bound on \|T(u)\| for all u.

        Example:
            >>> network = PicardNetwork(nn.Tanh(), smoothing=0.0, weight=0.5, inject=True)
            >>> network.steps_to(1e-3, lipschitz=1.0, largest=1.0)  # 0.5^10 < 1e-3 < 0.5^9
            9
        """
        return steps_to(error, self.factor(lipschitz), abs(self.weight) * largest)

    @torch.no_grad()
    def keeps_ball(
        self, x: Fields, *args: Any, radius: float, lipschitz: float | Tensor, **kwargs: Any
    ) -> Tensor:
        r"""Whether the iteration is proved to stay in the ball |u| <= r and to converge, ``(samples,)``.

        .. math:: |x| \le r, \qquad |\lambda T(0) + f| \le r \, (1 - |\lambda| M), \qquad |\lambda| M < 1

        with M the Lipschitz constant of T on the ball, in the Euclidean norm of a sample: then the ball is
        mapped into itself, and theorem 3 of the paper holds, which without this condition is false.

        Args:
            x: the initial state.
            args: further positional arguments of the block.
            radius: r.
            lipschitz: M, ``lipschitz_bound(block, radius=r)``, one number or one per sample.
            kwargs: keyword arguments of the block.

        Example:
            >>> class Cube(nn.Module):
            ...     def forward(self, y):
            ...         return 0.33 * y**3
            >>> network, f = PicardNetwork(Cube(), inject=True), torch.tensor([[0.009], [0.9]])
            >>> network.keeps_ball(f, radius=1.0, lipschitz=0.99)  # from 0.9 the iteration diverges
            tensor([ True, False])
        """
        phi, start, _ = self._problem(x, args, kwargs)
        known = torch.as_tensor(lipschitz, dtype=torch.float64, device=start.device)
        return self._keeps_ball(phi, start, known, radius)

    def _keeps_ball(self, phi: BoundCorrection, start: Tensor, lipschitz: Tensor, radius: float) -> Tensor:
        if not 0 < radius < math.inf:
            raise ValueError(expected("a radius above 0 and finite", radius, "radius=1.0"))
        gap = 1 - abs(self.weight) * lipschitz
        at_zero = _euclidean(phi, phi(torch.zeros_like(start)))
        return (gap > 0) & (_euclidean(phi, start) <= radius) & (at_zero <= radius * gap)

    def _factor(self, lipschitz: Tensor, alpha: Tensor) -> Tensor:
        return (1 - alpha).abs() + alpha.abs() * abs(self.weight) * lipschitz

    def _problem(
        self, x: Fields, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[BoundCorrection, Tensor, TupleDomain | None]:
        """The map u -> lambda T(u) + f - u of one call, the initial state, and the domain of a tuple."""
        start, domain = as_state(x)
        free = free_function(self.inject, start, domain)
        call = block_call(self.block, start, free, arguments(self.block, args, kwargs), domain)
        return BoundCorrection(FixedPointMap(self.block, self.weight), call, call.domain), start, domain


def _takes_plain_steps(solver: Solver) -> bool:
    """Whether Banach's bounds apply to the solver's steps: Picard steps with a constant step size."""
    return type(solver) is Picard and isinstance(solver.alpha, Constant)


def _euclidean(phi: BoundCorrection, field: Tensor) -> Tensor:
    """The root of the sum of squares of each sample, ``(samples,)``."""
    samples = torch.arange(phi.domain.samples, device=field.device)
    owner = phi.domain.spread(samples, field).expand_as(field).flatten()
    return field.new_zeros(len(samples)).index_add(0, owner, field.square().flatten()).sqrt()
