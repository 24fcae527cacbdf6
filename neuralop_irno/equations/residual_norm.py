"""A functional a-posteriori error estimator: the residual of an equation in a dual norm."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.equations.equation import Equation
from neuralop_irno.spectrum.homogeneous import HomogeneousNorm


def residual_norm(
    equation: Equation,
    x: Tensor,
    h: Tensor,
    order: float = -1.0,
    *,
    screen: float = 0.0,
    symbol: str = "stencil",
    boundary: str | Sequence[str] = "periodic",
    lengths: Sequence[float] | None = None,
) -> Tensor:
    r"""The residual of an equation in a homogeneous Sobolev norm, computed without the solution:

    .. math:: \eta(h) = | r(x, h) |_{s}, \qquad |r|_s^2 = \sum_w (c + \kappa_w^2)^s \, |\hat r(w)|^2

    Of order -1 it measures the error e of h in the energy norm. For :math:`-\Delta h + c h = f`, with the
    symbol of the same Laplacian and the same boundary, it *is* that norm; for Darcy's equation it is
    equivalent to it:

    .. math:: \eta = \sqrt{|\nabla e|^2 + c \, |e|^2} \qquad
              \min a \, |\nabla e| \le \eta \le \max a \, |\nabla e|

    in norms that are root mean squares over the grid. Paper: Spectral-Refiner,
    https://arxiv.org/abs/2405.17211.

    Args:
        equation: in the units of the data.
        x: its input.
        h: the approximation.
        order: s.
        screen: c >= 0.
        symbol: of the Laplacian: ``stencil`` (second differences) or ``fourier``.
        boundary: ``periodic`` or ``dirichlet``, for all axes or for each.
        lengths: the sides of the box; the unit box by default.

    Shapes:
        - x, h: ``(B, C, *S)``; returns: ``(B,)``

    Example:
        >>> import torch
        >>> from neuralop_irno.equations.equation import LinearEquation
        >>> def minus_laplacian(x, v):
        ...     return (2 * v - v.roll(1, -1) - v.roll(-1, -1)) * v.shape[-1] ** 2
        >>> equation = LinearEquation(minus_laplacian, lambda x: x)
        >>> truth, h = torch.randn(2, 1, 1, 16, dtype=torch.float64)
        >>> estimate = residual_norm(equation, minus_laplacian(None, truth), h)
        >>> gradient = (truth - h).diff(dim=-1, append=(truth - h)[..., :1]) * 16
        >>> torch.allclose(estimate, gradient.square().mean().sqrt())
        True
    """
    domain = GridDomain.of(h, lengths)
    bound = equation.bind(x.double(), domain)
    return HomogeneousNorm(order, screen, symbol, boundary)(bound(h.double()), domain)
