"""Normal noise on any domain, from a seed for each sample."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.draws import integers, mixed


def seeds(samples: int, device: torch.device) -> Tensor:
    """A seed for each sample, ``(samples,)``, from torch's generator, drawn in order; see also `drawn_for`.

    After the same ``torch.manual_seed`` a batch gets the seeds that its samples get in a loop.
    """
    return integers(2**62, samples).to(device)


def normal(domain: Domain, like: Tensor, seeds: Tensor, draw: Tensor) -> Tensor:
    """Standard normal numbers, laid out like a field.

    A number depends only on the seed of its sample, the number of the draw, and its position in the sample:
    it is a hash of the three (splitmix64), made normal by the Box-Muller transform.

    Args:
        domain: the domain of the field.
        like: the field.
        seeds: the seed of each sample, ``(samples,)``.
        draw: the number of the draw of each sample, ``(samples,)``.

    Example:
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> field = torch.zeros(2, 1, 4)
        >>> pair = normal(GridDomain.of(field), field, torch.tensor([3, 3]), torch.tensor([0, 0]))
        >>> torch.equal(pair[0], pair[1])
        True
    """
    start = domain.spread(mixed(mixed(seeds) + draw), like)
    numbers = mixed(start + domain.places(like))
    # Two numbers of 24 of the 64 bits; the first is never zero, for the logarithm.
    first = ((numbers >> 40) & 0xFFFFFF).to(torch.float32).add(1) / 2**24
    second = ((numbers >> 8) & 0xFFFFFF).to(torch.float32) / 2**24
    return ((-2 * first.log()).sqrt() * (2 * math.pi * second).cos()).to(like.dtype)


def fresh(domain: Domain, like: Tensor) -> Tensor:
    """Standard normal numbers, laid out like a field, from newly drawn seeds."""
    drawn = seeds(domain.samples, like.device)
    return normal(domain, like, drawn, torch.zeros_like(drawn))
