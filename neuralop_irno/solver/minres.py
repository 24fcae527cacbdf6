"""MINRES: the smallest residual for symmetric equations, definite or not, with short recurrences."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from neuralop_irno.equations.probing import failed_probes, refuse_unsymmetric
from neuralop_irno.errors import expected
from neuralop_irno.registry import SOLVERS
from neuralop_irno.solver.krylov import EquationSolver, KrylovState, system_of
from neuralop_irno.solver.preconditioner import Learned, PreconditionerLike
from neuralop_irno.solver.solver import Phi
from neuralop_irno.solver.system import System

HINT = "solver='fgmres'"


@dataclass(frozen=True)
class MINRESState(KrylovState):
    """The state of `MINRES`. Fields are of the last two steps, the older one first.

    Attributes:
        fresh: the samples that have taken no step, ``(samples,)``.
        beta: norms of the last two Lanczos vectors in the inner product of M, ``(samples, 2)``.
        turn: the cosine and the sine of the last rotation, ``(samples, 2)``.
        above: the entries above the diagonal that the last rotation left, ``(samples, 2)``.
        rest: the norm of the residual in the inner product of M, with its sign, ``(samples,)``.
        lanczos: the last two Lanczos vectors u, not scaled.
        image: M u of the last one.
        directions: the last two directions.
    """

    PER_SAMPLE: ClassVar[frozenset[str]] = KrylovState.PER_SAMPLE | {
        "fresh", "beta", "turn", "above", "rest",
    }  # fmt: skip

    fresh: Tensor
    beta: Tensor
    turn: Tensor
    above: Tensor
    rest: Tensor
    lanczos: tuple[Tensor, Tensor]
    image: Tensor
    directions: tuple[Tensor, Tensor]


@SOLVERS.register("minres")
class MINRES(EquationSolver):
    r"""MINRES for a symmetric equation A h = b, positive definite or not.

    .. math:: h_k = \arg\min_{h \in h_0 + K_k} \| b - A h \|_M \qquad
              K_k = \mathrm{span}\{ M r_0, (M A) M r_0, \ldots, (M A)^{k-1} M r_0 \}

    for each sample on its own, with a fixed symmetric positive definite M and :math:`\|r\|_M^2 = \langle r,
    M r \rangle`. It stores five fields for any number of steps, where `FGMRES` stores two for each, and needs
    no definite A as `FCG` does. A network is no fixed symmetric M: ``phi`` is refused. Paige and Saunders
    (1975), https://doi.org/10.1137/0712047.

    Args:
        preconditioner: M: a name, a config or an object; what it returns is probed to be symmetric and
            positive definite.

    Example:
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> from neuralop_irno.equations.equation import LinearEquation
        >>> scale = torch.tensor([1.0, 2.0, -5.0])
        >>> equation = LinearEquation(lambda x, v: scale * v, lambda x: x, symmetric=True)
        >>> x = torch.ones(1, 1, 3)
        >>> solver, system = MINRES(), System(equation.bind(x, GridDomain.of(x)))
        >>> h, state = torch.zeros_like(x), solver.init(torch.zeros_like(x), torch.zeros(1, dtype=torch.long))
        >>> for _ in range(3):
        ...     h, state = solver.step(system, h, state)
        >>> h.round(decimals=4)
        tensor([[[ 1.0000,  0.5000, -0.2000]]])
    """

    def __init__(self, preconditioner: PreconditionerLike = "identity") -> None:
        super().__init__(preconditioner)
        if isinstance(self.preconditioner, Learned):
            wanted = "a fixed symmetric positive definite preconditioner for minres"
            hint = f"{HINT}, which takes any, or preconditioner='identity'"
            raise ValueError(expected(wanted, "'phi', a network", hint))

    def check(self, system: System, h: Tensor) -> None:
        system.physics.apply(torch.zeros_like(h))  # refuses an equation that is not linear
        refuse_unsymmetric(system.physics, system.domain, h, False, HINT)
        self._refuse_preconditioner(system, h)

    def _refuse_preconditioner(self, system: System, h: Tensor) -> None:
        """Raise ValueError for an M that fails a probe of symmetry or of definiteness."""
        apply = partial(self._preconditioned, system, h)
        for _, got in failed_probes(apply, system.physics.project, system.domain, h, "M"):
            wanted = "a symmetric positive definite preconditioner for minres"
            raise ValueError(expected(wanted, got, HINT))

    def init(self, h: Tensor, taken: Tensor) -> MINRESState:
        zeros, nothing = torch.zeros_like(h), h.new_zeros(taken.shape)
        pairs = h.new_zeros(*taken.shape, 2)
        return MINRESState(
            **MINRESState.nothing(h, taken), fresh=torch.ones_like(taken).bool(), beta=pairs, turn=pairs,
            above=pairs, rest=nothing, lanczos=(zeros, zeros), image=zeros, directions=(zeros, zeros),
        )  # fmt: skip

    def step(self, phi: Phi, h: Tensor, state: MINRESState) -> tuple[Tensor, MINRESState]:
        system = system_of(phi)
        if state.fresh.any():
            state = self._started(system, h, state)
        domain, spread = system.domain, system.domain.spread
        older, u = state.lanczos
        before, beta = state.beta.unbind(1)
        v = spread(_inverse(beta), h) * state.image
        image = system.physics.apply(v)
        along = domain.inner(v, image)
        following = image - spread(beta * _inverse(before), h) * older - spread(along * _inverse(beta), h) * u
        preconditioned = self._preconditioned(system, h, following)
        energy = domain.inner(following, preconditioned)
        # The Krylov space of a sample ends where the next vector is rounding only.
        size = domain.norm(following)
        rounding = torch.finfo(h.dtype).eps * (
            domain.norm(image) + along.abs() * _inverse(beta) * domain.norm(u)
        )
        ends = size <= rounding
        after = torch.where(ends, 0.0, energy).clamp(min=0).sqrt()
        cosine, sine = state.turn.unbind(1)
        two_above, diagonal = state.above.unbind(1)
        one_above, left = cosine * diagonal + sine * along, sine * diagonal - cosine * along
        length = torch.hypot(left, after)
        turn = torch.stack([left, after], 1) * _inverse(length)[:, None]
        share, rest = turn[:, 0] * state.rest, turn[:, 1] * state.rest
        first, second = state.directions
        w = spread(_inverse(length), h) * (v - spread(two_above, h) * first - spread(one_above, h) * second)
        unit = spread(_inverse(after), h) * following
        r = spread(turn[:, 1] ** 2, h) * state.residual - spread(rest * turn[:, 0], h) * unit
        h = h + spread(share, h) * w
        state = replace(
            state,
            taken=state.taken + 1,
            at=h,
            residual=r,
            indefinite=energy < -(torch.finfo(h.dtype).eps ** 0.75) * size * domain.norm(preconditioned),
            spent=torch.ones_like(state.taken),
            beta=torch.stack([beta, after], 1),
            turn=turn,
            above=torch.stack([sine * after, -cosine * after], 1),
            rest=rest,
            lanczos=(u, following),
            image=preconditioned,
            directions=(second, w),
        )
        return h, state

    def _started(self, system: System, h: Tensor, state: MINRESState) -> MINRESState:
        """The state before the first step of all samples."""
        r = system.physics(h)
        image = self._preconditioned(system, h, r)
        beta = system.domain.inner(r, image).clamp(min=0).sqrt()
        nothing, zeros = torch.zeros_like(beta), torch.zeros_like(r)
        return replace(
            state,
            fresh=torch.zeros_like(state.fresh),
            residual=r,
            beta=torch.stack([nothing, beta], 1),
            turn=torch.stack([nothing - 1, nothing], 1),
            rest=beta,
            lanczos=(zeros, r),
            image=image,
        )

    def _preconditioned(self, system: System, h: Tensor, r: Tensor) -> Tensor:
        return system.physics.project(self.preconditioner.of(system, h, r))


def _inverse(values: Tensor) -> Tensor:
    """1 / values, and 0 where they are 0."""
    return torch.where(values == 0, 0.0, 1 / torch.where(values == 0, 1.0, values))
