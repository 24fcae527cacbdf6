"""The FNO of SuperBench: bicubic interpolation to the fine grid, then four spectral layers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralop_irno.errors import check_least


class SuperResolutionFNO(nn.Module):
    r"""The FNO of SuperBench (https://arxiv.org/abs/2306.14070): output ``factor`` times as fine as x.

    .. math:: v \leftarrow \text{relu}(F^{-1} R \, F v + W v)

    with a separate matrix R for each of the lowest frequencies, and no activation after the last layer.
    On a grid with fewer frequencies than R has matrices, the surplus matrices are not used.

    Args:
        in_channels: channels of x.
        out_channels: channels of the output.
        factor: how many times as fine the output is along each axis.
        modes: frequencies kept along each axis; along the first axis, this many of each sign.
        width: channels of the layers.
        layers: number of spectral layers.

    Shapes:
        - x: ``(B, in_channels, H, W)``
        - returns: ``(B, out_channels, factor H, factor W)``

    Example:
        >>> SuperResolutionFNO(3, 3, factor=4, modes=4, width=8)(torch.randn(1, 3, 5, 6)).shape
        torch.Size([1, 3, 20, 24])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        factor: int = 8,
        modes: int = 12,
        width: int = 64,
        layers: int = 4,
    ) -> None:
        super().__init__()
        check_least(1, 8, factor=factor)
        self.in_channels, self.out_channels, self.factor = in_channels, out_channels, factor
        self.lift = nn.Linear(in_channels, width)
        self.spectral = nn.ModuleList(_SpectralLayer(width, modes) for _ in range(layers))
        self.pointwise = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(layers))
        self.project = nn.Sequential(
            nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, out_channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        fine = F.interpolate(x, scale_factor=self.factor, mode="bicubic", align_corners=False)
        field = self.lift(fine.movedim(1, -1)).movedim(-1, 1)
        for place, (spectral, pointwise) in enumerate(zip(self.spectral, self.pointwise, strict=True), 1):
            field = spectral(field) + pointwise(field)
            if place < len(self.spectral):
                field = F.relu(field)
        return self.project(field.movedim(1, -1)).movedim(-1, 1)


class _SpectralLayer(nn.Module):
    """One matrix for every low frequency; the half spectrum holds these in two of its corners."""

    def __init__(self, width: int, modes: int) -> None:
        super().__init__()
        self.modes = modes
        shape = (2, width, width, modes, modes)
        self.weight = nn.Parameter(torch.rand(shape, dtype=torch.cfloat) / width**2)

    def forward(self, field: Tensor) -> Tensor:
        rows, columns = field.shape[-2:]
        spectrum = torch.fft.rfft2(field)
        up, across = min(self.modes, rows // 2), min(self.modes, columns // 2 + 1)
        mixed = torch.zeros_like(spectrum)
        corners = ((slice(0, up), slice(0, up)), (slice(rows - up, rows), slice(self.modes - up, self.modes)))
        for matrices, (place, kept) in zip(self.weight, corners, strict=True):
            low = spectrum[:, :, place, :across]
            mixed[:, :, place, :across] = torch.einsum("bihw,iohw->bohw", low, matrices[:, :, kept, :across])
        return torch.fft.irfft2(mixed, s=(rows, columns))
