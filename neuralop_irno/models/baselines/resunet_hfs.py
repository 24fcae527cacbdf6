"""A residual U-Net whose feature maps pass through high-frequency scaling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralop_irno.errors import check_choice, check_least, expected

PADDINGS: dict[str, Literal["zeros", "circular", "replicate", "reflect"]] = {
    "zero": "zeros",
    "circular": "circular",
    "replicate": "replicate",
    "reflect": "reflect",
}
"""This package's names of padding modes, mapped to torch's."""


class ResUNetHFS(nn.Module):
    """Residual blocks at ``len(features) + 1`` resolutions, joined by skips, each followed by a scaling.

    Patches halve with the grid, so that they cover the same part of the domain at every level; on the
    coarsest grid a patch is a single cell.

    Args:
        in_channels: channels of x.
        out_channels: channels of the output.
        features: channels of each level, the finest first.
        bottleneck: channels of the coarsest grid.
        padding: ``zero`` (as published), ``circular``, ``replicate`` or ``reflect``.
        scaling: whether to apply high-frequency scaling; False gives the plain network for comparison.

    Shapes:
        - x: ``(B, in_channels, H, W)``, H and W multiples of ``2 ** len(features)``
        - returns: ``(B, out_channels, H, W)``

    Example:
        >>> ResUNetHFS(2, 1, features=(4, 8), bottleneck=8)(torch.randn(1, 2, 8, 12)).shape
        torch.Size([1, 1, 8, 12])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        features: Sequence[int] = (32, 64, 64, 128, 128),
        bottleneck: int = 256,
        padding: str = "zero",
        scaling: bool = True,
    ) -> None:
        super().__init__()
        check_choice("a padding mode", padding, PADDINGS)
        if not features:
            raise ValueError(expected("features of at least one level", list(features), "[32, 64]"))
        self.in_channels, self.out_channels = in_channels, out_channels
        self.stride = 2 ** len(features)
        patches = [self.stride // 2**level for level in range(1, len(features) + 1)]
        inputs = [in_channels, *features[:-1]]
        above = [*features[1:], bottleneck]

        def scaled(block: nn.Module, channels: int, patch: int) -> nn.Module:
            return nn.Sequential(block, HighFrequencyScaling(channels, patch)) if scaling else block

        self.encoders = nn.ModuleList(
            scaled(_ResidualBlock(i, o, padding, nn.GroupNorm(1, o), nn.GroupNorm(1, o)), o, patch)
            for i, o, patch in zip(inputs, features, patches, strict=True)
        )
        middle = _ResidualBlock(
            features[-1], bottleneck, padding, nn.GroupNorm(1, bottleneck), nn.GroupNorm(1, bottleneck)
        )
        self.bottleneck = scaled(middle, bottleneck, 1)
        self.refine = nn.ModuleList(
            nn.ConvTranspose2d(coarse, o, 2, stride=2) for coarse, o in zip(above, features, strict=True)
        )
        self.decoders = nn.ModuleList(
            scaled(_ResidualBlock(2 * o, o, padding, nn.BatchNorm2d(o), nn.BatchNorm2d(o)), o, patch)
            for o, patch in zip(features, patches, strict=True)
        )
        self.last = nn.Conv2d(features[0], out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        if any(size % self.stride for size in x.shape[2:]):
            wanted = f"sizes that {self.stride} divides"
            raise ValueError(expected(wanted, tuple(x.shape[2:]), "fewer levels in features, or a crop"))
        skips = []
        field = x
        for encoder in self.encoders:
            field = encoder(field)
            skips.append(field)
            field = F.max_pool2d(field, 2)
        field = self.bottleneck(field)
        for level in reversed(range(len(skips))):
            field = torch.cat([self.refine[level](field), skips[level]], 1)
            field = self.decoders[level](field)
        return self.last(field)


class _ResidualBlock(nn.Module):
    """Two rounds of convolution, norm and GELU, plus a pointwise skip connection."""

    def __init__(
        self, inputs: int, outputs: int, padding: str, first_norm: nn.Module, second_norm: nn.Module
    ) -> None:
        super().__init__()
        mode = PADDINGS[padding]
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode=mode), first_norm, nn.GELU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, padding_mode=mode), second_norm, nn.GELU(),
        )  # fmt: skip
        self.around = nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.GroupNorm(1, outputs))

    def forward(self, field: Tensor) -> Tensor:
        return self.body(field) + self.around(field)


class HighFrequencyScaling(nn.Module):
    r"""Cut a feature map into patches; scale their mean and their deviations from it separately.

    .. math:: D = \frac1n \sum_j X_j \qquad X_j \leftarrow X_j + l \, D + u \, (X_j - D)

    D is the mean over the patches, cell by cell; with patches of a single cell it is the mean of the map.
    With u > l, differences between patches are amplified. With l = u = 0 the map is unchanged. Both start
    at 1, as published, so that the layer initially doubles the map.

    Args:
        channels: channels of the map; each has its own l and u.
        patch: cells of a patch along each axis. The map's sizes must be multiples of it.

    Shapes:
        - field and output: ``(B, channels, *S)``

    Example:
        >>> scaling = HighFrequencyScaling(1, patch=1)
        >>> _ = nn.init.zeros_(scaling.low)
        >>> scaling(torch.tensor([[[1.0, 3.0]]])).tolist()  # the mean is 2, and deviations double
        [[[0.0, 4.0]]]
    """

    def __init__(self, channels: int, patch: int) -> None:
        super().__init__()
        check_least(1, 1, patch=patch)
        self.patch = patch
        self.low = nn.Parameter(torch.ones(channels))
        self.high = nn.Parameter(torch.ones(channels))

    def forward(self, field: Tensor) -> Tensor:
        sizes = field.shape[2:]
        if any(size % self.patch for size in sizes):
            wanted = f"sizes that patches of {self.patch} divide"
            raise ValueError(expected(wanted, tuple(sizes), "a patch that divides them"))
        cut = [part for size in sizes for part in (size // self.patch, self.patch)]
        patches = field.reshape(*field.shape[:2], *cut)
        common = patches.mean(list(range(2, patches.dim(), 2)), keepdim=True)
        low, high = (scale.reshape(-1, *[1] * len(cut)) for scale in (self.low, self.high))
        return (patches + low * common + high * (patches - common)).reshape(field.shape)
