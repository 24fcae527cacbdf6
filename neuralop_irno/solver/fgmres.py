"""Flexible GMRES: the smallest residual over the directions that any preconditioner proposed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from neuralop_irno.registry import SOLVERS
from neuralop_irno.solver.krylov import EquationSolver, KrylovState, as_direction, system_of
from neuralop_irno.solver.memory import memory_of
from neuralop_irno.solver.preconditioner import PreconditionerLike
from neuralop_irno.solver.solver import Phi
from neuralop_irno.solver.system import System

PROGRESS = 0.5
"""A cycle that does not bring the residual below this share is followed by one without the preconditioner."""


@dataclass(frozen=True)
class FGMRESState(KrylovState):
    """The state of `FGMRES`.

    Attributes:
        anchor: h at the start of the cycle.
        beta: the norm of the residual there, ``(samples,)``.
        plain: the samples whose cycle is without the preconditioner, ``(samples,)``.
        matrix: the upper Hessenberg matrix of the cycle, ``(samples, restart + 1, restart)``.
        basis: orthonormal fields v_0 .. v_k.
        directions: z_0 .. z_{k-1}, with A z_j = sum_i H_ij v_i.
    """

    PER_SAMPLE: ClassVar[frozenset[str]] = KrylovState.PER_SAMPLE | {"beta", "plain", "matrix"}

    anchor: Tensor
    beta: Tensor
    plain: Tensor
    matrix: Tensor
    basis: tuple[Tensor, ...] = ()
    directions: tuple[Tensor, ...] = ()


@SOLVERS.register("fgmres")
class FGMRES(EquationSolver):
    r"""Flexible GMRES with restarts, for any linear equation A h = b.

    .. math:: h_k = h_0 + \sum_j y_j z_j, \quad z_j = M_j v_j, \qquad
              y = \arg\min \| r_0 - \sum_j y_j A z_j \|

    for each sample on its own, with v_j an orthonormal basis (Arnoldi). The norm of the residual never grows,
    whatever M returns. Where M v is zero or not finite, v itself is taken; and after a cycle that gained less
    than a half, one cycle is taken without M: `Solution.replaced` counts these steps. Saad (1993),
    https://doi.org/10.1137/0914028.

    Args:
        preconditioner: M: ``phi`` (the correction of the model), another name, a config or an object.
        restart: steps of a cycle. Two fields are stored for each.

    Example:
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> from neuralop_irno.equations.equation import LinearEquation
        >>> turn = LinearEquation(lambda x, v: v.roll(1, -1), lambda x: x)  # not symmetric
        >>> x = torch.tensor([[[1.0, 0.0, 0.0]]])
        >>> solver, system = FGMRES("identity", restart=5), System(turn.bind(x, GridDomain.of(x)))
        >>> h, state = torch.zeros_like(x), solver.init(torch.zeros_like(x), torch.zeros(1, dtype=torch.long))
        >>> for _ in range(3):
        ...     h, state = solver.step(system, h, state)
        >>> h.round(decimals=4)
        tensor([[[0., 0., 1.]]])
    """

    def __init__(self, preconditioner: PreconditionerLike = "phi", restart: int = 30) -> None:
        super().__init__(preconditioner)
        self.restart = memory_of(restart)

    def check(self, system: System, h: Tensor) -> None:
        system.physics.apply(torch.zeros_like(h))  # refuses an equation that is not linear

    def init(self, h: Tensor, taken: Tensor) -> FGMRESState:
        nothing = h.new_full(taken.shape, torch.inf)
        matrix = h.new_zeros(len(taken), self.restart + 1, self.restart)
        plain = torch.zeros_like(taken).bool()
        return FGMRESState(
            **FGMRESState.nothing(h, taken), anchor=h, beta=nothing, plain=plain, matrix=matrix
        )

    def step(self, phi: Phi, h: Tensor, state: FGMRESState) -> tuple[Tensor, FGMRESState]:
        system = system_of(phi)
        domain, equation = system.domain, system.physics
        if not state.basis or len(state.directions) == self.restart:
            state = self._restarted(system, h, state)
        v, k = state.basis[-1], len(state.directions)
        proposed = equation.project(self.preconditioner.of(system, state.anchor, v))
        z, good = as_direction(domain, proposed, v, along=False)
        good = good & ~state.plain
        z = torch.where(domain.spread(good, v), z, v)
        image = equation.apply(z)
        size, column = domain.norm(image), torch.zeros_like(state.matrix[:, :, 0])
        for _ in range(2):  # once is not enough in floating point
            for i, known in enumerate(state.basis):
                share = domain.inner(known, image)
                column = column.index_add(1, torch.tensor([i], device=h.device), share[:, None])
                image = image - domain.spread(share, image) * known
        left = domain.norm(image)
        # An image within the span of those before: the basis of this sample ends here.
        grows = left > torch.finfo(left.dtype).eps * size
        left = torch.where(grows, left, 0.0)
        following = torch.where(
            domain.spread(grows, image), image / domain.spread(torch.where(grows, left, 1.0), image), 0.0
        )
        column = column.index_copy(1, torch.tensor([k + 1], device=h.device), left[:, None])
        matrix = state.matrix.index_copy(2, torch.tensor([k], device=h.device), column[:, :, None])
        basis, directions = (*state.basis, following), (*state.directions, z)
        weights, rest = smallest_residual(matrix[:, : k + 2, : k + 1], state.beta)
        h, r = state.anchor, torch.zeros_like(h)
        for weight, direction in zip(weights.unbind(1), directions, strict=True):
            h = h + domain.spread(weight, h) * direction
        for weight, field in zip(rest.unbind(1), basis, strict=True):
            r = r + domain.spread(weight, r) * field
        state = replace(
            state,
            taken=state.taken + 1,
            at=h,
            residual=r,
            replaced=state.replaced + ~good,
            spent=torch.ones_like(state.taken),
            matrix=matrix,
            basis=basis,
            directions=directions,
        )
        return h, state

    def _restarted(self, system: System, h: Tensor, state: FGMRESState) -> FGMRESState:
        """The state at the start of a cycle from h."""
        r = system.physics(h)
        beta = system.domain.norm(r)
        first = r / system.domain.spread(torch.where(beta > 0, beta, 1.0), r)
        plain = (beta > PROGRESS * state.beta) & ~state.plain
        return replace(
            state,
            anchor=h,
            beta=beta,
            plain=plain,
            matrix=torch.zeros_like(state.matrix),
            basis=(first,),
            directions=(),
        )


def smallest_residual(matrix: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    r"""The weights y that minimise :math:`\| \beta e_1 - H y \|`, and what is left, :math:`\beta e_1 - H y`.

    Args:
        matrix: H, ``(samples, k + 1, k)``; columns that depend on others are allowed.
        beta: ``(samples,)``.

    Shapes:
        - returns: ``(samples, k)`` and ``(samples, k + 1)``

    Example:
        >>> smallest_residual(torch.tensor([[[2.0], [0.0]]]), torch.tensor([3.0]))
        (tensor([[1.5000]]), tensor([[0., 0.]]))
    """
    # Not finite is an outcome of its own, and pinv raises on it.
    exact = torch.where(matrix.isfinite(), matrix, 0.0).double()
    target = torch.zeros_like(exact[:, :, 0])
    target[:, 0] = beta.nan_to_num(0.0, 0.0, 0.0)
    weights = (torch.linalg.pinv(exact) @ target[..., None])[..., 0]
    rest = target - (exact @ weights[..., None])[..., 0]
    finite = matrix.isfinite().flatten(1).all(1) & beta.isfinite()
    rest = torch.where(finite[:, None], rest, torch.nan)
    return weights.to(matrix.dtype), rest.to(matrix.dtype)
