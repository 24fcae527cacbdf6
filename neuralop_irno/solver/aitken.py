"""Aitken's dynamic relaxation: one relaxation factor per sample, from the last two residuals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from neuralop_irno.registry import SOLVERS
from neuralop_irno.solver.picard import Damped
from neuralop_irno.solver.safeguarded import Safeguarded
from neuralop_irno.solver.solver import Phi, SolverState
from neuralop_irno.solver.step_size import StepSizeLike

SHORTEST, LONGEST = 0.1, 20.0
"""Limits of the relaxation factor."""


@dataclass(frozen=True)
class AitkenState(SolverState):
    """The state of `Aitken`.

    Attributes:
        factor: the relaxation of the last step, ``(samples,)``.
    """

    PER_SAMPLE: ClassVar[frozenset[str]] = frozenset({"taken", "factor"})

    factor: Tensor


class Aitken(Damped):
    r"""Irons and Tuck's rule, for each sample on its own.

    .. math:: h_{k+1} = h_k + \omega_k r_k, \qquad
              \omega_k = -\omega_{k-1} \frac{\langle r_{k-1}, \, r_k - r_{k-1} \rangle}{\|r_k - r_{k-1}\|^2}

    with :math:`r = \alpha \Phi(x, h)`. It accelerates the one dominating mode and stores one point and one
    residual. The registered solver ``aitken`` is safeguarded; see `aitken`. Paper: Irons and Tuck (1969),
    https://doi.org/10.1002/nme.1620010306.

    Args:
        alpha: the step size, as for `Picard`.
    """

    def init(self, h: Tensor, taken: Tensor) -> AitkenState:
        return AitkenState(taken, h, torch.zeros_like(h), torch.ones_like(taken).to(h.dtype))

    def step(self, phi: Phi, h: Tensor, state: AitkenState) -> tuple[Tensor, AitkenState]:
        domain = phi.domain
        residual = self.residual(phi, h, state)
        # The secant through the last two points; it holds for any step between them.
        moved, change = h - state.at, residual - state.residual
        steepness = domain.inner(change, change)
        known = (steepness > 0) & steepness.isfinite()
        factor = -domain.inner(moved, change) / torch.where(known, steepness, 1.0)
        factor = torch.where(known, factor.clamp(SHORTEST, LONGEST), 1.0)
        return h + domain.spread(factor, h) * residual, AitkenState(state.taken + 1, h, residual, factor)


@SOLVERS.register("aitken")
def aitken(alpha: StepSizeLike = 1.0) -> Safeguarded:
    """`Aitken` in `Safeguarded`: a step that makes the residual larger is replaced by a plain step."""
    return Safeguarded(Aitken(alpha))
