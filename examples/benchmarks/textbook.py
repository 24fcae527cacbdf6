"""A direct implementation of the formula: the baseline of the speed benchmarks.

    h_0 = T(x),  h_{k+1} = h_k + alpha * Phi([x, h_k])

Concatenate, convolve, layer norm by permute, the target's FFT at every step, `.item()` at every step.
Same architecture, parameters and results as the package's own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralop_irno import UNet

PADDING = {"circular": "circular", "zero": "zeros"}
"""This package's names of padding modes, mapped to torch's."""


class LayerNorm(nn.Module):
    """Layer norm over channels, by permute."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, field: Tensor) -> Tensor:
        return self.norm(field.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).contiguous()


class DoubleConvolution(nn.Sequential):
    """Two rounds of convolution, layer norm and GELU."""

    def __init__(self, inputs: int, outputs: int, padding_mode: str) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode=padding_mode),
            LayerNorm(outputs),
            nn.GELU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, padding_mode=padding_mode),
            LayerNorm(outputs),
            nn.GELU(),
        )


class TextbookUNet(nn.Module):
    """The U-Net of `neuralop_irno.UNet`, layer by layer."""

    def __init__(
        self, in_channels: int, out_channels: int, width: int, depth: int, padding_mode: str = "circular"
    ) -> None:
        super().__init__()
        channels = [width * 2**level for level in range(depth + 1)]
        inputs = [in_channels + out_channels, *channels[:-1]]
        self.down = nn.ModuleList(
            DoubleConvolution(i, o, padding_mode) for i, o in zip(inputs, channels, strict=True)
        )
        self.narrow = nn.ModuleList(
            nn.Conv2d(2 * c, c, 3, padding=1, padding_mode=padding_mode) for c in channels[:-1]
        )
        self.up = nn.ModuleList(DoubleConvolution(2 * c, c, padding_mode) for c in channels[:-1])
        self.last = nn.Conv2d(width, out_channels, 1)

    def forward(self, joined: Tensor) -> Tensor:
        field = joined
        skips = []
        for level, down in enumerate(self.down):
            field = down(F.avg_pool2d(field, 2) if level else field)
            skips.append(field)
        skips.pop()
        for narrow, up in zip(reversed(self.narrow), reversed(self.up), strict=True):
            field = narrow(F.interpolate(field, scale_factor=2, mode="nearest"))
            field = up(torch.cat([field, skips.pop()], 1))
        return self.last(field)

    def copy_weights(self, ours: UNet) -> None:
        """Copy the weights of the package's U-Net, layer by layer."""
        theirs = [*self.down[0].parameters()]
        for level in range(1, len(self.down)):
            theirs += self.down[level].parameters()
        for level in reversed(range(len(self.up))):
            theirs += [*self.narrow[level].parameters(), *self.up[level].parameters()]
        theirs += self.last.parameters()
        mine = _in_order(ours)
        with torch.no_grad():
            for their, my in zip(theirs, mine, strict=True):
                their.copy_(my)


def _in_order(ours: UNet) -> list[Tensor]:
    def double(block: nn.Module) -> list[Tensor]:
        names = ("first", "first_norm", "second", "second_norm")
        return [p for name in names for p in getattr(block, name).parameters()]

    levels = []
    coarse = ours.coarse
    while coarse is not None:
        levels.append(coarse)
        coarse = coarse.coarser
    result = double(ours.entry)
    for level in levels:
        result += double(level.down)
    for level in reversed(levels):
        result += [*level.narrow.parameters(), *double(level.up)]
    return [*result, *ours.last.parameters()]


def spectral_loss(h: Tensor, y: Tensor, sharpness: float) -> Tensor:
    """The paper's formula on the half spectrum, with Hermitian weights; the target's FFT every time."""
    a = torch.fft.rfft2(h, norm="ortho")
    b = torch.fft.rfft2(y, norm="ortho")
    n, m = h.shape[-2:]
    fx = torch.fft.fftfreq(n, device=h.device)[:, None]
    fy = torch.fft.rfftfreq(m, device=h.device)[None, :]
    rho = 1 + ((2 * fx) ** 2 + (2 * fy) ** 2).sqrt() ** sharpness
    twice = torch.full_like(fy, 2.0)
    twice[:, 0] = 1
    twice[:, -1] = 1
    weight = rho * twice
    return ((a - b).abs() ** 2 * weight).sum((-2, -1)).mean() / weight.sum()


def textbook_update(
    phi: TextbookUNet,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    start: Tensor,
    y: Tensor,
    steps: int,
    alpha: float = 0.2,
    spectral: float = 1.0,
    fixed_point: float = 0.01,
) -> tuple[Tensor, list[float]]:
    """One update of the paper's recipe: unrolled, every step supervised."""
    optimizer.zero_grad()
    h = start
    loss = torch.zeros(())
    log = []
    for k in range(steps):
        h = h + alpha * phi(torch.cat([x, h], 1))
        sharpness = 1.0 + k / max(steps - 1, 1)
        term = F.mse_loss(h, y) + spectral * spectral_loss(h, y, sharpness)
        log.append(term.item())
        loss = loss + term / steps
    loss = loss + fixed_point * phi(torch.cat([x, y], 1)).pow(2).mean()
    loss.backward()
    optimizer.step()
    return h, log


@torch.no_grad()
def textbook_solve(phi: TextbookUNet, x: Tensor, start: Tensor, steps: int, alpha: float = 0.2) -> Tensor:
    """The iteration alone."""
    h = start
    for _ in range(steps):
        update = alpha * phi(torch.cat([x, h], 1))
        update.norm().item()
        h = h + update
    return h
