"""Normal noise from a generator per sample: the same numbers alone, in any batch, and at any later call."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain

MULTIPLIERS = (-4658895280553007687, -7723592293110705685)  # of splitmix64, as signed numbers
INCREMENT = -7046029254386353131


def seeds(samples: int, device: torch.device) -> Tensor:
    """A seed for each sample from torch's generator, one after the other, ``(samples,)``.

    After one ``torch.manual_seed`` a batch therefore gets the seeds that its samples get in a loop.
    """
    return torch.randint(2**62, (samples,)).to(device)


def normal(domain: Domain, like: Tensor, seeds: Tensor, draw: Tensor) -> Tensor:
    """Standard normal numbers, laid out like a field.

    A number depends on the seed of its sample, on which draw it is, and on its place in the sample, and on
    nothing else: it is a hash of the three (splitmix64), made normal by the Box-Muller transform.

    Args:
        domain: where the field lives.
        like: the field.
        seeds: of each sample, ``(samples,)``.
        draw: the number of the draw of each sample, ``(samples,)``.

    Example:
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> field = torch.zeros(2, 1, 4)
        >>> pair = normal(GridDomain.of(field), field, torch.tensor([3, 3]), torch.tensor([0, 0]))
        >>> torch.equal(pair[0], pair[1])
        True
    """
    start = domain.spread(_mixed(_mixed(seeds) + draw), like)
    numbers = _mixed(start + domain.places(like))
    # 24 and 24 of the 64 bits, the first kept from zero for the logarithm.
    first = ((numbers >> 40) & 0xFFFFFF).to(torch.float32).add(1) / 2**24
    second = ((numbers >> 8) & 0xFFFFFF).to(torch.float32) / 2**24
    return ((-2 * first.log()).sqrt() * (2 * math.pi * second).cos()).to(like.dtype)


def _mixed(numbers: Tensor) -> Tensor:
    """One round of splitmix64, in 64-bit integers that wrap around."""
    numbers = numbers + INCREMENT
    for shift, multiplier in zip((30, 27), MULTIPLIERS, strict=True):
        numbers = (numbers ^ _shifted(numbers, shift)) * multiplier
    return numbers ^ _shifted(numbers, 31)


def _shifted(numbers: Tensor, places: int) -> Tensor:
    """To the right, with zeros from the left: torch's own shift keeps the sign."""
    return (numbers >> places) & ((1 << (64 - places)) - 1)
