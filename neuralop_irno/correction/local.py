r"""Corrections with kernels of a fixed length: local integrals and derivatives, on any grid of one box.

After https://arxiv.org/abs/2402.16845. A layer is

.. math:: v \mapsto \mathrm{gelu}\Big( W v + \int_{|z| \le r} K(z) \, v(x + z) \, dz + D v \Big) ,

with K a sum of hat functions of |z|, alone and times the direction z/|z|, and D a combination of first
derivatives by central differences. On a finer grid the integral has more points, and the differences are over
shorter lengths: the layer converges to an operator, where a convolution of fixed width in points does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralop_irno.correction.grid import GridCorrection
from neuralop_irno.domain.convolutions import CONVOLVE
from neuralop_irno.errors import expected
from neuralop_irno.registry import CORRECTIONS

PADDINGS = {"circular": "circular", "zero": "constant", "replicate": "replicate", "reflect": "reflect"}


@CORRECTIONS.register("local_no")
class LocalNO(GridCorrection):
    """Local integrals and derivatives in place of the convolutions of a network.

    Args:
        in_channels: channels of x.
        out_channels: channels of h.
        dim: 1, 2 or 3.
        width: channels of the hidden layers.
        layers: number of layers.
        radius: of the integrals, as a fraction of the shortest side of the box.
        rings: hat functions along the radius.
        padding: ``circular``, ``zero``, ``replicate`` or ``reflect``; one for all axes, or a list.

    Example:
        >>> phi = LocalNO(in_channels=2, out_channels=1, width=4, layers=1, radius=0.2)
        >>> phi(torch.randn(1, 2, 20, 16), torch.randn(1, 1, 20, 16)).shape
        torch.Size([1, 1, 20, 16])
    """

    in_errors = "local integrals"
    printed = ("width", "layers", "radius", "padding")
    resolution_free = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        width: int = 16,
        layers: int = 4,
        radius: float = 0.1,
        rings: int = 3,
        padding: str | Sequence[str] = "circular",
    ) -> None:
        super().__init__(in_channels, out_channels, dim, padding)
        for name, count in (("width", width), ("layers", layers), ("rings", rings)):
            if count < 1:
                raise ValueError(expected(f"{name} >= 1", count, f"{name}=4"))
        if not 0 < radius < 0.5:
            raise ValueError(expected("radius above 0, below 0.5", radius, "radius=0.1"))
        if self.across_poles:
            hint = "correction='unet' or 'mgno', or padding=['replicate', 'circular']"
            raise ValueError(expected("a flat grid for local integrals", list(self.padding), hint))
        self.width, self.layers, self.radius, self.rings = width, layers, radius, rings
        self.first = self.pointwise(in_channels + out_channels, width)
        self.points = nn.ModuleList(self.pointwise(width, width) for _ in range(layers))
        kernels = rings * (1 + dim)
        self.integrals = nn.ParameterList(
            torch.randn(width, width, kernels) / math.sqrt(width * kernels) for _ in range(layers)
        )
        self.slopes = nn.ParameterList(
            torch.randn(width, width, dim) * radius / math.sqrt(width * dim) for _ in range(layers)
        )
        self.last = self.last_layer(width)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        v: Tensor = self.first(torch.cat([x, h], 1))
        basis, reach = self._basis(h)
        for point, integral, slope in zip(self.points, self.integrals, self.slopes, strict=True):
            kernel = torch.einsum("oik,k...->oi...", torch.cat([integral, slope], -1), basis)
            v = F.gelu(point(v) + CONVOLVE[self.dim](self._padded(v, reach), kernel))
        update: Tensor = self.last(v)
        return update

    def _basis(self, h: Tensor) -> tuple[Tensor, list[int]]:
        """The kernels on the grid of h, ``(rings (1 + d) + d, *K)``, and how many cells they reach.

        The integral of every hat over its ball is 1; the hats times a direction are scaled alike. The last d
        kernels are central differences.
        """
        shape, least = h.shape[2:], math.ceil(self.rings / self.radius)
        if min(shape) < least:
            wanted = f"at least {least} cells along each axis, one for each of {self.rings} rings"
            raise ValueError(expected(wanted, tuple(shape), "a larger radius, or fewer rings"))
        cells = [max(1, math.floor(self.radius * n)) for n in shape]
        like: Any = {"device": h.device, "dtype": h.dtype}
        offsets = [torch.arange(-m, m + 1, **like) / n for m, n in zip(cells, shape, strict=True)]
        z = torch.stack(torch.meshgrid(*offsets, indexing="ij"))
        distance = z.square().sum(0).sqrt()
        ring = torch.arange(self.rings, **like).reshape(-1, *[1] * self.dim)
        hats = (1 - (distance * (self.rings / self.radius) - ring).abs()).clamp(min=0)
        hats = hats / hats.flatten(1).sum(1).clamp(min=1e-12).reshape(-1, *[1] * self.dim)
        direction = z / distance.clamp(min=1e-12)
        turned = (hats[:, None] * direction).flatten(0, 1)
        differences = torch.zeros(self.dim, *distance.shape, **like)
        for axis, n in enumerate(shape):
            for side in (-1, 1):
                place = list(cells)
                place[axis] += side
                differences[(axis, *place)] = side * n / 2
        return torch.cat([hats, turned, differences]), cells

    def _padded(self, v: Tensor, reach: Sequence[int]) -> Tensor:
        for axis in reversed(range(self.dim)):
            sides = [0, 0] * (self.dim - 1 - axis) + [reach[axis]] * 2 + [0, 0] * axis
            v = F.pad(v, sides, mode=PADDINGS[self.padding[axis]])
        return v
