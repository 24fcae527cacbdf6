"""Random numbers of samples that do not depend on how a batch is shared out among processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

import torch
from torch import Tensor

MULTIPLIERS = (-4658895280553007687, -7723592293110705685)  # of splitmix64, as signed numbers
INCREMENT = -7046029254386353131

UNITS = 2**53
"""Uniform numbers are multiples of one part in this many."""


def mixed(numbers: Tensor) -> Tensor:
    """One round of splitmix64, in 64-bit integers that wrap around."""
    numbers = numbers + INCREMENT
    for shift, multiplier in zip((30, 27), MULTIPLIERS, strict=True):
        numbers = (numbers ^ _shifted(numbers, shift)) * multiplier
    return numbers ^ _shifted(numbers, 31)


def _shifted(numbers: Tensor, places: int) -> Tensor:
    """Logical shift to the right: torch's own shift keeps the sign."""
    return (numbers >> places) & ((1 << (64 - places)) - 1)


def key(*numbers: int) -> int:
    """A seed from 0 to 2^63 - 1 for several whole numbers.

    Example:
        >>> key(0, 1) == key(0, 1), key(0, 1) == key(1, 0)
        (True, False)
    """
    hashed = 0
    for number in numbers:
        hashed = (hashed + number + INCREMENT) % 2**64
        for shift, multiplier in zip((30, 27), MULTIPLIERS, strict=True):
            hashed = ((hashed ^ (hashed >> shift)) * multiplier) % 2**64
        hashed ^= hashed >> 31
    return hashed >> 1


class _Draws:
    """The draws for some samples: hashes of the seed, the number of the draw, and that of the sample."""

    def __init__(self, seed: int, numbers: Tensor, made: int = 0) -> None:
        self.seed, self.numbers, self.made = seed, numbers, made

    def hashed(self, samples: int | None) -> Tensor | None:
        """Numbers from 0 to 2^63 - 1, ``(samples,)`` or ``()``; None for other samples than these."""
        self.made += 1
        if samples is not None and samples != len(self.numbers):
            return None
        start = torch.tensor(self.seed + self.made)
        return _shifted(mixed(mixed(start) if samples is None else mixed(start) + self.numbers), 1)


_CURRENT: ContextVar[_Draws | None] = ContextVar("draws", default=None)


@contextmanager
def drawn_for(numbers: Tensor, *seed: int) -> Iterator[None]:
    """Draw numbers in a ``with`` block by the seed and the number of each sample alone.

    A sample gets the same numbers in any batch and process. Outside of such blocks, and for calls with
    another number of samples, they come from torch's generator.

    Args:
        numbers: of the samples of the calls in the block, ``(samples,)``.
        seed: whole numbers: the seed of the training and the number of the update, say.

    Example:
        >>> with drawn_for(torch.tensor([7, 3]), 0):
        ...     both = integers(1000, 2)
        >>> with drawn_for(torch.tensor([3]), 0):
        ...     assert torch.equal(integers(1000, 1), both[1:])
    """
    token = _CURRENT.set(_Draws(key(*seed), numbers))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def integers(high: int, samples: int) -> Tensor:
    """A number from 0 to ``high - 1`` for each sample, ``(samples,)``."""
    found = _hashed(samples)
    return torch.randint(high, (samples,)) if found is None else found % high


def uniform(samples: int) -> Tensor:
    """A number in [0, 1) for each sample, ``(samples,)``, in double precision."""
    found = _hashed(samples)
    return torch.rand(samples, dtype=torch.float64) if found is None else (found % UNITS) / UNITS


def integer(low: int, high: int) -> int:
    """One number from ``low`` to ``high - 1`` for all samples of a batch."""
    found = _hashed(None)
    return int(torch.randint(low, high, ()) if found is None else low + found % (high - low))


def share() -> float:
    """One number in [0, 1) for all samples of a batch."""
    found = _hashed(None)
    return float(torch.rand(()) if found is None else (found % UNITS) / UNITS)


def kept() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Contexts of `torch.utils.checkpoint`: the same draws when a call is computed again."""
    current = _CURRENT.get()
    if current is None:
        return nullcontext(), nullcontext()
    return nullcontext(), _again(_Draws(current.seed, current.numbers, current.made))


@contextmanager
def _again(draws: _Draws) -> Iterator[None]:
    token = _CURRENT.set(draws)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def _hashed(samples: int | None) -> Tensor | None:
    current = _CURRENT.get()
    return None if current is None else current.hashed(samples)
