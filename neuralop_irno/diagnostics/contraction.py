"""The numbers of the theory, measured: m, M, q, |b| and c of a trained correction, sample by sample.

Near the truth y, with e = y - h, the correction is Phi(x, h) = b + A e + R(e), where b = Phi(x, y),
A = -dPhi/dh at y, and R is the rest. So |e_{k+1}| <= q |e_k| + c |e_k|^2 + alpha |b|.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.linearisation import Linearisation, extreme_eigenvalues, symmetric_part
from neuralop_irno.solver.solver import Phi


@dataclass(frozen=True)
class Contraction:
    """The constants of the convergence of a refinement. Attributes have shape ``(samples,)``, but for one.

    Attributes:
        alpha: the step size in use.
        monotonicity: m over all directions, the smallest eigenvalue of the symmetric part of A: the smallest
            <A v, v> / |v|^2 of any v.
        along_errors: <A e_k, e_k> / |e_k|^2 of the errors that occur, e_k = y - h_k for k = 0 .. K, with A at
            the truth; at least m. inf where an error is zero. ``(samples, K + 1)``
        norm: M, the largest singular value of A.
        factor: q = |I - alpha A|: the largest factor of the linear part of a step on a distance.
        offset: |b| = |Phi(x, y)|, the residual at the truth over alpha.
        distance: |e_0| = |h_0 - y|, where the iteration starts.
        curvature: c = alpha |R(e_0)| / |e_0|^2, of the non-linear part of a step, at the start. It is an
            estimate from this one point: elsewhere in the ball of radius |e_0| the ratio can be larger.
        second_order: L = 2 |Phi(x, h_0) - b - A(h_0) e_0| / |e_0|^2, with A(h) = -dPhi/dh at h.
        jacobian_change: mu = |(A(h_0) - A) e_0| / |e_0|^2, the change of A from y to h_0, along e_0.
            The theory bounds c by alpha (L / 2 + mu).
    """

    alpha: Tensor
    monotonicity: Tensor
    along_errors: Tensor
    norm: Tensor
    factor: Tensor
    offset: Tensor
    distance: Tensor
    curvature: Tensor
    second_order: Tensor
    jacobian_change: Tensor

    @property
    def least_along_errors(self) -> Tensor:
        """The smallest <A e_k, e_k> / |e_k|^2 of the errors that occur, ``(samples,)``."""
        return self.along_errors.amin(1)

    @property
    def monotone(self) -> dict[str, Tensor]:
        """The samples with m > 0, of either kind: over all directions, and along the errors that occur."""
        return {"all_directions": self.monotonicity > 0, "along_errors": self.least_along_errors > 0}

    @property
    def admissible(self) -> Tensor:
        """2 m / M^2: every smaller alpha contracts; 0 where A is not monotone and no alpha is admissible."""
        tiny = torch.finfo(self.norm.dtype).tiny
        return 2 * self.monotonicity.clamp(min=0) / self.norm.square().clamp(min=tiny)

    @property
    def best_alpha(self) -> Tensor:
        """m / M^2, the alpha for which the theory's bound on q is smallest; 0 where none is admissible."""
        return self.admissible / 2

    @property
    def floor(self) -> Tensor:
        r"""The smaller root of :math:`c r^2 - (1 - q) r + \alpha |b| = 0`, or inf where there is none.

        The error of iterates that start in an invariant ball falls to this value; for c = 0
        it is alpha |b| / (1 - q).
        """
        gap, pull = 1 - self.factor, self.alpha * self.offset
        root = gap.square() - 4 * self.curvature * pull
        # This form of the smaller root has no cancellation, and needs no special case for c = 0.
        floor = 2 * pull / (gap + root.clamp(min=0).sqrt())
        return torch.where((gap > 0) & (root >= 0), floor, torch.inf)

    @property
    def radius(self) -> Tensor:
        """The radius of the smallest ball around y that holds h_0 and is invariant; inf where none is.

        It is the larger of |e_0| and the floor, as long as it lies below (1 - q) / (2 c).
        """
        radius = torch.maximum(self.distance, self.floor)
        return torch.where(2 * self.curvature * radius < 1 - self.factor, radius, torch.inf)

    def steps_to(self, error: Tensor) -> Tensor:
        """An upper bound on the steps until the error is below a level; inf for levels below the floor.

        Between the floor r and |e_0| the distance to the floor shrinks by q + c (|e_0| + r) a step, or more.
        """
        floor = self.floor
        over_start, over_end = self.distance - floor, error - floor
        factor = self.factor + self.curvature * (self.distance + floor)
        steps = (torch.log(over_end / over_start) / torch.log(factor)).ceil().clamp(min=0)
        reachable = (factor < 1) & (over_end > 0)
        return torch.where(reachable, torch.where(over_start > 0, steps, 0.0), torch.inf)

    def assumptions(self) -> dict[str, Tensor]:
        """For each assumption of the theory, the samples where it holds.

        The third one, the invariant ball, in two parts: the start lies within (1 - q) / (2 c), and there is a
        radius r from |e_0| up to there with alpha |b| <= r (1 - q - c r); see `radius`. With c from one point
        this is a check at the measured points, not a proof.
        """
        gap = 1 - self.factor
        return {
            "A is strongly monotone, m > 0": self.monotonicity > 0,
            "alpha is admissible, alpha < 2 m / M^2": self.alpha < self.admissible,
            "the step contracts, q < 1": gap > 0,
            "the start is near, |e_0| < (1 - q) / (2 c)": 2 * self.curvature * self.distance < gap,
            "the bias is small, alpha |b| < (1 - q)^2 / (4 c)": (gap > 0)
            & (4 * self.curvature * self.alpha * self.offset < gap.square()),
        }

    @property
    def holds(self) -> Tensor:
        """Whether all assumptions hold, ``(samples,)``."""
        return torch.stack(list(self.assumptions().values())).all(0)


def measure(
    phi: Phi, iterates: Sequence[Tensor], truth: Tensor, alpha: Tensor, iterations: int = 30
) -> Contraction:
    """Measure a correction at the truth, and its non-linear part at the start.

    Args:
        phi: bound to x.
        iterates: h_0, h_1, .. h_K, or h_0 alone, each laid out like h.
        truth: y, laid out like h.
        alpha: the step size of each sample, ``(samples,)``.
        iterations: Lanczos steps for each of the three extreme values. The results lie inside the
            spectrum: m is an upper bound, M and q are lower bounds, which tighten with more steps.
    """
    domain = phi.domain
    linear = Linearisation(phi, truth)
    probe = torch.randn(truth.shape, dtype=truth.dtype, generator=torch.Generator().manual_seed(0))
    probe = probe.to(truth.device)

    def a(v: Tensor) -> Tensor:
        return -linear.push(v)

    def a_adjoint(u: Tensor) -> Tensor:
        return -linear.adjoint(u, domain)

    def step(v: Tensor) -> Tensor:
        return v - domain.spread(alpha, v) * a(v)

    def step_adjoint(u: Tensor) -> Tensor:
        return u - domain.spread(alpha, u) * a_adjoint(u)

    symmetric = symmetric_part(linear, domain)
    low, _ = extreme_eigenvalues(lambda v: -symmetric(v), domain, probe, iterations)
    _, high = extreme_eigenvalues(lambda v: a_adjoint(a(v)), domain, probe, iterations)
    _, slow = extreme_eigenvalues(lambda v: step_adjoint(step(v)), domain, probe, iterations)
    errors = [truth - h for h in iterates]
    error, distance = errors[0], domain.norm(errors[0])
    square = distance.square().clamp(min=torch.finfo(distance.dtype).tiny)
    there = Linearisation(phi, iterates[0])
    linear_part, linear_there = a(error), -there.push(error)
    rise = there.value - linear.value
    return Contraction(
        alpha=alpha,
        monotonicity=low,
        along_errors=torch.stack([_quotient(domain, e, a(e)) for e in errors], 1),
        norm=high.clamp(min=0).sqrt(),
        factor=slow.clamp(min=0).sqrt(),
        offset=domain.norm(linear.value),
        distance=distance,
        curvature=alpha * domain.norm(rise - linear_part) / square,
        second_order=2 * domain.norm(rise - linear_there) / square,
        jacobian_change=domain.norm(linear_there - linear_part) / square,
    )


def _quotient(domain: Domain, v: Tensor, image: Tensor) -> Tensor:
    """<A v, v> / |v|^2, ``(samples,)``; inf where v = 0."""
    square = domain.inner(v, v)
    return torch.where(square == 0, torch.inf, domain.inner(image, v) / square)
