"""Batches of a training set in seeded order, from any batch on: a resumed run gets the same ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from neuralop_irno.base.pyg import collate_graphs, graph_among
from neuralop_irno.errors import expected

Sample = dict[str, Any]

NUMBERS = 2**22
"""The most numbers in one batch of evaluation."""


class Numbered(Dataset[tuple[int, Sample]]):
    """A dataset of pairs (index, sample)."""

    def __init__(self, dataset: Dataset[Sample]) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> tuple[int, Sample]:
        return index, self.dataset[index]


def epoch_order(samples: int, batch_size: int, seed: int, epoch: int) -> tuple[Tensor, ...]:
    """The sample numbers of every batch of an epoch; a last, smaller batch is kept.

    Example:
        >>> [len(batch) for batch in epoch_order(10, 4, seed=0, epoch=3)]
        [4, 4, 2]
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(samples, generator=generator).split(batch_size)


def load(dataset: Dataset[Sample], order: Sequence[Tensor]) -> Iterator[tuple[Tensor, Sample]]:
    """The batches of an order: sample numbers, and the collated sample."""
    batches = [index.tolist() for index in order]
    # Without its own generator the loader would draw from the global one and change a resumed run.
    generator = torch.Generator()
    return iter(
        DataLoader(Numbered(dataset), batch_sampler=batches, collate_fn=_collate, generator=generator)
    )


def load_all(dataset: Dataset[Sample], batch_size: int | None = None) -> Iterator[tuple[Tensor, Sample]]:
    """Every sample once, in order; the batch size is that of `at_a_time` by default."""
    size = at_a_time(dataset) if batch_size is None else batch_size
    return load(dataset, torch.arange(len(cast(Sized, dataset))).split(size))


def at_a_time(dataset: Dataset[Sample], most: int = 64) -> int:
    """The batch size of an evaluation: at most ``most``, and smaller for large samples.

    Example:
        >>> at_a_time([{"x": torch.zeros(3, 32, 32)}]), at_a_time([{"x": torch.zeros(3, 720, 1440)}])
        (64, 1)
    """
    sample: Any = dataset[0]
    if not isinstance(sample, dict) and not hasattr(sample, "to_dict"):
        got = type(sample).__name__
        raise TypeError(expected("samples as dicts, or graphs, with x and y", got, "{'x': x, 'y': y}"))
    fields = sample.values() if isinstance(sample, dict) else sample.to_dict().values()
    numbers = sum(field.numel() for field in fields if isinstance(field, Tensor))
    return max(1, min(most, NUMBERS // max(numbers, 1)))


def _collate(pairs: list[tuple[int, Sample]]) -> tuple[Tensor, Sample]:
    numbers, samples = zip(*pairs, strict=True)
    if graph_among(samples, {}) is None:
        return torch.tensor(numbers), default_collate(list(samples))
    return torch.tensor(numbers), collate_graphs(samples)


def of_graphs(dataset: Dataset[Sample]) -> bool:
    """Whether the samples of a data set are graphs."""
    return bool(len(cast(Sized, dataset))) and graph_among([dataset[0]], {}) is not None


def refuse_empty(**sets: Dataset[Sample] | None) -> None:
    """Refuse data sets without samples, by their names.

    Example:
        >>> refuse_empty(training=[])
        Traceback (most recent call last):
        ...
        ValueError: expected at least one training sample, got an empty data set; try a data set with samples
    """
    for name, data in sets.items():
        if data is not None and not len(cast(Sized, data)):
            raise ValueError(
                expected(f"at least one {name} sample", "an empty data set", "a data set with samples")
            )


def draw_roll(field: Tensor, periodic: Sequence[bool]) -> list[int]:
    """Draw the shift of a batch along each spatial axis: random on periodic axes, 0 on others."""
    return [
        int(torch.randint(n, ())) if closed else 0
        for n, closed in zip(field.shape[2:], periodic, strict=True)
    ]


def roll(field: Tensor, amounts: Sequence[int]) -> Tensor:
    """A field ``(B, C, *S)`` moved along its spatial axes."""
    if not any(amounts):
        return field
    return field.roll(list(amounts), dims=list(range(2, 2 + len(amounts))))
