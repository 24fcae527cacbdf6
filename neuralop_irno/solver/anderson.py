"""Anderson acceleration: the next iterate from the last few, by least squares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.registry import SOLVERS
from neuralop_irno.solver.least_squares import fit
from neuralop_irno.solver.memory import FRESH, MemoryState, memory_of
from neuralop_irno.solver.picard import Damped
from neuralop_irno.solver.safeguarded import Safeguarded
from neuralop_irno.solver.solver import Phi
from neuralop_irno.solver.step_size import StepSizeLike


@dataclass(frozen=True)
class AndersonState(MemoryState):
    """The state of `Anderson`. An entry of ``stored`` holds the changes of h, of r and of ``minimised``.

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
        step = h - state.at, residual - state.residual, minimised - torch.as_tensor(state.minimised)
        state = state.store(h, residual, step, state.known, self.memory)
        state = replace(state, minimised=minimised)
        weights = fit(phi.domain, [entry[2] for entry in state.stored], minimised, state.valid(state.known))
        proposal = h + residual
        for weight, (moved, answered, _) in zip(weights.unbind(1), state.stored, strict=True):
            proposal = proposal - phi.domain.spread(weight, h) * (moved + answered)
        return proposal, state


@SOLVERS.register("anderson")
def anderson(alpha: StepSizeLike = 1.0, memory: int = 5) -> Safeguarded:
    """`Anderson` in `Safeguarded`: a step that makes the residual larger is replaced by a plain step."""
    return Safeguarded(Anderson(alpha, memory))
