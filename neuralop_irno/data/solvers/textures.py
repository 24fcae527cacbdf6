"""Random textures, to be reconstructed from a part of their pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from neuralop_irno.data.masked import MaskedImages
from neuralop_irno.data.sizes import fits, seed_of, three, whole
from neuralop_irno.data.splits import by_split
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.registry import DATASETS


@DATASETS.register("masked_textures")
def masked_textures(
    samples: Sequence[int] = (512, 64, 128),
    size: int = 16,
    share: float = 0.75,
    cell: int = 1,
    seed: int = 0,
) -> dict[str, MaskedImages]:
    """Periodic grey textures y, and x, the same with black cells; see `textures`.

    Args:
        samples: numbers of textures for training, validation and test.
        size: points per side.
        share: the part of the cells that is black.
        cell: points of a side of a cell.
        seed: seed of textures and cells.
    """
    counts = three("samples", samples, (512, 64, 128))
    seed_of(seed)
    fits(4.0 * sum(counts) * whole("size", size, least=4, most=4096) ** 2)
    grid = Resolution(cells=[size, size], layout="periodic")

    def made(place: int, count: int) -> MaskedImages:
        own = 3 * seed + place
        return MaskedImages(textures(count, size, own), share, cell, own % 2**32, resolution=grid)

    return by_split(made, counts)


def textures(count: int, size: int, seed: int) -> Tensor:
    r"""Gaussian random fields with a grain, saturated to the range from 0 to 1:

    .. math:: y = \tfrac12 (1 + \tanh 2u), \qquad
              \hat u(k) \propto \bigl(1 + (k_1 / a_1)^2 + (k_2 / a_2)^2\bigr)^{-2} \xi(k)

    with white noise :math:`\xi`, u of mean 0 and deviation 1, wavenumbers along and across a random
    direction, and scales :math:`a_1` from 1 to 2 and :math:`a_2` from 2 to 8, all drawn for each texture.

    Args:
        count: number of textures.
        size: points per side.
        seed: seed of all draws.

    Shapes:
        - returns: ``(count, 1, size, size)``

    Example:
        >>> y = textures(2, 16, seed=0)
        >>> y.shape, bool((y > 0).all() and (y < 1).all())
        (torch.Size([2, 1, 16, 16]), True)
    """
    draw = torch.Generator().manual_seed(seed)
    angle = math.pi * torch.rand(count, 1, 1, generator=draw)
    scales = [low + (high - low) * torch.rand(count, 1, 1, generator=draw) for low, high in ((1, 2), (2, 8))]
    number = torch.fft.fftfreq(size, 1 / size)
    down, right = torch.meshgrid(number, number, indexing="ij")
    along = angle.cos() * down + angle.sin() * right
    across = angle.cos() * right - angle.sin() * down
    power = (1 + (along / scales[0]).square() + (across / scales[1]).square()) ** -2
    noise = torch.fft.fft2(torch.randn(count, size, size, generator=draw))
    field = torch.fft.ifft2(power * noise).real
    field = field - field.mean((1, 2), keepdim=True)
    field = field / field.std((1, 2), keepdim=True)
    return (0.5 * (1 + torch.tanh(2 * field)))[:, None]
