"""WDSR: super-resolution with wide activations, configured as in SuperBench."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from neuralop_irno.errors import check_least

RESIDUAL_SCALE = 0.1
"""Factor of each block's output; it keeps a deep stack without norms trainable."""


class WDSR(nn.Module):
    r"""WDSR (https://arxiv.org/abs/1808.08718): output ``factor`` times as fine as x.

    .. math:: y = \text{shuffle}(\text{tail}(B_n \cdots B_1 \, \text{head}(x)) + \text{skip}(x))
              \qquad B(v) = v + 0.1 \, W_2 \, \text{relu}(W_1 v)

    Channels widen before the activation and narrow after it. The shuffle lays s^2 channels out as s x s
    cells. All kernels are weight-normalised, and every convolution is periodic along both axes. Expects
    normalised fields.

    Args:
        in_channels: channels of x.
        out_channels: channels of the output.
        factor: s, how many times as fine the output is along each axis.
        width: channels between the blocks.
        blocks: n, the number of blocks.

    Shapes:
        - x: ``(B, in_channels, H, W)``
        - returns: ``(B, out_channels, s H, s W)``

    Example:
        >>> import torch
        >>> WDSR(3, 3, factor=8, width=4, blocks=1)(torch.randn(1, 3, 5, 6)).shape
        torch.Size([1, 3, 40, 48])
    """

    def __init__(
        self, in_channels: int, out_channels: int, factor: int = 8, width: int = 32, blocks: int = 18
    ) -> None:
        super().__init__()
        check_least(1, 8, factor=factor)
        self.in_channels, self.out_channels, self.factor = in_channels, out_channels, factor
        self.head = _convolution(in_channels, width)
        self.blocks = nn.Sequential(*(_WideBlock(width) for _ in range(blocks)))
        self.tail = _convolution(width, out_channels * factor**2)
        self.skip = _convolution(in_channels, out_channels * factor**2, size=5)

    def forward(self, x: Tensor) -> Tensor:
        deep = self.tail(self.blocks(self.head(x)))
        return F.pixel_shuffle(deep + self.skip(x), self.factor)


class _WideBlock(nn.Module):
    """Widen by four, activate, narrow; add `RESIDUAL_SCALE` times the result to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.widen = _convolution(width, 4 * width)
        self.narrow = _convolution(4 * width, width)

    def forward(self, field: Tensor) -> Tensor:
        update: Tensor = self.narrow(F.relu(self.widen(field)))
        return field + RESIDUAL_SCALE * update


def _convolution(inputs: int, outputs: int, size: int = 3) -> nn.Module:
    kernel = nn.Conv2d(inputs, outputs, size, padding=size // 2, padding_mode="circular")
    return weight_norm(kernel)
