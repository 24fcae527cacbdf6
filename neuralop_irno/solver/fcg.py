"""Flexible conjugate gradients: conjugate directions from any preconditioner, learned ones included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from neuralop_irno.equations.probing import refuse_unsymmetric
from neuralop_irno.registry import SOLVERS
from neuralop_irno.solver.krylov import EquationSolver, KrylovState, as_direction, system_of
from neuralop_irno.solver.memory import memory_of
from neuralop_irno.solver.preconditioner import PreconditionerLike
from neuralop_irno.solver.solver import Phi
from neuralop_irno.solver.system import System

REFRESH = 16
"""The residual is computed from h again after this many steps, so that rounding does not add up."""


@dataclass(frozen=True)
class FCGState(KrylovState):
    """The state of `FCG`.

    Attributes:
        age: steps since the start, ``(samples,)``.
        stored: the last directions, newest first: p with <p, A p> = 1, and A p.
    """

    PER_SAMPLE: ClassVar[frozenset[str]] = KrylovState.PER_SAMPLE | {"age"}

    age: Tensor
    stored: tuple[tuple[Tensor, Tensor], ...] = ()


@SOLVERS.register("fcg")
class FCG(EquationSolver):
    r"""Flexible conjugate gradients for a symmetric positive definite equation A h = b.

    .. math:: p_k = M_k r_k - \sum_{j = k - m}^{k - 1}
              \frac{\langle A p_j, M_k r_k \rangle}{\langle p_j, A p_j \rangle} \, p_j
              \qquad \gamma_k = \frac{\langle p_k, r_k \rangle}{\langle p_k, A p_k \rangle}
              \qquad h_{k+1} = h_k + \gamma_k p_k

    for each sample on its own, with :math:`r = b - A h`. The step is the best one along p in the norm of A,
    so that the error in this norm never grows, whatever M returns; with a fixed symmetric positive definite M
    it
    is the method of conjugate gradients. Where M r is zero, not finite or points away from r, r itself is
    taken; `Solution.replaced` counts these steps. Notay (2000), https://doi.org/10.1137/S1064827599362314.

    Args:
        preconditioner: M: ``phi`` (the correction of the model), another name, a config or an object.
        memory: m, the number of directions to which a new one is made conjugate.

    Example:
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> from neuralop_irno.equations.equation import LinearEquation
        >>> scale = torch.tensor([1.0, 2.0, 5.0])
        >>> equation = LinearEquation(lambda x, v: scale * v, lambda x: x, symmetric=True, definite=True)
        >>> x = torch.ones(1, 1, 3)
        >>> solver, system = FCG("identity"), System(equation.bind(x, GridDomain.of(x)))
        >>> h, state = torch.zeros_like(x), solver.init(torch.zeros_like(x), torch.zeros(1, dtype=torch.long))
        >>> for _ in range(3):
        ...     h, state = solver.step(system, h, state)
        >>> h
        tensor([[[1.0000, 0.5000, 0.2000]]])
    """

    minimises = "energy"

    def __init__(self, preconditioner: PreconditionerLike = "phi", memory: int = 5) -> None:
        super().__init__(preconditioner)
        self.memory = memory_of(memory)

    def check(self, system: System, h: Tensor) -> None:
        system.physics.apply(torch.zeros_like(h))  # refuses an equation that is not linear
        refuse_unsymmetric(system.physics, system.domain, h, True, "solver='fgmres'")

    def init(self, h: Tensor, taken: Tensor) -> FCGState:
        return FCGState(**FCGState.nothing(h, taken), age=torch.zeros_like(taken))

    def step(self, phi: Phi, h: Tensor, state: FCGState) -> tuple[Tensor, FCGState]:
        system = system_of(phi)
        domain, equation, r = system.domain, system.physics, state.residual
        if bool((state.age % REFRESH == 0).any()):
            r = equation(h)
        proposed = equation.project(self.preconditioner.of(system, h, r))
        p, good = as_direction(domain, proposed, r, along=True)
        image = equation.apply(p)
        eps, before = torch.finfo(p.dtype).eps, domain.norm(p) * domain.norm(image)
        for other, other_image in state.stored:
            share = domain.spread(domain.inner(other_image, p), p)
            p, image = p - share * other, image - share * other_image
        energy = domain.inner(p, image)
        # A direction in the span of those before leaves rounding only.
        rising = (energy > eps * domain.norm(p) * domain.norm(image)) & (energy > (1e3 * eps) ** 2 * before)
        unit = torch.where(rising, energy, 1.0).rsqrt()
        mask = domain.spread(rising, p)
        p, image = (torch.where(mask, domain.spread(unit, part) * part, 0.0) for part in (p, image))
        along = domain.spread(domain.inner(p, r), p)
        h, r = h + along * p, r - along * image
        state = FCGState(
            taken=state.taken + 1,
            at=h,
            residual=r,
            replaced=state.replaced + ~good,
            indefinite=energy < -(eps**0.75) * before,
            spent=torch.ones_like(state.taken),
            target=state.target,
            age=state.age + 1,
            stored=((p, image), *state.stored[: self.memory - 1]),
        )
        return h, state
