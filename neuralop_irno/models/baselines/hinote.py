"""HiNOTE: super-resolution to any grid by sampled features and linear attention."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralop_irno.errors import check_least, expected


class HiNOTE(nn.Module):
    """HiNOTE (https://arxiv.org/abs/2405.12202): super-resolution of a plane to any shape.

    An encoder doubles the grid log2(``factor``) times, by interpolation in space and in Fourier space. Each
    cell of the output reads its four nearest features and its position relative to them. Attention, linear
    in the number of cells, is applied at several resolutions; the result is added to a bilinear
    interpolation of x.

    Args:
        in_channels: channels of x.
        out_channels: channels of the output; must equal ``in_channels``.
        factor: how many times as fine the output is along each axis, if ``forward`` gets no shape.
        features: channels of the encoder.
        width: channels of the attention.
        heads: number of attention heads; must divide the width.
        levels: number of resolutions of the attention, each half the one before.

    Shapes:
        - x: ``(B, in_channels, H, W)``
        - returns: ``(B, in_channels, *shape)``

    Example:
        >>> model = HiNOTE(1, 1, factor=2, features=4, width=8, heads=2)
        >>> x = torch.randn(1, 1, 6, 5)
        >>> model(x).shape, model(x, shape=(9, 17)).shape
        (torch.Size([1, 1, 12, 10]), torch.Size([1, 1, 9, 17]))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        factor: int = 4,
        features: int = 64,
        width: int = 256,
        heads: int = 16,
        levels: int = 2,
    ) -> None:
        super().__init__()
        if in_channels != out_channels:
            wanted = f"out_channels={in_channels}, like x"
            raise ValueError(expected(wanted, out_channels, f"out_channels={in_channels}"))
        check_least(1, 2, factor=factor, levels=levels)
        if width % heads:
            raise ValueError(expected("a width that heads divide", f"{width} and {heads}", "heads=4"))
        self.in_channels, self.out_channels, self.factor = in_channels, out_channels, factor
        self.head = nn.Conv2d(in_channels, features, 3, padding=1)
        self.doublings = nn.ModuleList(_Doubling(features) for _ in range(int(math.log2(factor))))
        self.lift = nn.Conv2d(4 * features + 10, width, 5, padding=2)
        self.attentions = nn.ModuleList(_GalerkinAttention(width, heads) for _ in range(levels))
        self.coarsen = nn.ModuleList(nn.Conv2d(width, width, 3, 2, padding=1) for _ in range(levels - 1))
        self.project = nn.Sequential(nn.Conv2d(width, width, 1), nn.GELU(), nn.Conv2d(width, out_channels, 1))

    def forward(self, x: Tensor, shape: Sequence[int] | None = None) -> Tensor:
        """The fine plane.

        Args:
            x: the coarse plane.
            shape: shape of the output; by default ``factor`` times that of x.
        """
        if shape is None:
            shape = [self.factor * size for size in x.shape[2:]]
        field = self.head(x)
        for doubling in self.doublings:
            field = doubling(field)
        field = self.lift(sample_corners(field, shape))
        joined = torch.zeros_like(field)
        for level, attention in enumerate(self.attentions):
            if level:
                field = self.coarsen[level - 1](without_aliases(field))
            field = attention(field)
            joined = joined + fourier_resize(field, shape)
        detail: Tensor = self.project(joined)
        return F.interpolate(x, size=tuple(shape), mode="bilinear", align_corners=False) + detail


class _Doubling(nn.Module):
    """Double the grid: bilinear interpolation plus a Fourier resize of waves with mapped amplitude, phase."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.amplitude = nn.Sequential(
            nn.Conv2d(channels, channels, 1), nn.GELU(), nn.Conv2d(channels, channels, 1)
        )
        self.phase = nn.Sequential(
            nn.Conv2d(channels, channels, 1), nn.GELU(), nn.Conv2d(channels, channels, 1)
        )
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, field: Tensor) -> Tensor:
        shape = [2 * size for size in field.shape[2:]]
        waves = torch.fft.rfft2(field, norm="ortho")
        amplitude, phase = self.amplitude(waves.abs()), self.phase(waves.angle())
        mapped = torch.fft.irfft2(torch.polar(amplitude, phase), s=field.shape[2:], norm="ortho")
        in_space = F.interpolate(field, size=shape, mode="bilinear", align_corners=False)
        return F.gelu(self.mix(in_space + fourier_resize(mapped, shape)))


class _GalerkinAttention(nn.Module):
    r"""Attention without softmax, :math:`v \mathrel{+}= q (k^T v) / n`: linear in the number of cells n."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Conv2d(width, width, 1) for _ in range(3))
        self.key_norm, self.value_norm = nn.LayerNorm(width // heads), nn.LayerNorm(width // heads)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, field: Tensor) -> Tensor:
        query, key, value = (self._split(part(field)) for part in (self.query, self.key, self.value))
        key, value = self.key_norm(key), self.value_norm(value)
        attended = query @ (key.transpose(-1, -2) @ value) / key.shape[-2]
        back = attended.transpose(-1, -2).reshape(field.shape)
        return field + self.out(back)

    def _split(self, field: Tensor) -> Tensor:
        """``(B, heads, cells, width / heads)``."""
        return field.flatten(2).unflatten(1, (self.heads, -1)).transpose(-1, -2)


def without_aliases(field: Tensor) -> Tensor:
    """GELU without aliasing: applied on a grid twice as fine, then low-passed back to the original grid."""
    fine = fourier_resize(field, [2 * size for size in field.shape[2:]])
    return fourier_resize(F.gelu(fine), field.shape[2:])


def sample_corners(features: Tensor, shape: Sequence[int]) -> Tensor:
    """For every cell of a plane, the four features around its centre.

    Each is weighted by the area share opposite to it, so that the four sum to the bilinear interpolation,
    and followed by its offset in cells. The last channels hold the cell size in cells of the features.

    Args:
        features: ``(B, C, h, w)``, on cells of the same rectangle.
        shape: shape of the plane.

    Shapes:
        - returns: ``(B, 4 C + 10, *shape)``
    """
    rows, columns = (
        _neighbours(old, new, features) for old, new in zip(features.shape[2:], shape, strict=True)
    )
    parts = []
    for row, down, row_weight in rows:
        for column, across, column_weight in columns:
            weight = row_weight[:, None] * column_weight
            corner = features.index_select(2, row).index_select(3, column)
            way = torch.stack(torch.broadcast_tensors(down[:, None], across))
            parts += [corner * weight, way.expand(len(features), -1, -1, -1)]
    ratio = [old / new for old, new in zip(features.shape[2:], shape, strict=True)]
    cell = features.new_tensor(ratio).reshape(1, 2, 1, 1).expand(len(features), 2, *shape)
    return torch.cat([*parts, cell], 1)


def _neighbours(old: int, new: int, like: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Along one axis, for the nearest feature on either side: its index, offset and weight."""
    centre = (torch.arange(new, device=like.device, dtype=like.dtype) + 0.5) * (old / new) - 0.5
    # Beyond the outermost features, extrapolate by the nearest one.
    centre = centre.clamp(0, old - 1)
    first = centre.floor().long().clamp(max=max(old - 2, 0))
    second = (first + 1).clamp(max=old - 1)
    share = centre - first
    return [(first, -share, 1 - share), (second, 1 - share, share)]


def fourier_resize(field: Tensor, shape: Sequence[int]) -> Tensor:
    """Trigonometric interpolation to a finer grid, and a sharp low-pass to a coarser one.

    Refining and then coarsening returns the field. Refining keeps the values where the grids coincide. The
    Nyquist wave stands for a positive and a negative frequency; its amplitude is split between both.

    Args:
        field: ``(B, C, *S)``.
        shape: the new shape, one size per axis of S.

    Shapes:
        - returns: ``(B, C, *shape)``

    Example:
        >>> fourier_resize(torch.tensor([[[1.0, -1.0]]]), [4]).abs().round(decimals=4)
        tensor([[[1., 0., 1., 0.]]])
    """
    for axis, new in enumerate(shape, start=2):
        field = _along(field, axis, new)
    return field


def _along(field: Tensor, axis: int, new: int) -> Tensor:
    old = field.shape[axis]
    if new == old:
        return field
    waves = torch.fft.rfft(field, dim=axis, norm="forward")
    smaller = min(old, new)
    waves = waves.narrow(axis, 0, smaller // 2 + 1)
    if smaller % 2 == 0:
        # Refining splits the Nyquist wave in two; coarsening folds two waves into it.
        last = waves.narrow(axis, smaller // 2, 1) * (0.5 if new > old else 2.0)
        waves = torch.cat([waves.narrow(axis, 0, smaller // 2), last], axis)
    return torch.fft.irfft(waves, n=new, dim=axis, norm="forward")
