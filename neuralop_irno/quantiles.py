"""Medians and other quantiles, by one definition for tables, files, pages and pictures."""

from __future__ import annotations

import torch
from torch import Tensor


def quantile(values: Tensor, share: float, dim: int = 0) -> Tensor:
    """The quantile of the values along a dimension, between neighbours by a straight line.

    The median, ``share=0.5``, of an even number of values is the mean of the two in the middle. NaN are left
    out; infinite values are the largest, and a quantile next to one is infinite.

    Args:
        values: numbers.
        share: from 0, the smallest, to 1, the largest.
        dim: the dimension, which the result lacks.

    Returns:
        in double precision; nan where there is no value.

    Example:
        >>> quantile(torch.tensor([4.0, 1.0, 2.0, float("nan"), 3.0]), 0.5)
        tensor(2.5000, dtype=torch.float64)
        >>> quantile(torch.tensor([1.0, float("inf"), float("inf")]), 0.75)
        tensor(inf, dtype=torch.float64)
    """
    ranked = values.double().movedim(dim, 0).sort(0).values  # NaN come last
    if not len(ranked):
        return torch.full(ranked.shape[1:], torch.nan, dtype=torch.float64, device=values.device)
    last = ((~ranked.isnan()).sum(0, keepdim=True) - 1).clamp(min=0)
    place = share * last.double()
    below, above = (ranked.gather(0, end.long())[0] for end in (place.floor(), place.ceil()))
    part = (place - place.floor())[0]
    # Not below + part (above - below), which is nan between two infinite values.
    return torch.where(below == above, below, below * (1 - part) + above * part)
