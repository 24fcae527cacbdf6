"""Broyden's method with a limited memory: an inverse Jacobian built from rank-one updates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.registry import SOLVERS
from neuralop_irno.solver.memory import MemoryState, memory_of
from neuralop_irno.solver.picard import Damped
from neuralop_irno.solver.safeguarded import Safeguarded
from neuralop_irno.solver.solver import Phi
from neuralop_irno.solver.step_size import StepSizeLike


class Broyden(Damped):
    r"""The good Broyden method, for each sample on its own.

    .. math:: h_{k+1} = h_k - H_k r_k, \qquad
              H_{k+1} = H_k + \frac{(s - H_k y) \, s^T H_k}{s^T H_k y}, \qquad H_0 = -I

    with :math:`r = \alpha \Phi(x, h)`, s the last step and y the change of r over that step. The first step
    is Picard's. A sample whose memory is full starts again from -I. The registered solver ``broyden`` is
    safeguarded; see `broyden`. Paper: Broyden (1965), https://doi.org/10.1090/S0025-5718-1965-0198670-6.

    Args:
        alpha: the step size, as for `Picard`.
        memory: number of stored rank-one updates.
    """

    def __init__(self, alpha: StepSizeLike = 1.0, memory: int = 10) -> None:
        super().__init__(alpha)
        self.memory = memory_of(memory)

    def init(self, h: Tensor, taken: Tensor) -> MemoryState:
        return MemoryState.fresh(h, taken)

    def step(self, phi: Phi, h: Tensor, state: MemoryState) -> tuple[Tensor, MemoryState]:
        domain = phi.domain
        residual = self.residual(phi, h, state)
        moved, answered = h - state.at, residual - state.residual
        known = torch.where(state.known == self.memory, 0, state.known)
        valid = state.valid(known)
        # H = -I + sum_j left_j right_j^T over the sample's valid updates.
        right = _times(domain, moved, [(v, u) for u, v in state.stored], valid)
        wrong = moved - _times(domain, answered, state.stored, valid)
        slope = domain.inner(right, answered)
        steep = slope.abs() > torch.finfo(h.dtype).eps * domain.norm(right) * domain.norm(answered)
        left = wrong / domain.spread(torch.where(steep, slope, 1.0), h)
        # A step without information is stored as an update of zeros, which leaves H as it is.
        left = torch.where(domain.spread(steep, h), left, 0.0)
        state = state.store(h, residual, (left, right), known, self.memory)
        step = _times(domain, residual, state.stored, state.valid(state.known))
        return h - step, state


def _times(domain: Domain, field: Tensor, stored: Sequence[tuple[Tensor, ...]], valid: Tensor) -> Tensor:
    """(-I + sum_j left_j right_j^T) applied to a field."""
    result = -field
    for counts, (u, v) in zip(valid.unbind(1), stored, strict=True):
        weight = torch.where(counts, domain.inner(v, field), 0.0)
        result = result + domain.spread(weight, field) * u
    return result


GROWTH = 10.0
"""Largest growth of the residual in one step. A pair of complex modes near the unit circle makes the residual
grow before it falls: with 1 the safeguard would reject every step that resolves such a pair."""


@SOLVERS.register("broyden")
def broyden(alpha: StepSizeLike = 1.0, memory: int = 10) -> Safeguarded:
    """`Broyden` in `Safeguarded`: steps that make the residual 10 times larger are replaced by plain ones."""
    return Safeguarded(Broyden(alpha, memory), GROWTH)
