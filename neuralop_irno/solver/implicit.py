"""Gradients of the fixed point by the implicit function theorem."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import expected
from neuralop_irno.registry import GRADIENTS
from neuralop_irno.solver.drive import Iterates, no_steps, run_steps, run_until
from neuralop_irno.solver.gradient import GradientRule
from neuralop_irno.solver.iterate import iterate
from neuralop_irno.solver.solver import Phi, Solver, SolverLike, SolverState, solver_from
from neuralop_irno.solver.stopping import Limits, SolveRecorder

USABLE = 0.01
"""An adjoint that did not reach its tolerance is still used if its residual is below this share of dL/dh*."""


@GRADIENTS.register("implicit")
class Implicit(GradientRule):
    r"""The gradient of the fixed point by the implicit function theorem (https://arxiv.org/abs/1909.01377).

    At the fixed point h* = G(h*, w), with G(h) = h + alpha Phi(x, h) for every solver, and with the Jacobian
    J of G in h

    .. math:: \frac{\partial L}{\partial w} = u^T \frac{\partial G}{\partial w}, \qquad
              u = \frac{\partial L}{\partial h^*} + J^T u

    so that only one step is kept in memory, for any number of steps. The equation for u is a fixed-point
    problem too, and solved by the same solvers. It has no solution where J has the eigenvalue 1, as with an
    untrained correction, which is zero: samples whose equation is not solved get the gradient of one step
    (u = dL/dh*), with a warning.

    Args:
        rtol: relative tolerance of the fixed point; K limits the steps. With the default the gradient is
            within about 1e-5 of that of a long unroll.
        backward: the solver for u.
        backward_rtol: its tolerance, in units of dL/dh*.
        backward_steps: its largest number of steps.
    """

    def __init__(
        self,
        rtol: float = 1e-5,
        backward: SolverLike = "anderson",
        backward_rtol: float = 1e-5,
        backward_steps: int = 50,
    ) -> None:
        self.rtol, self.backward_rtol, self.backward_steps = rtol, backward_rtol, backward_steps
        self.backward = solver_from(backward, "backward")
        Limits(rtol=rtol)  # checked here, and not at the first batch
        self.limits = Limits(rtol=backward_rtol, max_steps=backward_steps)

    def __call__(self, phi: Phi, solver: Solver, start: Tensor, taken: Tensor, steps: int) -> Iterates:
        limits = Limits(rtol=self.rtol, max_steps=max(steps - 1, 0))
        stopping = SolveRecorder(phi, start, limits.budgets(steps, taken), solver.answer, limits)
        with torch.no_grad():
            run_until(phi, solver, start, stopping, taken)
        rest = stopping.value.detach().requires_grad_()
        last = run_steps(phi, solver, rest, 1, taken=taken + stopping.taken)
        # The plain step: the solver's answer (its best iterate, for example) may not depend on the weights.
        image = rest + last.state.residual

        def pull(u: Tensor) -> Tensor:
            return torch.autograd.grad(image, rest, u, retain_graph=True)[0]

        value: Tensor = _Adjoint.apply(image, lambda grad: self.solve(phi.domain, pull, grad))
        return Iterates(value, last.state, (value,), last.taken)

    def solve(self, domain: Domain, pull: Callable[[Tensor], Tensor], grad: Tensor) -> Tensor:
        """The u with u = grad + pull(u); grad itself for samples where the solver finds none.

        Convergence is tested on the residual in units of grad: u may grow without bound where the equation
        has no solution, as with a correction that is zero, whose step is the identity.
        """
        whole = _WholeBatch(lambda u: grad + pull(u) - u, domain)
        norm, spread = domain.norm, domain.spread
        scale = norm(grad)
        best, left = grad, torch.full_like(scale, torch.inf)

        def until_all_have_converged(h: Tensor, state: SolverState) -> Tensor | None:
            nonlocal best, left
            # For a sample with a zero gradient u = 0 is exact.
            size = norm(state.residual)
            # Where grad is below the rounding error of u, a small residual is no sign of convergence.
            size = torch.maximum(size, torch.finfo(h.dtype).eps * norm(state.at))
            share = torch.where(scale > 0, size / scale, 0.0)
            closer = share < left
            best, left = torch.where(spread(closer, h), state.at, best), torch.where(closer, share, left)
            return state.taken.new_zeros(0) if bool((left < self.limits.rtol).all()) else None

        state = self.backward.init(grad, no_steps(whole, grad))
        iterate(whole, grad, state, self.backward, self.limits.budget(0), until_all_have_converged)
        found = left < USABLE
        if not bool(found.all()):
            warnings.warn(
                "implicit gradient: the adjoint equation of some samples was not solved; their gradient is "
                "that of one step, as with gradient='one_step'",
                stacklevel=2,
            )
        return torch.where(spread(found, grad), best, grad)


@GRADIENTS.register("neumann")
class Neumann(Implicit):
    r"""The first n terms of the Neumann series for u: :math:`u = \sum_{i<n} (J^T)^i g`.

    One term is the one-step gradient (https://arxiv.org/abs/2305.13768): exact where the iteration converges
    in one step; otherwise shorter than the true gradient, but still a descent direction.

    Args:
        terms: n.
        rtol: relative tolerance of the fixed point; K limits the steps.
    """

    def __init__(self, terms: int = 1, rtol: float = 1e-5) -> None:
        super().__init__(rtol)
        if terms < 1:
            raise ValueError(expected("at least one term", f"terms={terms}", "terms=1"))
        self.terms = terms

    def solve(self, domain: Domain, pull: Callable[[Tensor], Tensor], grad: Tensor) -> Tensor:
        total = grad
        for _ in range(self.terms - 1):
            total = grad + pull(total)
        return total


@GRADIENTS.register("one_step")
def one_step(rtol: float = 1e-5) -> Neumann:
    """`Neumann` with a single term."""
    return Neumann(1, rtol)


class _Adjoint(torch.autograd.Function):
    """The identity, with a gradient computed by a given function."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, solve: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.solve = solve
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.solve(grads[0]), None


class _WholeBatch:
    """A function of all samples at once as a `Phi`; samples cannot leave the batch."""

    physics = None

    def __init__(self, function: Callable[[Tensor], Tensor], domain: Domain) -> None:
        self.function, self.domain = function, domain

    def __call__(self, h: Tensor, taken: Tensor | None = None) -> Tensor:
        return self.function(h)

    def select(self, keep: Tensor) -> _WholeBatch:
        return self
