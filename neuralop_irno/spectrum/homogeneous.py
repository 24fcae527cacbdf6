"""Homogeneous Sobolev norms on uniform grids, by the symbol of the Laplacian."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.ends import check_ends, ends_of
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.sphere import SphereDomain
from neuralop_irno.errors import check_choice, check_least, expected
from neuralop_irno.printed import PrintedAsCall

SYMBOLS = ("stencil", "fourier")
BOUNDARIES = ("periodic", "dirichlet")


class HomogeneousNorm(PrintedAsCall):
    r"""The norm of a field by powers of the (screened) Laplacian, from its Fourier coefficients (Parseval):

    .. math:: |v|_s^2 = \sum_w \lambda_w^s \, |\hat v(w)|^2, \qquad
              \lambda_w = c + \sum_i \kappa_i(w_i)^2

    With c = 0, order 1 is the H^1-seminorm, the root mean square of the gradient, and order -1 its dual norm,
    for fields without their mean. :math:`\kappa_i` belongs to the Laplacian of the equation:

    .. math:: \kappa_i = \frac{2 n_i}{L_i} \sin \frac{\pi w_i}{n_i} \; \text{(stencil)} \qquad
              \kappa_i = \frac{2 \pi w_i}{L_i} \; \text{(fourier)}

    The sides L of the box are those of the domain; the unit box where they are not known. On a wall
    (``dirichlet``) fields are zero half a cell beyond the last point, and are continued oddly.

    Args:
        order: s.
        screen: c >= 0.
        symbol: ``stencil``, of second differences, or ``fourier``, of derivatives of waves.
        boundary: ``periodic`` or ``dirichlet``, for all axes or for each.

    Shapes:
        - field: ``(B, C, *S)``; returns: ``(B,)``

    Example:
        >>> x = torch.arange(16, dtype=torch.float64) / 16
        >>> wave = torch.sin(2 * torch.pi * x)[None, None]
        >>> gradient = HomogeneousNorm(1, symbol="fourier")(wave, GridDomain.of(wave))
        >>> torch.allclose(gradient, gradient.new_tensor(2 * torch.pi * 0.5**0.5))
        True
    """

    def __init__(
        self,
        order: float = -1.0,
        screen: float = 0.0,
        symbol: str = "stencil",
        boundary: str | Sequence[str] = "periodic",
    ) -> None:
        if not math.isfinite(order):
            raise ValueError(expected("an order of differentiability", order, "order=-1"))
        check_least(0, 1.0, screen=screen)
        check_choice("a symbol", symbol, SYMBOLS)
        check_ends(boundary, BOUNDARIES)
        self.order, self.screen, self.symbol, self.boundary = order, screen, symbol, boundary

    def __call__(self, field: Tensor, domain: Domain) -> Tensor:
        """The norm of each sample, ``(samples,)``."""
        return self.squared(field, domain).sqrt()

    def squared(self, field: Tensor, domain: Domain) -> Tensor:
        """The square of the norm, ``(samples,)``."""
        if not isinstance(domain, GridDomain) or isinstance(domain, SphereDomain):
            hint = "SobolevLoss, or the plain norm"
            raise ValueError(expected("a flat uniform grid for this norm", type(domain).__name__, hint))
        dim = len(domain.shape)
        each = ends_of(self.boundary, dim)
        lengths = list(domain.lengths or (1.0,) * dim)
        for axis, name in enumerate(each):
            if name == "dirichlet":
                field, lengths[axis] = torch.cat([field, -field.flip(axis + 2)], axis + 2), 2 * lengths[axis]
        axes, shape = list(range(2, field.dim())), field.shape[2:]
        waves = torch.fft.fftn(field, dim=axes, norm="forward")
        energies = torch.view_as_real(waves).square().sum(-1).mean(1)
        weights = self._weights(shape, lengths).to(energies)
        return (energies * weights).flatten(1).sum(1)

    def _weights(self, shape: Sequence[int], lengths: Sequence[float]) -> Tensor:
        total = torch.tensor(self.screen, dtype=torch.float64)
        for n, length in zip(shape, lengths, strict=True):
            cycles = torch.fft.fftfreq(n, dtype=torch.float64)
            waves = cycles * math.pi if self.symbol == "fourier" else (cycles * math.pi).sin()
            total = total[..., None] + (2 * n / length * waves).square()
        # The mean has no dual norm; order 0 is the plain norm of what is left.
        return torch.where(total > 0, total.clamp(min=torch.finfo(total.dtype).tiny) ** self.order, 0.0)
