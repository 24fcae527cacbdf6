"""Training, validation and test sets: built from a config, or one after the other by a generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from neuralop_irno.data.fields import Splits
from neuralop_irno.errors import expected
from neuralop_irno.registry import DATASETS, Part

SPLITS = ("train", "valid", "test")
"""Names of the data sets, in the order in which options give their sizes."""

Data = TypeVar("Data")


def load_splits(config: Mapping[str, Any] | str | Part) -> Splits:
    """The training, validation and test set of a config such as ``{"name": "turbulence", "size": 32}``.

    Example:
        >>> splits = load_splits({"name": "burgers", "trajectories": [2, 1, 1], "frames": 3, "size": 16})
        >>> {name: len(data) for name, data in splits.items()}
        {'train': 4, 'valid': 2, 'test': 2}
    """
    part = config if isinstance(config, Part) else DATASETS.part(config)
    splits: Splits = part.build()
    for split, data in splits.items():
        if not len(data):
            wanted = f"samples in the {split} split of {part.what}"
            raise ValueError(expected(wanted, "none", "a larger data set"))
    return splits


def parts_of(name: str, counts: Sequence[int], total: int) -> dict[str, range]:
    """Indices for each split: the first samples for training, the next for validation, the last for test.

    Args:
        name: what is counted, for errors.
        counts: numbers of samples for training, validation and test.
        total: samples in the file.

    Example:
        >>> parts_of("samples", (4, 1, 2), total=10)
        {'train': range(0, 4), 'valid': range(4, 5), 'test': range(8, 10)}
    """
    if sum(counts) > total:
        raise ValueError(expected(f"at most {total} {name} in all", list(counts), f"fewer {name}"))
    train, valid, test = counts
    places = range(train), range(train, train + valid), range(total - test, total)
    return dict(zip(SPLITS, places, strict=True))


def by_split(make: Callable[[int, int], Data], counts: Sequence[int]) -> dict[str, Data]:
    """One data set for each split.

    Args:
        make: from the index of the split, which its seed depends on, and the number of samples.
        counts: numbers of samples for training, validation and test.

    Example:
        >>> by_split(lambda place, count: [place] * count, (3, 1, 2))
        {'train': [0, 0, 0], 'valid': [1], 'test': [2, 2]}
    """
    numbered = enumerate(zip(SPLITS, counts, strict=True))
    return {split: make(place, count) for place, (split, count) in numbered}
