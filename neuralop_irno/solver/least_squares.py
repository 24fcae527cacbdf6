"""Small least-squares problems, one for each sample, whose columns are fields."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain


def fit(domain: Domain, columns: Sequence[Tensor], target: Tensor, valid: Tensor) -> Tensor:
    r"""For each sample the weights :math:`\gamma` that minimise :math:`\|t - \sum_j \gamma_j c_j\|`.

    By a QR factorisation of the columns, in the order in which they come. A column that adds less than
    the square root of the machine's precision to those before it, in units of its own size, is left
    out: the rule has no scale, so that the weights do not change when all fields are multiplied by one
    number.

    Args:
        domain: where the fields live.
        columns: c_j, as many as there are.
        target: t.
        valid: which columns count for which sample, ``(samples, len(columns))``.

    Shapes:
        - columns, target: fields
        - returns: ``(samples, len(columns))``, 0 where a column does not count

    Example:
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> a, b = torch.randn(2, 3, 1, 8, dtype=torch.float64)
        >>> weights = fit(GridDomain.of(a), [a, b], 2 * a - b, torch.ones(3, 2, dtype=torch.bool))
        >>> torch.allclose(weights, torch.tensor([2.0, -1.0], dtype=torch.float64))
        True
    """
    count = len(columns)
    negligible = torch.finfo(target.dtype).eps ** 0.5
    upper = target.new_zeros(domain.samples, count, count)
    projected = target.new_zeros(domain.samples, count)
    basis: list[Tensor] = []
    kept: list[Tensor] = []
    for j, column in enumerate(columns):
        size = domain.norm(column)
        rest = column
        for i, direction in enumerate(basis):
            upper[:, i, j] = domain.inner(direction, rest)
            rest = rest - domain.spread(upper[:, i, j], rest) * direction
        left = domain.norm(rest)
        keep = valid[:, j] & (left > negligible * size) & left.isfinite()
        upper[:, j, j] = torch.where(keep, left, 1.0)
        scale = torch.where(keep, 1 / upper[:, j, j], 0.0)
        basis.append(torch.where(domain.spread(keep, rest), rest * domain.spread(scale, rest), 0.0))
        projected[:, j] = domain.inner(basis[j], target)
        kept.append(keep)
    mask = torch.stack(kept, 1)
    # A column that was left out has a weight of zero, and so no say in the others'.
    upper = torch.where(mask[:, None, :], upper, torch.eye(count, dtype=upper.dtype, device=upper.device))
    weights = torch.linalg.solve_triangular(upper, projected[..., None], upper=True)[..., 0]
    return torch.where(mask, weights, 0.0)
