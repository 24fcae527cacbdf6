"""The smallest factor by which a linear equation stretches a field, estimated from the steps of a solve."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain

ROUNDING = 1e-6
"""A step below this share of the iterate is not used: its image is a difference of rounded residuals."""


class SmallestStretch:
    r"""An upper estimate of the smallest singular value of A, from the steps s of any solver:

    .. math:: \sigma_{min} \le \min_v \frac{|A v|}{|v|}, \qquad A s_k = r_{k-1} - r_k

    with v in the span of each step and of the best v before, as in LOBPCG: no product with A is added. For a
    symmetric positive definite A it is an estimate of its smallest eigenvalue.

    Args:
        domain: of the whole batch, with the plain inner product.
        start: the first iterate.
        residual: that of the first iterate.

    Attributes:
        value: the estimate, inf before the first step, ``(samples,)``.
    """

    def __init__(self, domain: Domain, start: Tensor, residual: Tensor) -> None:
        self._domain = domain
        self._h, self._r = start, residual
        self._best, self._image = torch.zeros_like(start), torch.zeros_like(start)
        self.value = torch.full((domain.samples,), torch.inf, dtype=start.dtype, device=start.device)

    def see(self, domain: Domain, active: Tensor, h: Tensor, residual: Tensor) -> None:
        """Take one step of the samples ``active``, on their domain, into account."""
        whole = self._domain
        before, r = whole.take(self._h, active), whole.take(self._r, active)
        best, image = whole.take(self._best, active), whole.take(self._image, active)
        step = h - before
        size = domain.norm(step)
        usable = (size > ROUNDING * domain.norm(h)) & size.isfinite()
        scale = domain.spread(torch.where(usable, size, 1.0), h)
        mask = domain.spread(usable, h)
        step, change = (torch.where(mask, part / scale, 0.0) for part in (step, r - residual))
        # An orthonormal basis of both directions, and the images of it.
        step, change = _without(domain, step, change, best, image)
        mixed = domain.inner(image, change)
        first = torch.where(domain.norm(best) > 0, domain.inner(image, image), torch.inf)
        second = torch.where(domain.norm(step) > 0, domain.inner(change, change), torch.inf)
        # The eigenvector (cos t, sin t) of the smaller eigenvalue of [[first, mixed], [mixed, second]].
        both = first.isfinite() & second.isfinite()
        least = 0.5 * torch.atan2(2 * mixed, first - second) + torch.pi / 2
        angle = torch.where(both, least, torch.where(first.isfinite(), 0.0, torch.pi / 2))
        cos, sin = (domain.spread(part, h) for part in (angle.cos(), angle.sin()))
        best, image = cos * best + sin * step, cos * image + sin * change
        ratio = domain.norm(image) / domain.norm(best)
        self.value[active] = torch.where(ratio.isfinite(), ratio, self.value[active])
        self._best, self._image = whole.put(self._best, active, best), whole.put(self._image, active, image)
        self._h, self._r = whole.put(self._h, active, h), whole.put(self._r, active, residual)


def _without(
    domain: Domain, v: Tensor, image: Tensor, unit: Tensor, of_unit: Tensor
) -> tuple[Tensor, Tensor]:
    """v of norm 1 orthogonal to a field of norm 1 or 0, and its image; zeros if nothing is left of it."""
    share = domain.spread(domain.inner(v, unit), v)
    v, image = v - share * unit, image - share * of_unit
    size = domain.norm(v)
    left = size > ROUNDING
    mask, scale = domain.spread(left, v), domain.spread(torch.where(left, size, 1.0), v)
    return torch.where(mask, v / scale, 0.0), torch.where(mask, image / scale, 0.0)
