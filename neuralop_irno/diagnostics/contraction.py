"""The numbers of the theory, measured: m, M, q and |b| of a trained correction, sample by sample.

Near the truth y the correction is Phi(x, h) = b + A (y - h) + .., with b = Phi(x, y) and A = -dPhi/dh there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neuralop_irno.diagnostics.linearisation import Linearisation, extreme_eigenvalues
from neuralop_irno.solver.solver import Phi


@dataclass(frozen=True)
class Contraction:
    """What decides how a refinement converges. Every attribute has one number a sample, ``(samples,)``.

    Attributes:
        alpha: the step size in use.
        monotonicity: m, the smallest eigenvalue of the symmetric part of A.
        norm: M, the largest singular value of A.
        factor: q = |I - alpha A|: distances shrink by it in one step.
        offset: |b| = |Phi(x, y)|: how far the truth is from being at rest.
        distance: |h_0 - y|, where the iteration starts.
    """

    alpha: Tensor
    monotonicity: Tensor
    norm: Tensor
    factor: Tensor
    offset: Tensor
    distance: Tensor

    @property
    def admissible(self) -> Tensor:
        """2 m / M^2: every smaller alpha contracts; not positive where A is not monotone."""
        return 2 * self.monotonicity / self.norm.square()

    @property
    def best_alpha(self) -> Tensor:
        """m / M^2, the alpha for which the theory's bound on q is smallest."""
        return self.admissible / 2

    @property
    def floor(self) -> Tensor:
        """alpha |b| / (1 - q), the error at which the iteration stops at the latest; inf where q >= 1."""
        floor = self.alpha * self.offset / (1 - self.factor)
        return torch.where(self.factor < 1, floor, torch.inf)

    def steps_to(self, error: Tensor) -> Tensor:
        """How many steps it takes at most until the error is below a level above the floor; else inf."""
        over_start, over_end = self.distance - self.floor, error - self.floor
        steps = (torch.log(over_end / over_start) / torch.log(self.factor)).ceil().clamp(min=0)
        reachable = (self.factor < 1) & (over_end > 0)
        return torch.where(reachable, torch.where(over_start > 0, steps, 0.0), torch.inf)

    def assumptions(self) -> dict[str, Tensor]:
        """For each assumption of the theory, the samples where it holds.

        ``invariant ball``: the ball around the truth in which the iteration starts is mapped into itself,
        q |e_0| + alpha |b| <= |e_0|.
        """
        return {
            "A is strongly monotone, m > 0": self.monotonicity > 0,
            "alpha is admissible, alpha < 2 m / M^2": self.alpha < self.admissible,
            "the step contracts, q < 1": self.factor < 1,
            "the ball it starts in is invariant": self.factor * self.distance + self.alpha * self.offset
            <= self.distance,
        }


def measure(phi: Phi, start: Tensor, truth: Tensor, alpha: Tensor, iterations: int = 30) -> Contraction:
    """Measure a correction at the truth.

    Args:
        phi: bound to x.
        start: h_0, laid out like h.
        truth: y, laid out like h.
        alpha: the step size of each sample, ``(samples,)``.
        iterations: Lanczos steps for each of the three extreme values. What they find lies inside the
            spectrum: m is an upper bound, M and q are lower ones, that tighten with more of them.
    """
    domain = phi.domain
    linear = Linearisation(phi, truth)
    probe = torch.randn(truth.shape, dtype=truth.dtype, generator=torch.Generator().manual_seed(0))
    probe = probe.to(truth.device)

    def a(v: Tensor) -> Tensor:
        return -linear.push(v)

    def a_transposed(u: Tensor) -> Tensor:
        return -linear.pull(u)

    def step(v: Tensor) -> Tensor:
        return v - domain.spread(alpha, v) * a(v)

    def step_transposed(u: Tensor) -> Tensor:
        return u - domain.spread(alpha, u) * a_transposed(u)

    low, _ = extreme_eigenvalues(lambda v: (a(v) + a_transposed(v)) / 2, domain, probe, iterations)
    _, high = extreme_eigenvalues(lambda v: a_transposed(a(v)), domain, probe, iterations)
    _, slow = extreme_eigenvalues(lambda v: step_transposed(step(v)), domain, probe, iterations)
    return Contraction(
        alpha=alpha,
        monotonicity=low,
        norm=high.clamp(min=0).sqrt(),
        factor=slow.clamp(min=0).sqrt(),
        offset=domain.norm(linear.value),
        distance=domain.norm(start - truth),
    )
