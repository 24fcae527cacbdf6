"""Picard iteration with a step size per sample, shortened by backtracking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from neuralop_irno.errors import expected
from neuralop_irno.registry import SOLVERS
from neuralop_irno.solver.picard import Damped
from neuralop_irno.solver.solver import Phi, SolverState
from neuralop_irno.solver.step_size import StepSizeLike


@dataclass(frozen=True)
class BacktrackingState(SolverState):
    """The state of `Backtracking`.

    Attributes:
        size: the norm of the residual at the last accepted point, ``(samples,)``.
        share: s, the factor of alpha of each sample, ``(samples,)``.
    """

    PER_SAMPLE: ClassVar[frozenset[str]] = frozenset({"taken", "size", "share"})

    size: Tensor
    share: Tensor


@SOLVERS.register("backtracking")
class Backtracking(Damped):
    r"""Damped Picard iteration that reduces alpha of a sample until its residual does not grow.

    .. math:: h_{k+1} = h_k + s_k \alpha \, \Phi(x, h_k)

    A step after which the residual is larger is rejected and repeated with s multiplied by ``shrink``; the
    smaller s is kept for all later steps.

    Args:
        alpha: the largest step size, as for `Picard`.
        shrink: the factor of s after a rejected step.
        least: the smallest s to reduce further; steps with it or a smaller s are always accepted.
    """

    def __init__(self, alpha: StepSizeLike = 1.0, shrink: float = 0.5, least: float = 2**-10) -> None:
        super().__init__(alpha)
        if not (0 < shrink < 1 and 0 < least <= 1):
            wanted = "0 < shrink < 1 and 0 < least <= 1"
            raise ValueError(expected(wanted, f"{shrink}, {least}", "shrink=0.5"))
        self.shrink, self.least = shrink, least

    def init(self, h: Tensor, taken: Tensor) -> BacktrackingState:
        size = h.new_full(taken.shape, torch.inf)
        return BacktrackingState(taken, h, torch.zeros_like(h), size, torch.ones_like(size))

    def step(self, phi: Phi, h: Tensor, state: BacktrackingState) -> tuple[Tensor, BacktrackingState]:
        domain = phi.domain
        residual = self.residual(phi, h, state)
        size = domain.norm(residual)
        back = ~(size <= state.size) & (state.share > self.least)
        mask = domain.spread(back, h)
        at, residual = torch.where(mask, state.at, h), torch.where(mask, state.residual, residual)
        share = torch.where(back, state.share * self.shrink, state.share)
        following = at + domain.spread(share, h) * residual
        size = torch.where(back, state.size, size)
        return following, BacktrackingState(state.taken + 1, at, residual, size, share)
