"""The domain of a field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain


def domain_of(field: Tensor, known: Mapping[str, Any]) -> Domain:
    """The domain of a field: `GridDomain` for ``(B, C, *S)``, `GraphDomain` for ``(N, C)``.

    Args:
        field: the field.
        known: the other entries of the sample by name; see `GraphDomain.of`. Not read for grids.

    Example:
        >>> import torch
        >>> domain_of(torch.zeros(3, 1), {"batch": torch.tensor([0, 0, 1])}).samples
        2
    """
    return GridDomain.of(field) if field.dim() > 2 else GraphDomain.of(field, known)
