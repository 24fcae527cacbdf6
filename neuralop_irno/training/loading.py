"""Batches of a training set, loaded ahead by worker processes if the recipe has any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from neuralop_irno.draws import key
from neuralop_irno.training.batches import Sample, collated


class Loader:
    """Loads the batches of one epoch after the other; the order is not that of the workers.

    Args:
        dataset: the training set. Workers get a copy of it; readers of this package open their files anew.
        workers: number of processes that load batches ahead; 0 loads them in this process.
        device: of the model. Batches for a GPU are loaded into pinned memory.
        seed: of the training.

    Example:
        >>> loader = Loader([{"x": torch.ones(1) * number} for number in range(3)], 0, torch.device("cpu"), 0)
        >>> [(index.tolist(), sample["x"].tolist()) for index, sample in loader([torch.tensor([2, 0])], 0)]
        [([2, 0], [[2.0], [0.0]])]
    """

    def __init__(self, dataset: Dataset[Sample], workers: int, device: torch.device, seed: int) -> None:
        self._seed, self._batches = seed, list[list[tuple[int, int]]]()
        self._loader = DataLoader(
            _Seeded(dataset),
            batch_sampler=self._batches,
            collate_fn=collated,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
            # Without its own generator the loader would draw from the global one and change a resumed run.
            generator=torch.Generator(),
        )

    def __call__(self, order: Sequence[Tensor], epoch: int) -> Iterator[tuple[Tensor, Sample]]:
        """The batches of an epoch: sample numbers, and the collated sample.

        Args:
            order: the sample numbers of each batch.
            epoch: its number, on which draws of the data set depend in workers.
        """
        seed = key(self._seed, epoch)
        self._batches[:] = [[(number, seed) for number in index.tolist()] for index in order]
        return iter(self._loader)


class _Seeded(Dataset[tuple[int, Sample]]):
    """Pairs (index, sample); in a worker torch's generator is seeded for each, whichever worker loads it."""

    def __init__(self, dataset: Dataset[Sample]) -> None:
        self.dataset = dataset

    def __getitem__(self, place: tuple[int, int]) -> tuple[int, Sample]:
        index, seed = place
        if get_worker_info() is not None:
            torch.default_generator.manual_seed(key(seed, index))
        return index, self.dataset[index]
