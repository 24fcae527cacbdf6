"""Batches of a data set: collated, in any order, and on one grid each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, default_collate

from neuralop_irno.base.layout import Layout
from neuralop_irno.base.pyg import collate_graphs, graph_among
from neuralop_irno.draws import integer
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


def grids_of(dataset: Dataset[Sample]) -> Tensor | None:
    """A number for the grid of each sample, ``(n,)``; None if all samples have one grid, or are graphs.

    The samples of one part of a `ConcatDataset` have one size, that of its first.

    Example:
        >>> coarse, fine = ([{"x": torch.zeros(1, n)}] * 2 for n in (8, 16))
        >>> grids_of(ConcatDataset([coarse, fine]))
        tensor([0, 0, 1, 1])
    """
    shapes = _shapes(dataset)
    known = list(dict.fromkeys(shapes))
    return torch.tensor([known.index(shape) for shape in shapes]) if len(known) > 1 else None


def _shapes(dataset: Any) -> list[Any]:
    """The shape of x in each sample; of data sets without parts nothing."""
    if isinstance(dataset, Subset):
        whole = _shapes(dataset.dataset)
        return [whole[index] for index in dataset.indices] if whole else []
    if not isinstance(dataset, ConcatDataset):
        return []
    found: list[Any] = []
    for part in filter(len, cast(Sequence[Any], dataset.datasets)):
        first = part[0]
        own = [_input_of(first).shape if isinstance(first, dict) else None] * len(part)
        found += _shapes(part) or own
    return found


def load(dataset: Dataset[Sample], order: Sequence[Tensor]) -> Iterator[tuple[Tensor, Sample]]:
    """The batches of an order: sample numbers, and the collated sample."""
    batches = [index.tolist() for index in order]
    # Without its own generator the loader would draw from the global one and change a resumed run.
    generator = torch.Generator()
    return iter(
        DataLoader(Numbered(dataset), batch_sampler=batches, collate_fn=collated, generator=generator)
    )


def load_all(
    dataset: Dataset[Sample], batch_size: int | None = None, numbers: Tensor | None = None
) -> Iterator[tuple[Tensor, Sample]]:
    """Samples in order, each batch on one grid.

    Args:
        dataset: of dicts or graphs.
        batch_size: that of `at_a_time` by default.
        numbers: of the samples; all by default.
    """
    order, grids = torch.arange(len(cast(Sized, dataset))), grids_of(dataset)
    if numbers is not None:
        order, grids = numbers, None if grids is None else grids[numbers]
    runs = [len(order)] if grids is None else grids.unique_consecutive(return_counts=True)[1].tolist()
    each = [
        (run, at_a_time(Subset(dataset, run.tolist())) if batch_size is None else batch_size)
        for run in order.split(runs)
    ]
    return load(dataset, [batch for run, size in each for batch in run.split(size)])


def at_once(model: nn.Module) -> int | None:
    """The batch size of a base without an axis of samples, 1; None for others, which take any."""
    layout = getattr(getattr(model, "base", model), "layout", None)
    alone = isinstance(layout, Layout) and layout.x.names and "B" not in layout.x.names
    return 1 if alone else None


def at_a_time(dataset: Dataset[Sample], most: int = 64) -> int:
    """The batch size of an evaluation: at most ``most``, and smaller for large samples.

    Example:
        >>> at_a_time([{"x": torch.zeros(3, 32, 32)}]), at_a_time([{"x": torch.zeros(3, 720, 1440)}])
        (64, 1)
    """
    return max(1, min(most, NUMBERS // max(numbers_in(dataset[0]), 1)))


def numbers_in(sample: Any) -> int:
    """How many numbers the fields of a sample have.

    Example:
        >>> numbers_in({"x": torch.zeros(3, 4), "name": "first"})
        12
    """
    if not isinstance(sample, dict) and not hasattr(sample, "to_dict"):
        got = type(sample).__name__
        raise TypeError(expected("samples as dicts, or graphs, with x and y", got, "{'x': x, 'y': y}"))
    fields = sample.values() if isinstance(sample, dict) else sample.to_dict().values()
    return sum(field.numel() for field in fields if isinstance(field, Tensor))


def collated(pairs: list[tuple[int, Sample]]) -> tuple[Tensor, Sample]:
    """The numbers of some samples, and the samples as one batch."""
    numbers, samples = zip(*pairs, strict=True)
    if graph_among(samples, {}) is not None:
        return torch.tensor(numbers), collate_graphs(samples)
    shapes = {tuple(_input_of(sample).shape) for sample in samples}
    if len(shapes) > 1:
        wanted, hint = "samples of one size in a data set", "a ConcatDataset of one data set for each size"
        raise ValueError(expected(wanted, " and ".join(map(str, sorted(shapes))), hint))
    return torch.tensor(numbers), default_collate(list(samples))


def _input_of(sample: Sample) -> Tensor:
    """The input field of a sample, or its first tensor if none is called x."""
    tensors = (part for part in (sample.get("x"), *sample.values()) if isinstance(part, Tensor))
    return next(tensors, torch.zeros(()))


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
    return [integer(0, n) if closed else 0 for n, closed in zip(field.shape[2:], periodic, strict=True)]


def roll(field: Tensor, amounts: Sequence[int]) -> Tensor:
    """A field moved along its spatial axes, which are the last ones."""
    if not any(amounts):
        return field
    return field.roll(list(amounts), dims=list(range(-len(amounts), 0)))
