"""Anderson acceleration: the next iterate from the last few, by least squares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.eager import eager_on_cpu
from neuralop_irno.registry import SOLVERS
from neuralop_irno.solver.memory import FRESH, MemoryState, memory_of
from neuralop_irno.solver.picard import Damped
from neuralop_irno.solver.safeguarded import Safeguarded
from neuralop_irno.solver.solver import Phi
from neuralop_irno.solver.step_size import StepSizeLike


@dataclass(frozen=True)
class AndersonState(MemoryState):
    """The state of `Anderson`. An entry of ``stored`` holds the changes of h + r and of ``minimised``.

    Attributes:
        minimised: the residual that the weights minimise, at the last point: r, or that of the equation.
    """

    minimised: Tensor | None = None

    def forget(self, domain: Domain, whose: Tensor, at: Tensor, residual: Tensor) -> Self:
        state = super().forget(domain, whose, at, residual)
        if self.minimised is self.residual:
            return replace(state, minimised=state.residual)
        # The equation's residual at that point was not stored: skip the next difference.
        return replace(state, known=torch.where(whose, FRESH, state.known))


class Anderson(Damped):
    r"""Anderson acceleration of type II, for each sample on its own.

    .. math:: h_{k+1} = h_k + r_k - \sum_j \gamma_j (\Delta h_j + \Delta r_j), \qquad
              \gamma = \arg\min \| r_k - \sum_j \gamma_j \Delta r_j \|

    with :math:`r = \alpha \Phi(x, h)` and the differences of the last ``memory`` steps. If Phi has a
    ``physics`` residual, the weights minimise that one in place of r. On a linear problem it is equivalent
    to GMRES. The registered solver ``anderson`` is safeguarded; see `anderson`. Papers: Anderson (1965),
    https://doi.org/10.1145/321296.321305; Walker and Ni (2011), https://doi.org/10.1137/10078356X.

    Args:
        alpha: the step size, as for `Picard`.
        memory: number of stored steps.

    Example:
        >>> import neuralop_irno as irno
        >>> scale = torch.tensor([0.1, 1.0])
        >>> correction = irno.FunctionCorrection(lambda x, h: scale * (x - h))
        >>> model = irno.IterativeRefiner(torch.zeros_like, correction, solver="picard").eval()
        >>> x = torch.ones(1, 1, 2)
        >>> slow = model.solve(x, rtol=1e-4, max_steps=200)
        >>> fast = model.solve(x, rtol=1e-4, max_steps=200, solver="anderson")
        >>> bool(fast.steps < slow.steps), bool((fast.value - x).abs().max() < 1e-3)
        (True, True)
    """

    def __init__(self, alpha: StepSizeLike = 1.0, memory: int = 5) -> None:
        super().__init__(alpha)
        self.memory = memory_of(memory)

    def init(self, h: Tensor, taken: Tensor) -> AndersonState:
        state = AndersonState.fresh(h, taken)
        return replace(state, minimised=state.residual)

    def step(self, phi: Phi, h: Tensor, state: AndersonState) -> tuple[Tensor, AndersonState]:
        residual = self.residual(phi, h, state)
        minimised = residual if phi.physics is None else phi.physics(h)
        answered = residual - state.residual
        changed = answered if minimised is residual else minimised - torch.as_tensor(state.minimised)
        step = h - state.at + answered, changed
        state = state.store(h, residual, step, state.known, self.memory)
        state = replace(state, minimised=minimised)
        weights = fit(
            phi.domain, [changed for _, changed in state.stored], minimised, state.valid(state.known)
        )
        proposal = h + residual
        for weight, (moved, _) in zip(weights.unbind(1), state.stored, strict=True):
            add = proposal.addcmul_ if eager_on_cpu(h) else proposal.addcmul
            proposal = add(phi.domain.spread(weight, h), moved, value=-1)
        return proposal, state


@SOLVERS.register("anderson")
def anderson(alpha: StepSizeLike = 1.0, memory: int = 5) -> Safeguarded:
    """`Anderson` in `Safeguarded`: a step that makes the residual larger is replaced by a plain step."""
    return Safeguarded(Anderson(alpha, memory))


def fit(domain: Domain, columns: Sequence[Tensor], target: Tensor, valid: Tensor) -> Tensor:
    r"""For each sample the weights :math:`\gamma` that minimise :math:`\|t - \sum_j \gamma_j c_j\|`.

    From the inner products of all fields, which one pass over them gives in double precision: the normal
    equations, eliminated in the given order of the columns. A column whose part orthogonal to those before
    it is smaller than the square root of the machine precision times the column is left out. The rule is
    relative, so that the weights do not change when all fields are multiplied by one number.

    Args:
        domain: the domain of the fields.
        columns: c_j, in the order of the elimination.
        target: t.
        valid: the columns that each sample uses, as a mask ``(samples, len(columns))``.

    Shapes:
        - columns, target: fields
        - returns: ``(samples, len(columns))``, 0 where a column is not used

    Example:
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> a, b = torch.randn(2, 3, 1, 8, dtype=torch.float64)
        >>> weights = fit(GridDomain.of(a), [a, b], 2 * a - b, torch.ones(3, 2, dtype=torch.bool))
        >>> torch.allclose(weights, torch.tensor([2.0, -1.0], dtype=torch.float64))
        True
    """
    products = domain.gram([*columns, target])
    used = valid & products.diagonal(dim1=1, dim2=2)[:, :-1].isfinite()
    negligible = max(torch.finfo(target.dtype).eps, ROUNDING * torch.finfo(products.dtype).eps)
    # A column that is not used must not change the weights of others.
    matrix = torch.where(used[:, :, None] & used[:, None], products[:, :-1, :-1], 0.0)
    weights = _solved(matrix, torch.where(used, products[:, :-1, -1], 0.0), negligible)
    if target.dtype == products.dtype:
        # Nothing is more precise than the fields: what is left of them corrects the squared condition.
        columns = [torch.where(domain.spread(u, c), c, 0.0) for u, c in zip(used.T, columns, strict=True)]
        pairs = zip(weights.T, columns, strict=True)
        rest = target - sum(domain.spread(weight, target) * column for weight, column in pairs)
        left = torch.stack([domain.inner(column, rest) for column in columns], 1)
        weights = weights + _solved(matrix, left, negligible)
    return weights.to(target.dtype)


def _solved(matrix: Tensor, right: Tensor, negligible: float) -> Tensor:
    """The solution of each sample's equations by elimination, 0 for an unknown whose pivot is negligible."""
    system = torch.cat([matrix, right[..., None]], 2)
    for j, square in enumerate(matrix.diagonal(dim1=1, dim2=2).T):
        pivot = system[:, j, j]
        keep = pivot > negligible * square
        row = system[:, j] / torch.where(keep, pivot, 1.0)[:, None]
        row = torch.where(keep[:, None], row, 0.0)
        rest = system - system[:, :, j, None] * row[:, None]
        system = torch.cat([rest[:, :j], row[:, None], rest[:, j + 1 :]], 1)
    return system[:, :, -1]


ROUNDING = 64
"""Rounding errors of an inner product and of its elimination, in units of their machine precision."""
