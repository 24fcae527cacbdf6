"""MgNO: layers that are multigrid cycles with learned stencils."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from neuralop_irno.domain.convolutions import CONVOLUTIONS
from neuralop_irno.domain.padding import padding_modes
from neuralop_irno.errors import check_least, expected
from neuralop_irno.models.multigrid import MultigridCycle


class MgNO(nn.Module):
    r"""MgNO (https://arxiv.org/abs/2310.19809): each layer adds a multigrid cycle to a pointwise map.

    .. math:: v_{i+1} = \text{gelu}(M_i v_i + W_i v_i) \qquad v_0 = P x, \quad y = Q (M_n v_n + W_n v_n)

    The last layer has no activation: with one layer, one channel, P = Q = 1, W = 0 and the textbook's
    stencils, y is one textbook cycle for A y = x from zero. The published network has several channels in
    each cycle and no P and Q; here all levels have ``width`` channels, with ``growth`` coarser ones more. The
    correction ``mgno`` consists of the same cycles.

    Args:
        in_channels: channels of x.
        out_channels: channels of y.
        dim: 1, 2 or 3.
        width: channels of the layers.
        layers: number of layers.
        levels: number of coarser grids.
        cycle: ``V``, or ``W``, which visits each coarser grid twice.
        padding: ``circular``, ``zero``, ``replicate`` or ``reflect``; one for all axes, or a list. On a
            sphere ``[poles, circular]`` or ``[between_poles, circular]``.
        growth: each coarser grid has so many times the channels of the finer one, rounded.
        separable: whether every stencil acts on each channel by itself, and a matrix mixes the channels at
            each point.

    Shapes:
        - x: ``(B, in_channels, *S)``, of any size
        - returns: ``(B, out_channels, *S)``

    Example:
        >>> import torch
        >>> MgNO(2, 1, width=4, layers=2)(torch.randn(3, 2, 13, 7)).shape
        torch.Size([3, 1, 13, 7])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        width: int = 24,
        layers: int = 4,
        levels: int = 3,
        cycle: str = "V",
        padding: str | Sequence[str] = "circular",
        growth: float = 1.0,
        separable: bool = False,
    ) -> None:
        super().__init__()
        if dim not in CONVOLUTIONS:
            raise ValueError(expected("dim to be 1, 2 or 3", dim, "dim=2"))
        check_least(1, 4, width=width, layers=layers)
        self.in_channels, self.out_channels, self.dim = in_channels, out_channels, dim
        pointwise, modes = CONVOLUTIONS[dim], padding_modes(padding, dim)
        self.lift = pointwise(in_channels, width, kernel_size=1)
        self.cycles = nn.ModuleList(
            MultigridCycle(width, modes, levels, cycle, growth, separable) for _ in range(layers)
        )
        self.maps = nn.ModuleList(pointwise(width, width, kernel_size=1) for _ in range(layers))
        self.project = pointwise(width, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        field = self.lift(x)
        for place, (cycle, linear) in enumerate(zip(self.cycles, self.maps, strict=True), 1):
            field = cycle(field) + linear(field)
            if place < len(self.cycles):
                field = F.gelu(field)
        return self.project(field)
