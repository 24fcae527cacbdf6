"""Weights for directions of the space of channels, by what the base leaves of each."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.tuples import TupleDomain
from neuralop_irno.errors import expected

LEAST = 1e-4
"""Floor of the energy of a direction, as a share of that of all."""


def covariance(errors: Iterable[tuple[Tensor, Domain]]) -> Tensor:
    """The mean product of every two channels of some errors, ``(C, C)``.

    Args:
        errors: batches of them with their domains, ``(B, C, *S)`` or on graphs ``(N, C)``.
    """
    grams: list[Tensor] = []
    for error, domain in errors:
        if isinstance(domain, TupleDomain):
            raise ValueError(expected("one field for a loss with balance", "a tuple of fields", "balance=0"))
        grams.extend(domain.gram(error.split(1, 1)))
    found = torch.stack(grams).mean(0)
    if not found.isfinite().all():
        hint = "irno check of the base, and finite y"
        raise ValueError(expected("finite errors of the base for a loss with balance", "others", hint))
    return found


def balancing(covariance: Tensor, power: float) -> Tensor:
    r"""The symmetric root R of weights that are a power of a covariance:

    .. math:: R^2 = c \, \Sigma^{-p}, \qquad c = \frac{\mathrm{tr}\, \Sigma}{\mathrm{tr}\, \Sigma^{1-p}}

    With p = 1 every direction has equal weight; p = 0 is the identity. The sum of the squares of such errors
    is the same with R as without.

    Example:
        >>> root = balancing(torch.diag(torch.tensor([4.0, 1.0])), 0.5)
        >>> (root @ root).round(decimals=2)  # the error of the first channel is twice as large
        tensor([[0.8300, 0.0000],
                [0.0000, 1.6700]])
    """
    energies, directions = torch.linalg.eigh(covariance)
    energies = energies.clamp(min=0)
    if not energies.sum():  # a base without errors
        return torch.eye(len(energies), dtype=energies.dtype, device=energies.device)
    weights = (energies + LEAST * energies.sum()) ** -power
    weights = weights * (energies.sum() / (weights * energies).sum())
    return (directions * weights.sqrt()) @ directions.mT


def turned(root: Tensor, field: Tensor) -> Tensor:
    """R applied to the channels of a field, ``(B, C, *S)`` or ``(N, C)``."""
    return torch.einsum("ij,bj...->bi...", root.to(field.dtype), field)
