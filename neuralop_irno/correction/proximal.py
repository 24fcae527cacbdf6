"""A correction that is minus the gradient of a learned convex potential."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralop_irno.correction.correction import Shared
from neuralop_irno.correction.grid import GridCorrection
from neuralop_irno.correction.receptive_field import ReceptiveField
from neuralop_irno.domain.convolutions import CONVOLUTIONS, CONVOLVE, CONVOLVE_TRANSPOSED
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.padding import fold, pad
from neuralop_irno.errors import check_least, expected
from neuralop_irno.lipschitz.norms import kernel_norm, matrix_norm
from neuralop_irno.precision import without_autocast
from neuralop_irno.registry import CORRECTIONS

STEEPEST = 0.25
"""The largest second derivative of softplus."""


class Lifted(NamedTuple):
    """What the potential of one x is computed from.

    Attributes:
        offsets: the offsets c_l(x) of all layers, ``(B, layers * width, *S)``.
        parts: of the potential's weights, the same for all samples.
    """

    offsets: Tensor
    parts: Shared


class Parts(NamedTuple):
    """The weights of the potential: the mixing matrices U_l, the heights w, and the factor in front."""

    mixing: tuple[Tensor, ...]
    heights: Tensor
    factor: Tensor


@CORRECTIONS.register("proximal")
class Proximal(GridCorrection):
    r"""Phi(x, h) = - grad_h f(x, h), with f convex in h and a gradient of Lipschitz constant 1 at most.

    .. math:: f(x, h) = \frac{1}{\max(1, L)} \sum_i w \cdot s(a_n)_i, \qquad
              a_l = W_l * h + c_l(x) + U_l \, s(a_{l-1}), \qquad U_l \ge 0, \; w > 0

    with s the softplus, pointwise U_l, convolutions W_l, and offsets c_l from convolutions of x. f is an
    input-convex network (https://arxiv.org/abs/1609.07152). The columns of U_l sum to 1, so that

    .. math:: L = \tfrac14 \max_i w_i \sum_l n_l^2, \qquad n_l = \|W_l\| + \|U_l\| \, n_{l-1}

    bounds the Hessian for all weights. The step h + Phi(x, h) is thus the gradient of the convex potential
    |h|^2 / 2 - f(x, h) and firmly non-expansive, as a proximal map is:

    .. math:: |T a - T b|^2 \le \langle T a - T b, \, a - b \rangle, \qquad T h = h + \Phi(x, h)

    Fixed points are the minimisers of f. If f has one, the iteration converges to one from any start, for
    every constant alpha in (0, 2), and the norms of Phi never grow. The rate is sublinear in general. Without
    a minimiser the iterates grow without bound. See ``docs/stability.md``.

    Inner products and norms here are sums over the cells. All W_l start at zero, so that an untrained
    correction changes nothing. It commutes with all shifts along periodic axes.

    Args:
        in_channels: channels of x.
        out_channels: channels of h.
        dim: 1, 2 or 3.
        width: channels of each layer.
        layers: n, the layers of the potential.
        kernel: cells of all convolutions along each axis, an odd number.
        padding: ``circular``, ``zero``, ``replicate`` or ``reflect``; one for all axes, or a list.

    Example:
        >>> phi = Proximal(in_channels=2, out_channels=1, dim=1, width=4)
        >>> x, h = torch.randn(1, 2, 12), torch.randn(1, 1, 12)
        >>> phi(x, h).abs().max().item()
        0.0
        >>> _ = nn.init.normal_(phi.kernels)
        >>> a, b = h + phi(x, h), 2 * h + phi(x, 2 * h)
        >>> bool((b - a).square().sum() <= ((b - a) * h).sum())
        True
    """

    in_errors = "a proximal correction"
    printed = ("width", "layers", "kernel", "padding")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        width: int = 32,
        layers: int = 2,
        kernel: int = 5,
        padding: str | Sequence[str] = "circular",
    ) -> None:
        super().__init__(in_channels, out_channels, dim, padding)
        check_least(1, 4, width=width, layers=layers, kernel=kernel)
        if kernel % 2 == 0:
            raise ValueError(expected("an odd kernel", kernel, f"kernel={kernel + 1}"))
        if self.across_poles:
            hint = "correction='unet' or 'mgno', or padding=['replicate', 'circular']"
            raise ValueError(expected("a flat grid for a proximal correction", list(self.padding), hint))
        self.width, self.layers, self.kernel = width, layers, kernel
        self.kernels = nn.Parameter(torch.zeros(layers * width, out_channels, *[kernel] * dim))
        self.mixing = nn.Parameter(torch.randn(layers - 1, width, width))
        # exp(log_heights) = 4: with W of norm 1, curvatures reach 1 where softplus is steepest.
        self.log_heights = nn.Parameter(torch.full((width,), 4.0).log())
        lift = (in_channels, width, width, layers * width)
        self.lift = nn.ModuleList(CONVOLUTIONS[dim](*ends, kernel) for ends in pairwise(lift))

    @property
    def receptive_field(self) -> ReceptiveField:
        reach = self.kernel // 2
        return (reach * (1 + len(self.lift)),) * self.dim

    def prepare(self, x: Tensor, domain: Domain) -> Lifted:
        """The offsets, and the weights with the factor that bounds the Hessian."""
        self.require_domain(domain)
        if x.dim() != self.dim + 2 or x.shape[1] != self.in_channels:
            wanted = f"x of shape (B, {self.in_channels}, {', '.join('n' * self.dim)})"
            raise ValueError(expected(wanted, tuple(x.shape), "dim=<number of axes of x>"))
        first, *others = self.lift
        offsets = first(self._padded(x))
        for layer in others:
            offsets = layer(self._padded(F.gelu(offsets)))
        mixing, heights = tuple(self.mixing.softmax(1)), self.log_heights.exp()
        steepest = STEEPEST * heights.amax() * self._sum_of_squares(mixing)
        return Lifted(offsets, Shared(Parts(mixing, heights, 1 / steepest.clamp(min=1))))

    def forward(self, x: Tensor | Lifted, h: Tensor) -> Tensor:
        """The update at h; x is the input itself or the result of `prepare`."""
        lifted, values = self._values(x, h)
        mixing, heights, factor = lifted.parts.value
        slope = self._of_channels(heights) * torch.sigmoid(values[-1])
        slopes = [slope]
        for value, mix in zip(reversed(values[:-1]), reversed(mixing), strict=True):
            slope = self._mixed(mix.T, slope) * torch.sigmoid(value)
            slopes.insert(0, slope)
        spread = CONVOLVE_TRANSPOSED[self.dim](torch.cat(slopes, 1), self.kernels)
        return fold(spread, self.padding, self._widths) * -factor

    def potential(self, x: Tensor | Lifted, h: Tensor) -> Tensor:
        """f(x, h) of each sample, ``(B,)``: it falls along the iteration."""
        lifted, values = self._values(x, h)
        _, heights, factor = lifted.parts.value
        return factor * (self._of_channels(heights) * F.softplus(values[-1])).flatten(1).sum(1)

    def _values(self, x: Tensor | Lifted, h: Tensor) -> tuple[Lifted, list[Tensor]]:
        """What x is prepared to, and a_1 .. a_n."""
        if h.dim() != self.dim + 2 or h.shape[1] != self.out_channels:
            wanted = f"h of shape (B, {self.out_channels}, {', '.join('n' * self.dim)})"
            raise ValueError(expected(wanted, tuple(h.shape), "out_channels and dim of the data"))
        lifted = x if isinstance(x, Lifted) else self.prepare(x, GridDomain.of(x))
        linear = CONVOLVE[self.dim](self._padded(h), self.kernels) + lifted.offsets
        first, *others = linear.chunk(self.layers, 1)
        values = [first]
        for part, mix in zip(others, lifted.parts.value.mixing, strict=True):
            values.append(part + self._mixed(mix, F.softplus(values[-1])))
        return lifted, values

    def _sum_of_squares(self, mixing: Sequence[Tensor]) -> Tensor:
        """The sum of the squares of n_l, the bounds on the Jacobians of a_l."""
        copies = 1
        for mode in self.padding:  # of one cell, in the padded axis
            copies *= 1 if mode in ("circular", "zero") else self.kernel
        each = self.kernels.to(torch.promote_types(self.kernels.dtype, torch.float32)).chunk(self.layers)
        with without_autocast(self.kernels.device):
            norms = [kernel_norm(kernel) * copies**0.5 for kernel in each]
            size = norms[0]
            total = size.square()
            for norm, mix in zip(norms[1:], mixing, strict=True):
                size = norm + matrix_norm(mix.to(norm.dtype)) * size
                total = total + size.square()
        return total

    @property
    def _widths(self) -> list[tuple[int, int]]:
        return [(self.kernel // 2,) * 2] * self.dim

    def _padded(self, field: Tensor) -> Tensor:
        return pad(field, self.padding, self._widths)

    def _of_channels(self, values: Tensor) -> Tensor:
        return values.reshape(-1, *[1] * self.dim)

    def _mixed(self, matrix: Tensor, field: Tensor) -> Tensor:
        """A matrix applied to the channels of each cell."""
        return CONVOLVE[self.dim](field, matrix.reshape(*matrix.shape, *[1] * self.dim))
