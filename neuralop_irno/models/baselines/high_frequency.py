"""High-frequency scaling: what patches of a feature map share, and what tells them apart, weighed anew."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neuralop_irno.errors import expected


class HighFrequencyScaling(nn.Module):
    r"""A feature map cut into patches, its common part and its deviations scaled by themselves.

    .. math:: D = \frac1n \sum_j X_j \qquad X_j \leftarrow X_j + l \, D + u \, (X_j - D)

    D is the mean over the patches, cell by cell: with patches of a single cell it is the mean of the map.
    Where u is above l, what changes from patch to patch grows in proportion. With both at zero the map
    stays as it is. Both start at one, as published: the map is doubled.

    Args:
        channels: of the map; each has its own scales.
        patch: cells of a patch along each axis. The map's sizes have to be multiples of it.

    Shapes:
        - field and answer: ``(B, channels, *S)``

    Example:
        >>> scaling = HighFrequencyScaling(1, patch=1)
        >>> _ = nn.init.zeros_(scaling.low)
        >>> scaling(torch.tensor([[[1.0, 3.0]]])).tolist()  # the mean is 2, and deviations double
        [[[0.0, 4.0]]]
    """

    def __init__(self, channels: int, patch: int) -> None:
        super().__init__()
        if patch < 1:
            raise ValueError(expected("patch >= 1", patch, "patch=1"))
        self.patch = patch
        self.low = nn.Parameter(torch.ones(channels))
        self.high = nn.Parameter(torch.ones(channels))

    def forward(self, field: Tensor) -> Tensor:
        sizes = field.shape[2:]
        if any(size % self.patch for size in sizes):
            raise ValueError(
                expected(f"sizes that patches of {self.patch} divide", tuple(sizes), "a smaller patch")
            )
        cut = [part for size in sizes for part in (size // self.patch, self.patch)]
        patches = field.reshape(*field.shape[:2], *cut)
        common = patches.mean(list(range(2, patches.dim(), 2)), keepdim=True)
        low, high = (scale.reshape(-1, *[1] * len(cut)) for scale in (self.low, self.high))
        return (patches + low * common + high * (patches - common)).reshape(field.shape)
