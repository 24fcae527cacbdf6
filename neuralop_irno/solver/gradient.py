"""How gradients cross the loop. A rule is handed the loop as a function; it never imports it.

=============  ======================================  =====================  ==============================
rule           supervised states                       memory                 Phi evaluations
=============  ======================================  =====================  ==============================
unrolled       h_1 .. h_K                              K steps                K
checkpointed   h_1 .. h_K, the same gradient           one step + K states    2 K
last           the last n                              n steps                K
detached       one per sample, from a drawn h_k        one step               1 + (K - 1) / 2, mean
from_truth     one per sample, from y itself           one step               1
implicit       the fixed point                         one step               to converge, for h and for u
neumann        the fixed point, n terms of the above   one step               to converge, and n - 1 for u
=============  ======================================  =====================  ==============================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from neuralop_irno.errors import expected
from neuralop_irno.registry import GRADIENTS, SOLVERS
from neuralop_irno.solver.solver import Solver, SolverState
from neuralop_irno.solver.stopping import Limits

Step = Callable[[Tensor, SolverState], tuple[Tensor, SolverState]]


@dataclass(frozen=True)
class Leg:
    """A stretch of the iteration.

    Attributes:
        value: the state where it ended.
        state: the solver's state there.
        iterates: every state on the way, the last included.
        taken: for each of them, the steps that each sample had behind it, ``(samples,)``.
    """

    value: Tensor
    state: SolverState
    iterates: tuple[Tensor, ...]
    taken: tuple[Tensor, ...]


class Run(Protocol):
    """The loop, as a gradient rule is handed it."""

    def __call__(
        self,
        start: Tensor,
        steps: int | Tensor,
        *,
        state: SolverState | None = None,
        taken: Tensor | None = None,
        around: Callable[[Step, Tensor, SolverState], tuple[Tensor, SolverState]] | None = None,
    ) -> Leg:
        """Iterate from a state; ``steps`` may differ from sample to sample.

        Args:
            start: the state to start from.
            steps: a number, or ``(samples,)``; samples that are done cost nothing more.
            state: the solver's state, to go on where another leg ended.
            taken: the steps that each sample has behind it, for a fresh solver state.
            around: wraps every single step.
        """

    def settle(self, start: Tensor, taken: Tensor, limits: Limits) -> tuple[Tensor, Tensor]:
        """Where each sample has converged, and the steps that it then has behind it."""

    def adjoint(
        self, pull: Callable[[Tensor], Tensor], grad: Tensor, solver: Solver, limits: Limits
    ) -> Tensor:
        """The u with u = grad + pull(u), by a solver; grad itself for samples where it finds none."""


class GradientRule(ABC):
    """Runs the loop for training and says which iterates carry a gradient.

    Attributes:
        reaches_start: whether one flows back into the state that the iteration starts from.
        starts_at_truth: whether training starts the iteration at y, and not at the base's answer.
    """

    reaches_start = False
    starts_at_truth = False

    def for_answers(self) -> GradientRule:
        """The rule to use where the caller wants h_K itself, with a gradient."""
        return self

    @abstractmethod
    def __call__(self, run: Run, start: Tensor, taken: Tensor, steps: int) -> Leg:
        """The supervised stretch of an iteration of ``steps`` steps from ``start``.

        Args:
            run: the loop.
            start: the state to start from.
            taken: the steps that each sample has behind it already, ``(samples,)``.
            steps: how many steps the iteration has, at least 1.
        """


@GRADIENTS.register("unrolled")
class Unrolled(GradientRule):
    """Back through every step: the exact gradient of every iterate."""

    reaches_start = True

    def __call__(self, run: Run, start: Tensor, taken: Tensor, steps: int) -> Leg:
        return run(start, steps, taken=taken)


@GRADIENTS.register("checkpointed")
class Checkpointed(GradientRule):
    """The gradient of `Unrolled`, with each step computed again on the way back."""

    reaches_start = True

    def __call__(self, run: Run, start: Tensor, taken: Tensor, steps: int) -> Leg:
        return run(start, steps, taken=taken, around=_checkpoint)


@GRADIENTS.register("last")
class Last(GradientRule):
    """Back through the last n steps only; the ones before them are constants.

    Args:
        n: how many.
    """

    def __init__(self, n: int) -> None:
        if n < 1:
            raise ValueError(expected("at least one step that carries a gradient", f"n={n}", "n=1"))
        self.n = n

    def __call__(self, run: Run, start: Tensor, taken: Tensor, steps: int) -> Leg:
        before = steps - min(self.n, steps)
        with torch.no_grad():
            first = run(start, before, taken=taken)
        return run(first.value, steps - before, state=first.state)


@GRADIENTS.register("detached")
class Detached(GradientRule):
    """One step per sample, from a state h_k that is a constant, with k drawn from 0 .. K-1.

    Each sample draws its own k, so that a batch mixes early and late states: one k for the whole
    batch makes the gradients of successive updates differ far more.
    """

    def for_answers(self) -> GradientRule:
        return Last(1)

    def __call__(self, run: Run, start: Tensor, taken: Tensor, steps: int) -> Leg:
        draws = torch.randint(steps, taken.shape).to(taken.device)
        with torch.no_grad():
            before = run(start, draws, taken=taken)
        return run(before.value, 1, taken=taken + draws)


@GRADIENTS.register("from_truth")
class FromTruth(GradientRule):
    """One step per sample from the truth, at a place k of the iteration drawn from 0 .. K-1.

    For solvers that add noise to their state, as `denoising` does: the noise is what they learn to remove.
    Others are refused, since at the truth an untrained correction has no error to learn from.
    """

    starts_at_truth = True

    def for_answers(self) -> GradientRule:
        return Last(1)

    def __call__(self, run: Run, start: Tensor, taken: Tensor, steps: int) -> Leg:
        draws = torch.randint(steps, taken.shape).to(taken.device)
        return run(start, 1, taken=taken + draws)


@GRADIENTS.register("implicit")
class Implicit(GradientRule):
    r"""The gradient of the fixed point itself, by the implicit function theorem.

    At the fixed point h* = G(h*, w), with G(h) = h + alpha Phi(x, h) whatever the solver is, and with the
    Jacobian J of G in h

    .. math:: \frac{\partial L}{\partial w} = u^T \frac{\partial G}{\partial w}, \qquad
              u = \frac{\partial L}{\partial h^*} + J^T u

    so that one step is all that has to be kept, however many it took to converge. The equation for u is
    a fixed-point problem of its own, and solved by the same solvers. It has no solution where J has the
    eigenvalue 1, as with an untrained correction, which is zero: samples whose equation is not solved get the
    gradient of one step (u = dL/dh*), with a warning, until it is.

    Args:
        rtol: how close to the fixed point the state has to be; K limits the steps. The default leaves the
            gradient within about 1e-5 of that of a long unroll.
        backward: the solver for u.
        backward_rtol: its tolerance, in units of dL/dh*.
        backward_steps: its steps, at most.
    """

    def __init__(
        self,
        rtol: float = 1e-5,
        backward: Any = "anderson",
        backward_rtol: float = 1e-5,
        backward_steps: int = 50,
    ) -> None:
        self.rtol, self.backward_rtol, self.backward_steps = rtol, backward_rtol, backward_steps
        self.backward: Solver = SOLVERS.build(backward)
        self.limits = Limits(rtol=backward_rtol, max_steps=backward_steps)

    def __call__(self, run: Run, start: Tensor, taken: Tensor, steps: int) -> Leg:
        limits = Limits(rtol=self.rtol, max_steps=max(steps - 1, 0))
        with torch.no_grad():
            rest, taken = run.settle(start, taken, limits)
        rest = rest.detach().requires_grad_()
        leg = run(rest, 1, taken=taken)
        # The plain step: what a solver makes of it (its best iterate, say) need not depend on the weights.
        image = rest + leg.state.residual

        def pull(u: Tensor) -> Tensor:
            return torch.autograd.grad(image, rest, u, retain_graph=True)[0]

        value: Tensor = _Adjoint.apply(image, lambda grad: self.solve(run, pull, grad))
        return Leg(value, leg.state, (value,), leg.taken)

    def solve(self, run: Run, pull: Callable[[Tensor], Tensor], grad: Tensor) -> Tensor:
        """u, from the gradient that arrives at the fixed point."""
        return run.adjoint(pull, grad, self.backward, self.limits)


@GRADIENTS.register("neumann")
class Neumann(Implicit):
    r"""The first terms of the series for u: :math:`u = \sum_{i<n} (J^T)^i g`.

    One term is the one-step gradient: exact where the iteration contracts at once, and otherwise shorter than
    the true one, but in a direction that still descends.

    Args:
        terms: n.
        rtol: how close to the fixed point the state has to be; K limits the steps.
    """

    def __init__(self, terms: int = 1, rtol: float = 1e-5) -> None:
        super().__init__(rtol)
        if terms < 1:
            raise ValueError(expected("at least one term", f"terms={terms}", "terms=1"))
        self.terms = terms

    def solve(self, run: Run, pull: Callable[[Tensor], Tensor], grad: Tensor) -> Tensor:
        total = grad
        for _ in range(self.terms - 1):
            total = grad + pull(total)
        return total


@GRADIENTS.register("one_step")
def one_step(rtol: float = 1e-5) -> Neumann:
    """`Neumann` with a single term."""
    return Neumann(1, rtol)


class _Adjoint(torch.autograd.Function):
    """The identity, whose gradient is another one, made by a function."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, solve: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.solve = solve
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.solve(grads[0]), None


def gradient_rule(spec: Any) -> GradientRule:
    """A rule by name, by mapping (``{"name": "last", "n": 2}``), or the object itself."""
    if not isinstance(spec, (str, Mapping, GradientRule)):
        raise TypeError(expected("a gradient rule", repr(spec), f"one of {', '.join(GRADIENTS.names())}"))
    rule: GradientRule = GRADIENTS.build(spec)
    return rule


def _checkpoint(step: Step, h: Tensor, state: SolverState) -> tuple[Tensor, SolverState]:
    result: tuple[Tensor, SolverState] = checkpoint(step, h, state, use_reentrant=False)
    return result
