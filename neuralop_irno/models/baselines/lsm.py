"""LSM: a U-Net whose levels pass through spectral blocks, in a few latent tokens of each patch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralop_irno.domain.convolutions import CONVOLUTIONS
from neuralop_irno.domain.padding import pad, padding_modes
from neuralop_irno.errors import check_least, expected

POOLINGS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


class LSM(nn.Module):
    r"""Latent spectral model (https://arxiv.org/abs/2301.12664) on grids of one to three dimensions.

    Level l of a U-Net is divided into 2^(levels - l) patches along each axis, so that the coarsest level is
    one patch. A `NeuralSpectralBlock` maps each patch before the levels are joined. Here the norms are over
    all channels of a sample, so that a batch equals its samples (published: batch norm), and coarser fields
    are copied to the finer grid (published: interpolated).

    Every size is accepted: x is continued by its padding, at the end of each axis, to a multiple of
    2^levels, and the answer is cropped.

    Args:
        in_channels: channels of x.
        out_channels: channels of the output.
        dim: 1, 2 or 3.
        width: channels of the finest level, a multiple of ``heads``; doubled at each coarser level but the
            last.
        levels: number of coarser grids.
        tokens: latent tokens of each patch.
        basis: number of sines, and of cosines, of the spectral blocks.
        heads: heads of the attention between cells and tokens.
        padding: ``circular``, ``zero``, ``replicate`` or ``reflect``; one for all axes, or a list.

    Shapes:
        - x: ``(B, in_channels, *S)``
        - returns: ``(B, out_channels, *S)``

    Example:
        >>> LSM(2, 1, width=8, levels=2)(torch.randn(3, 2, 13, 7)).shape
        torch.Size([3, 1, 13, 7])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        width: int = 32,
        levels: int = 4,
        tokens: int = 4,
        basis: int = 12,
        heads: int = 4,
        padding: str | Sequence[str] = "circular",
    ) -> None:
        super().__init__()
        if dim not in CONVOLUTIONS:
            raise ValueError(expected("dim to be 1, 2 or 3", dim, "model_arch: transolver, for points"))
        check_least(1, 4, levels=levels, tokens=tokens, basis=basis, heads=heads)
        if width < 1 or width % heads:
            hint = f"width={max(1, width // heads) * heads}"
            raise ValueError(expected(f"a width that {heads} heads divide", width, hint))
        self.in_channels, self.out_channels, self.dim, self.levels = in_channels, out_channels, dim, levels
        self.modes = padding_modes(padding, dim)
        widths = [width * 2 ** min(level, levels - 1) for level in range(levels + 1)]
        pointwise = CONVOLUTIONS[dim]
        self.lift = pointwise(in_channels, width, kernel_size=1)
        self.encoders = nn.ModuleList(
            _Convolutions(finer, own, self.modes)
            for finer, own in zip([width, *widths[:-1]], widths, strict=True)
        )
        self.spectral = nn.ModuleList(NeuralSpectralBlock(own, tokens, basis, heads) for own in widths)
        self.decoders = nn.ModuleList(
            _Convolutions(own + coarser, own, self.modes) for own, coarser in pairwise(widths)
        )
        self.last = nn.Sequential(
            pointwise(width, 2 * width, kernel_size=1), nn.GELU(), pointwise(2 * width, out_channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        field = self.lift(self._continued(x))
        patch = [size // 2**self.levels for size in field.shape[2:]]
        mapped = []
        for level, (encoder, spectral) in enumerate(zip(self.encoders, self.spectral, strict=True)):
            field = encoder(POOLINGS[self.dim](field, 2) if level else field)
            mapped.append(on_patches(spectral, field, patch))
        answer = mapped.pop()
        for decoder in reversed(self.decoders):
            answer = decoder(torch.cat([mapped.pop(), F.interpolate(answer, scale_factor=2.0)], 1))
        answer = self.last(answer)
        for axis, size in enumerate(x.shape[2:], start=2):
            answer = answer.narrow(axis, 0, size)
        return answer

    def _continued(self, x: Tensor) -> Tensor:
        """x with sizes that are multiples of 2^levels."""
        more = [-size % 2**self.levels for size in x.shape[2:]]
        return pad(x, self.modes, [(0, cells) for cells in more]) if any(more) else x


class NeuralSpectralBlock(nn.Module):
    r"""Cells of a patch to latent tokens, a function of these with a basis of sines and cosines, and back.

    .. math:: T = Q + \text{attention}(Q, K v, V v) \qquad
              T \leftarrow T + \sum_{k=0}^{M-1} a_k \sin(\pi k T / M) + b_k \cos(\pi k T / M) \qquad
              v \leftarrow v + \text{attention}(W v, T, T)

    with learned Q and, for each channel, a and b. The sum is the Fourier series of a function of each
    channel on [-M, M], without its waves of M periods and more. Cells have no order: permuting those of a
    patch permutes the answer.

    Args:
        width: channels of v, a multiple of ``heads``.
        tokens: number of tokens of a patch.
        basis: M.
        heads: heads of both attentions, in which products are not divided by a root.

    Shapes:
        - cells and the output: ``(patches, n, width)``

    Example:
        >>> NeuralSpectralBlock(8, tokens=2, basis=3, heads=2)(torch.randn(4, 9, 8)).shape
        torch.Size([4, 9, 8])
    """

    def __init__(self, width: int, tokens: int, basis: int, heads: int) -> None:
        super().__init__()
        self.heads, self.basis = heads, basis
        self.latent = nn.Parameter(torch.rand(heads, tokens, width // heads) / width)
        self.keys_and_values, self.queries = nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.weight = nn.Parameter(torch.rand(width, 2 * basis) / width)

    def forward(self, cells: Tensor) -> Tensor:
        keys, values = map(self._by_head, self.keys_and_values(cells).chunk(2, -1))
        tokens = self.latent + _attention(self.latent, keys, values)
        tokens = self._by_head(self.transition(tokens.transpose(1, 2).flatten(2)))
        found = _attention(self._by_head(self.queries(cells)), tokens, tokens)
        return cells + found.transpose(1, 2).flatten(2)

    def transition(self, tokens: Tensor) -> Tensor:
        """The function of the tokens, ``(patches, tokens, width)`` to the same."""
        waves = torch.arange(self.basis, dtype=tokens.dtype, device=tokens.device) * (math.pi / self.basis)
        angles = tokens[..., None] * waves
        basis = torch.cat([angles.sin(), angles.cos()], -1)
        return tokens + (basis * self.weight).sum(-1)

    def _by_head(self, cells: Tensor) -> Tensor:
        """``(patches, n, width)`` as ``(patches, heads, n, width / heads)``."""
        return cells.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def on_patches(block: nn.Module, field: Tensor, patch: Sequence[int]) -> Tensor:
    """A field on a grid whose patches were mapped by a block, each apart.

    Args:
        block: from ``(patches, n, C)`` to the same.
        field: ``(B, C, *S)``.
        patch: cells of a patch along each axis, divisors of S.
    """
    axes = range(len(patch))
    cut = [
        part for size, cells in zip(field.shape[2:], patch, strict=True) for part in (size // cells, cells)
    ]
    order = [0, *(2 + 2 * axis for axis in axes), *(3 + 2 * axis for axis in axes), 1]
    parts = field.reshape(*field.shape[:2], *cut).permute(order)  # samples, patches, cells, channels
    mapped = block(parts.reshape(-1, math.prod(patch), field.shape[1])).reshape(parts.shape)
    back = [order.index(axis) for axis in range(len(order))]
    return mapped.permute(back).reshape(field.shape)


def _attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return (queries @ keys.mT).softmax(-1) @ values


class _Convolutions(nn.Module):
    """Convolution of width 3, norm and activation, twice."""

    def __init__(self, inputs: int, outputs: int, modes: tuple[str, ...]) -> None:
        super().__init__()
        self.modes = modes
        kind = CONVOLUTIONS[len(modes)]
        self.first, self.second = kind(inputs, outputs, 3, bias=False), kind(outputs, outputs, 3, bias=False)
        self.first_norm, self.second_norm = nn.GroupNorm(1, outputs), nn.GroupNorm(1, outputs)

    def forward(self, field: Tensor) -> Tensor:
        field = F.relu(self.first_norm(self.first(pad(field, self.modes))))
        return F.relu(self.second_norm(self.second(pad(field, self.modes))))
