"""The loss of a preconditioner: by how much the steps of a solver reduce errors that are drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.noise import fresh
from neuralop_irno.draws import integers, uniform
from neuralop_irno.equations.linearised import LinearisedEquation
from neuralop_irno.solver.drive import no_steps
from neuralop_irno.solver.fcg import FCG
from neuralop_irno.solver.fgmres import FGMRES
from neuralop_irno.solver.krylov import EquationSolver
from neuralop_irno.solver.solver import SolverState
from neuralop_irno.solver.system import System

DEPTH = 32
"""The most steps by which the smooth part of an error is computed."""


@torch.no_grad()
def drawn_error(system: System, like: Tensor, minimises: str) -> Tensor:
    r"""A random error for each sample, smooth and rough, whose residual A e is known without a solve:

    .. math:: e = s \frac{u_m}{\|u_m\|} + (1 - s) \frac{w}{\|w\|} \qquad
              u_m \approx A^{-1} \left( t \frac{b}{|b|} + (1 - t) \frac{v}{|v|} \right)

    with white noise v and w, the right-hand side b of the equation, numbers s and t drawn from [0, 1), and
    :math:`u_m` the m-th iterate (m = 1 .. 32, drawn) of conjugate gradients or GMRES with the diagonal of A
    as the preconditioner. Mixtures of Krylov vectors: https://arxiv.org/abs/2205.10763. The norm is that of
    `size_of`; the random numbers are those of `neuralop_irno.draws`.

    Args:
        system: of a linear equation.
        like: a field laid out like h, in double precision.
        minimises: as in `size_of`.
    """
    domain, equation = system.domain, system.physics
    own = equation(equation.lift(torch.zeros_like(like)))
    noise = equation.project(fresh(domain, like))
    source = _mixed(domain, (own, noise), [domain.inner(part, part) for part in (own, noise)])
    depth = 1 + integers(DEPTH, domain.samples).to(like.device)
    diagonal = "identity" if equation.diagonal is None else "jacobi"
    solver = FCG(diagonal, memory=1) if minimises == "energy" else FGMRES(diagonal, restart=DEPTH)
    inner = System(LinearisedEquation(equation, like, source), None, domain)
    h = smooth = torch.zeros_like(like)
    state: Any = solver.init(h, no_steps(inner, h))
    for step in range(1, DEPTH + 1):
        h, state = solver.step(inner, h, state)
        smooth = torch.where(domain.spread(depth == step, h), h, smooth)
    rough = equation.project(fresh(domain, like))
    sizes = [size_of(domain, minimises, part, equation.apply(part)) for part in (smooth, rough)]
    return _mixed(domain, (smooth, rough), sizes)


def mean_factor(system: System, solver: EquationSolver, e: Tensor, steps: int) -> Tensor:
    r"""The mean square of the factors by which the first K steps of a solver reduce an error, ``(samples,)``:

    .. math:: L = \frac1K \sum_{k=1}^{K} \frac{\|e_k\|^2}{\|e_{k-1}\|^2} \qquad e_k = e - h_k, \quad h_0 = 0

    for the equation A h = A e, in the norm of `size_of`. No solution of an equation is needed, and the
    lengths of e and M r have no influence. Every step has the gradient of its own M r; what earlier steps
    computed is a constant, so that the memory is that of K evaluations of Phi.

    Args:
        system: of a linear equation, with Phi.
        solver: with a preconditioner that calls Phi.
        e: the error.
        steps: K.
    """
    domain, equation = system.domain, system.physics
    right = equation.apply(e)
    given = System(LinearisedEquation(equation, e, right), system.learned, domain)
    h = torch.zeros_like(e)
    state: Any = solver.init(h, no_steps(given, h))
    start = before = size_of(domain, solver.minimises, e, right)
    least = torch.finfo(start.dtype).eps * start  # an error of the size of rounding is not reduced further
    total = torch.zeros_like(start)
    for _ in range(steps):
        h, state = solver.step(given, h.detach(), without_gradient(state))
        left = e - h
        after = size_of(domain, solver.minimises, left, equation.apply(left))
        total = total + after / torch.maximum(before, least)
        before = after.detach()
    return total / steps


def size_of(domain: Domain, minimises: str, e: Tensor, r: Tensor) -> Tensor:
    """The square of what a solver minimises, ``(samples,)``: <e, A e>, or |A e|^2.

    Args:
        domain: with the plain inner product.
        minimises: ``energy`` or ``residual``; see `EquationSolver`.
        e: the error.
        r: A e.
    """
    return domain.inner(e if minimises == "energy" else r, r)


def without_gradient(state: SolverState) -> SolverState:
    """The state of a solver as constants."""
    return replace(state, **{each.name: _constant(getattr(state, each.name)) for each in fields(state)})


def _constant(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_constant, value))
    return value.detach() if isinstance(value, Tensor) else value


def _mixed(domain: Domain, parts: tuple[Tensor, Tensor], squares: Sequence[Tensor]) -> Tensor:
    """The sum of two fields, each divided by the root of its square, with weights s and 1 - s, s drawn."""
    share = uniform(domain.samples).to(parts[0])
    total = torch.zeros_like(parts[0])
    for part, square, weight in zip(parts, squares, (share, 1 - share), strict=True):
        unit = torch.where(square > 0, square, 1.0).rsqrt()  # a part that is zero stays so
        total = total + domain.spread(weight * unit, part) * part
    return total
