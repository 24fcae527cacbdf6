"""Convolutions that keep the grid's size, and norms of fields: the layers of the U-Nets."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from neuralop_irno.domain.convolutions import CONVOLUTIONS, CONVOLVE
from neuralop_irno.domain.padding import pad
from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.lipschitz.norms import OperatorNorm, copies_in_padding, operator_norm_of

LAYOUTS = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d}
"""The memory format of fields and kernels by the number of axes."""

NORMS = ("layer", "group", "instance", "none")


class Convolution(nn.Module):
    """A convolution of width 3 that keeps the grid's size.

    Args:
        inputs: channels of the field.
        outputs: channels of the result.
        modes: padding of each axis.
    """

    def __init__(self, inputs: int, outputs: int, modes: tuple[str, ...]) -> None:
        super().__init__()
        self.modes = modes
        kernel = CONVOLUTIONS[len(modes)](inputs, outputs, kernel_size=3)
        self.weight = nn.Parameter(kernel.weight.detach().to(memory_format=LAYOUTS[len(modes)]))
        self.bias = nn.Parameter(torch.as_tensor(kernel.bias).detach())

    def forward(self, field: Tensor) -> Tensor:
        return self._convolve(field, self.weight, self.bias)

    def part(self, field: Tensor, channels: slice, bias: bool = True) -> Tensor:
        """The convolution of some of the input channels only."""
        return self._convolve(field, self.weight[:, channels], self.bias if bias else None)

    def _convolve(self, field: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        convolve = CONVOLVE[len(self.modes)]
        if set(self.modes) == {"zero"}:  # built into torch's convolutions
            return convolve(field, weight, bias, padding=1)
        return convolve(pad(field, self.modes), weight, bias)


@operator_norm_of.register
def _(layer: Convolution) -> OperatorNorm:
    modes = ["zeros" if mode == "zero" else mode for mode in layer.modes]
    return OperatorNorm(copies=math.prod(copies_in_padding(mode, added=2, reach=2) for mode in modes))


class LayerNorm(nn.LayerNorm):
    """Layer norm over the channels of each cell, without a copy in channels-last memory."""

    def forward(self, field: Tensor) -> Tensor:
        return super().forward(field.movedim(1, -1)).movedim(-1, 1)


class GroupNorm(nn.GroupNorm):
    """Group norm that accepts a single cell, as on the coarse levels of small grids."""

    def forward(self, field: Tensor) -> Tensor:
        return torch.group_norm(field, self.num_groups, self.weight, self.bias, self.eps)


def norm_of(norm: str, channels: int) -> nn.Module:
    """The norm by name: ``layer``, ``group`` (up to 8 groups of channels), ``instance`` or ``none``."""
    if norm == "layer":
        return LayerNorm(channels)
    if norm == "group":
        return GroupNorm(max(g for g in range(1, 9) if channels % g == 0), channels)
    if norm == "instance":
        return GroupNorm(channels, channels)
    if norm == "none":
        return nn.Identity()
    raise ValueError(expected("a norm", repr(norm), did_you_mean(str(norm), NORMS)))
