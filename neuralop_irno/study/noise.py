"""Data sets with noise added to their inputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from neuralop_irno.training.batches import Sample


class Noisy(Dataset[Any]):
    """A data set with white noise added to its inputs, the same in every access to a sample.

    Args:
        data: a data set of dicts or graphs with x.
        size: noise level, in units of each channel's standard deviation.

    Example:
        >>> from neuralop_irno.data.fields import FieldDataset
        >>> data = FieldDataset(torch.randn(4, 1, 8), torch.zeros(4, 1, 8))
        >>> noisy, quiet = Noisy(data, 0.1), Noisy(data, 0.0)
        >>> torch.equal(noisy[2]["x"], data[2]["x"]), torch.equal(quiet[2]["x"], data[2]["x"])
        (False, True)
    """

    def __init__(self, data: Dataset[Sample], size: float) -> None:
        self.data, self.size = data, size
        self.spread = self._spread()

    def __repr__(self) -> str:
        return f"Noisy({self.data}, size={self.size:g})"

    def __len__(self) -> int:
        return len(self.data)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Any:
        sample: Any = self.data[index]
        x: Tensor = sample["x"]
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(index))
        if isinstance(sample, dict):
            spread = self.spread.reshape(-1, *[1] * (x.dim() - 1))
            return {**sample, "x": x + self.size * spread * noise}
        changed = sample.clone()  # graphs keep channels last
        changed["x"] = x + self.size * self.spread * noise
        return changed

    def _spread(self) -> Tensor:
        """The standard deviation of each channel over all samples, ``(C,)``."""
        count, mean, squares = 0, torch.zeros(()).double(), torch.zeros(()).double()
        for index in range(len(self)):  # one sample at a time, for data sets that are not in memory
            sample: Any = self.data[index]
            x = (sample["x"] if isinstance(sample, dict) else sample["x"].T).flatten(1).double()
            points, own = x.shape[1], x.mean(1)
            weight = points / (count + points)
            # Sum squares around each part's mean: plain squares lose precision if the mean is large.
            squares = squares + (x - own[:, None]).square().sum(1) + count * weight * (own - mean).square()
            mean = mean + weight * (own - mean)
            count += points
        return (squares / (count - 1)).sqrt().float()
