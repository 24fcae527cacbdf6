"""Error estimates of a solve from its observed contraction.

For a contraction G(h) = h + r(h) with factor q < 1 and fixed point h*, every point h has

    |G(h) - h*| <= q / (1 - q) |r(h)|

so that the distance from an answer to the *fixed point* can be estimated without the fixed point. It is an
estimate because q is measured on the steps that were taken: it bounds the distance only if these steps
contained the slowest mode. A slow mode that is small in the start may dominate only after the solve has
ended. For the distance from the fixed point to the *truth* see `neuralop_irno.diagnostics.calibration`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.solver.solver import SolverState

WINDOW = 12
"""The contraction is the largest of this many last secant ratios, or of all if there are fewer."""

MARGIN = 0.5
"""The share of 1 - q added to the largest ratio, as a margin for slower modes not seen yet."""

STEADY = 0.1
"""The last `RECENT` ratios are steady when they spread over less than this share of 1 - q."""

RECENT = 4

ROUNDING = 8
"""Rounding error added to each residual, in units in the last place of h."""


class Accuracy:
    """Estimates during a solve, for each sample, the distance from its answer to its fixed point.

    For every solver the contraction is measured on secants of G:
    q_k = |G(a_k) - G(a_{k-1})| / |a_k - a_{k-1}| at the points a_k where Phi was evaluated. On a linear
    problem under Picard's iteration this is the ratio of successive residuals.

    Args:
        domain: of the whole batch.
        start: the state before the first step.

    Attributes:
        bound: the estimated distance of each answer to its fixed point, inf where there is no estimate,
            ``(samples,)``; a bound if the measured contraction is that of the slowest mode.
        best: the iterate with the smallest residual, laid out like h.
        smallest: that residual, ``(samples,)``.
    """

    def __init__(self, domain: Domain, start: Tensor) -> None:
        self._whole = self._here = domain
        self._ratios = start.new_full((domain.samples, WINDOW), torch.nan)
        self._before: tuple[Tensor, Tensor, Tensor] | None = None
        self.bound = start.new_full((domain.samples,), torch.inf)
        self.smallest = self.bound.clone()
        self.best = start

    @property
    def contraction(self) -> Tensor:
        """The largest of each sample's last ratios, ``(samples,)``; nan after fewer than two steps."""
        known = self._ratios.isfinite().any(1)
        return torch.where(known, self._ratios.nan_to_num(nan=-torch.inf).amax(1), torch.nan)

    @property
    def holds(self) -> Tensor:
        """Whether q < 1 and the last ratios are steady, which indicates the slowest mode, ``(samples,)``."""
        recent = self._ratios[:, -RECENT:]
        spread = recent.amax(1) - recent.amin(1)
        return recent.isfinite().all(1) & (spread <= STEADY * (1 - self.contraction))

    def see(
        self, domain: Domain, active: Tensor, h: Tensor, state: SolverState, size: Tensor, reached: Tensor
    ) -> None:
        """Update the estimates with one step of the samples ``active``, which are still in the batch.

        ``size`` is the norm of the residual and ``reached`` that of h.
        """
        at, image = state.at, state.at + state.residual
        if self._before is not None:
            last_active, last_at, last_image = self._before
            if len(last_active) > len(active):  # samples have left the batch since
                stayed = torch.isin(last_active, active).nonzero()[:, 0]
                last_at, last_image = (self._here.take(f, stayed) for f in (last_at, last_image))
            ratio = domain.norm(image - last_image) / domain.norm(at - last_at)
            rolled = torch.cat([self._ratios[active][:, 1:], ratio[:, None]], 1)
            # A rejected step evaluates Phi at the same point again: its ratio is 0 / 0.
            self._ratios[active] = torch.where(ratio.isfinite()[:, None], rolled, self._ratios[active])
        first, self._before, self._here = self._before is None, (active, at, image), domain
        better = size < self.smallest[active]
        self.smallest[active] = torch.where(better, size, self.smallest[active])
        who = better.nonzero()[:, 0]
        if len(who) == self._whole.samples:
            self.best = at.clone() if first else at  # the start may be the caller's
        elif len(who):
            self.best = self._whole.put(self.best, active[who], domain.take(at, who))
        # Picard's iteration goes to G(a) itself.
        apart = torch.zeros_like(size) if torch.equal(h, image) else domain.norm(h - image)
        ratios = self._ratios[active]
        largest = ratios.nan_to_num(nan=-torch.inf).amax(1)
        q = largest + MARGIN * (1 - largest)
        rounding = ROUNDING * torch.finfo(h.dtype).eps * reached
        bound = apart + (q * size + rounding) / (1 - q)
        self.bound[active] = torch.where((q < 1) & ratios.isfinite().any(1), bound, torch.inf)
