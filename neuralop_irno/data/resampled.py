"""A data set on another grid of the same box: its fields are brought there by a pair of maps."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any, cast

from torch import Tensor
from torch.utils.data import Dataset

from neuralop_irno.domain.grid import measure_on
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.errors import expected

MOST = 64
"""The largest factor."""


class ResampledPairs(Dataset[dict[str, Any]]):
    """The pairs of a data set with ``factor`` times as many cells along every axis.

    Finer fields are prolonged, which adds no finer structure; coarser ones are restricted, as coarse data are
    made. Since R P = 1, the pairs on a finer grid hold exactly what the original ones hold. The measure of
    cells, if there is one, is interpolated.

    Args:
        data: pairs x and y on grids.
        factor: above 0; 2 for twice as many cells along each axis.
        resolution: how coarse data are made from fine ones.
        periodic: which axes are periodic.

    Example:
        >>> import torch
        >>> data = [{"x": torch.zeros(1, 8), "y": torch.zeros(1, 8)}]
        >>> ResampledPairs(data, 1.5, Resolution(), [True])[0]["y"].shape
        torch.Size([1, 12])
    """

    def __init__(
        self,
        data: Dataset[dict[str, Any]],
        factor: float,
        resolution: Resolution,
        periodic: Sequence[bool] | None = None,
    ) -> None:
        if not 0 < factor <= MOST:
            raise ValueError(expected(f"a factor above 0, up to {MOST}", factor, "2"))
        if not on_grids(data):
            hint = "a data set of other meshes; fields are resampled on grids only"
            raise ValueError(expected("fields on a grid", "fields on points", hint))
        self.data, self.factor, self.resolution, self.periodic = data, factor, resolution, periodic

    def __len__(self) -> int:
        return len(cast(Sized, self.data))

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.data[index]
        moved = {name: self._moved(sample[name]) for name in ("x", "y")}
        if sample.get("measure") is not None:
            moved["measure"] = measure_on(sample["measure"], moved["y"].shape[1:])
        return {**sample, **moved}

    def _moved(self, field: Tensor) -> Tensor:
        old = field.shape[1:]
        new = [self.resolution.scaled(n, self.factor, axis) for axis, n in enumerate(old)]
        fine, coarse = (new, old) if self.factor > 1 else (old, new)
        maps = self.resolution.maps(fine, coarse, self.periodic)
        return (maps.prolong if self.factor > 1 else maps.restrict)(field[None])[0]


def on_grids(data: Dataset[dict[str, Any]]) -> bool:
    """Whether the samples of a data set are fields on grids, ``(C, *S)``."""
    sample: Any = data[0]
    return isinstance(sample, dict) and all(sample[name].dim() > 1 for name in ("x", "y"))
