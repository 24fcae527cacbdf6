"""Images of which a part is black: x is what is left of the image y."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from neuralop_irno.data.sizes import real, seed_of, whole
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.errors import expected


class MaskedImages(Dataset[dict[str, Any]]):
    """Images with black cells, which are drawn for each image once.

    Args:
        images: ``(n, C, H, W)``, in bytes or as numbers from 0 to 1.
        share: the part of the cells that is black, rounded to whole cells.
        cell: points of a side of a cell, which divides those of the image.
        seed: seed of the cells.
        files: the files that the images were read from.
        resolution: what is known of the grid.

    Attributes:
        metric: the metric in which results are reported.

    Shapes:
        - x and y of a sample: ``(C, H, W)``

    Example:
        >>> data = MaskedImages(torch.full((2, 1, 4, 4), 255, dtype=torch.uint8), share=0.75, cell=2)
        >>> data[0]["y"].mean().item(), data[0]["x"].mean().item()
        (1.0, 0.25)
        >>> torch.equal(data[0]["x"], data[0]["x"])
        True
    """

    metric = "mse"

    def __init__(
        self,
        images: Tensor,
        share: float = 0.75,
        cell: int = 1,
        seed: int = 0,
        files: tuple[Path, ...] = (),
        resolution: Resolution | None = None,
    ) -> None:
        self.share, self.cell = real("share", share, most=1.0, zero=True), whole("cell", cell)
        self.seed = seed_of(seed)
        if images.dim() != 4 or any(side % cell for side in images.shape[2:]):
            wanted = f"images (n, C, H, W) with sides that are multiples of {cell}"
            raise ValueError(expected(wanted, tuple(images.shape), "cell=1"))
        self.images, self.files, self.resolution = images, files, resolution or Resolution()
        self.padding = self.resolution.padding

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} images {tuple(self.images.shape[1:])})"

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        stored = self.images[index]
        y = stored / 255 if stored.dtype == torch.uint8 else stored
        return {"x": y * self._kept(index % len(self)), "y": y}

    def _kept(self, index: int) -> Tensor:
        """One at the points of an image that are not black, ``(H, W)``."""
        high, wide = (side // self.cell for side in self.images.shape[2:])
        draw = torch.Generator().manual_seed(len(self) * self.seed + index)
        order = torch.randperm(high * wide, generator=draw)
        kept = torch.ones(high * wide).index_fill(0, order[: round(self.share * high * wide)], 0.0)
        return kept.reshape(high, wide).repeat_interleave(self.cell, 0).repeat_interleave(self.cell, 1)
