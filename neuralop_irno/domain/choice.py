"""Which domain a field lives on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain


def domain_of(field: Tensor, known: Mapping[str, Any]) -> Domain:
    """A grid for fields ``(B, C, *S)``, points for fields ``(N, C)``.

    Args:
        field: whose domain is wanted.
        known: what a sample holds besides, under its names; see `GraphDomain.of`.

    Example:
        >>> import torch
        >>> domain_of(torch.zeros(3, 1), {"batch": torch.tensor([0, 0, 1])}).samples
        2
    """
    return GridDomain.of(field) if field.dim() > 2 else GraphDomain.of(field, known)
