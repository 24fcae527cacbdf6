"""Small least-squares problems, one per sample, with fields as columns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain


def fit(domain: Domain, columns: Sequence[Tensor], target: Tensor, valid: Tensor) -> Tensor:
    r"""For each sample the weights :math:`\gamma` that minimise :math:`\|t - \sum_j \gamma_j c_j\|`.

    Solved by a QR factorisation of the columns in the given order. A column whose part orthogonal to those
    before it is smaller than the square root of the machine precision times the column is left out. The
    rule is relative, so that the weights do not change when all fields are multiplied by one number.

    Args:
        domain: the domain of the fields.
        columns: c_j, in the order of the factorisation.
        target: t.
        valid: the columns that each sample uses, as a mask ``(samples, len(columns))``.

    Shapes:
        - columns, target: fields
        - returns: ``(samples, len(columns))``, 0 where a column is not used

    Example:
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> a, b = torch.randn(2, 3, 1, 8, dtype=torch.float64)
        >>> weights = fit(GridDomain.of(a), [a, b], 2 * a - b, torch.ones(3, 2, dtype=torch.bool))
        >>> torch.allclose(weights, torch.tensor([2.0, -1.0], dtype=torch.float64))
        True
    """
    negligible = torch.finfo(target.dtype).eps
    zero = target.new_zeros(domain.samples)
    basis: list[Tensor] = []
    kept: list[Tensor] = []
    upper: list[list[Tensor]] = []  # by column; not written in place, which would break autograd
    for j, column in enumerate(columns):
        rest, along = column, []
        for direction in basis:
            along.append(domain.inner(direction, rest))
            rest = rest - domain.spread(along[-1], rest) * direction
        left = domain.inner(rest, rest)
        keep = valid[:, j] & (left > negligible * domain.inner(column, column)) & left.isfinite()
        # The gradient of the root is infinite at zero: skip columns that are left out.
        length = torch.where(keep, left, 1.0).sqrt()
        basis.append(torch.where(domain.spread(keep, rest), rest / domain.spread(length, rest), 0.0))
        kept.append(keep)
        # A column that is left out gets the weight zero and must not change the other weights.
        along = [torch.where(keep, entry, 0.0) for entry in along]
        upper.append([*along, length, *[zero] * (len(columns) - j - 1)])
    matrix = torch.stack([torch.stack(column, 1) for column in upper], 2)
    projected = torch.stack([domain.inner(direction, target) for direction in basis], 1)
    weights = torch.linalg.solve_triangular(matrix, projected[..., None], upper=True)[..., 0]
    return torch.where(torch.stack(kept, 1), weights, 0.0)
