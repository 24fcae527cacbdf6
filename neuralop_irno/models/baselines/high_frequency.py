"""High-frequency scaling: learnable weights for the mean of a feature map's patches and the deviations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neuralop_irno.errors import expected


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
        if patch < 1:
            raise ValueError(expected("patch >= 1", patch, "patch=1"))
        self.patch = patch
        self.low = nn.Parameter(torch.ones(channels))
        self.high = nn.Parameter(torch.ones(channels))

    def forward(self, field: Tensor) -> Tensor:
        sizes = field.shape[2:]
        if any(size % self.patch for size in sizes):
            raise ValueError(
                expected(
                    f"sizes that patches of {self.patch} divide", tuple(sizes), "a patch that divides them"
                )
            )
        cut = [part for size in sizes for part in (size // self.patch, self.patch)]
        patches = field.reshape(*field.shape[:2], *cut)
        common = patches.mean(list(range(2, patches.dim(), 2)), keepdim=True)
        low, high = (scale.reshape(-1, *[1] * len(cut)) for scale in (self.low, self.high))
        return (patches + low * common + high * (patches - common)).reshape(field.shape)
