"""How far an iterate is from its fixed point: Banach's two bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from neuralop_irno.solution import Solution


def a_priori(factor: Tensor, steps: Tensor, first: Tensor) -> Tensor:
    r"""What is known before the iteration has gone on:

    .. math:: |u_n - u^*| \le \frac{k^n}{1 - k} |u_0 - u_1|

    Args:
        factor: k; where it is not below 1, nothing is known and the bound is inf.
        steps: n.
        first: the size of the first step.

    Shapes:
        - all arguments and the answer: ``(samples,)``

    Example:
        >>> a_priori(torch.tensor([0.5, 1.5]), torch.tensor([3, 3]), torch.tensor([1.0, 1.0]))
        tensor([0.2500,    inf])
    """
    return torch.where(factor < 1, factor**steps / (1 - factor) * first, torch.inf)


def a_posteriori(factor: Tensor, last: Tensor) -> Tensor:
    r"""What is known once it is there:

    .. math:: |u_n - u^*| \le \frac{k}{1 - k} |u_{n-1} - u_n|

    Args:
        factor: k; where it is not below 1, nothing is known and the bound is inf.
        last: the size of the last step.

    Shapes:
        - both arguments and the answer: ``(samples,)``

    Example:
        >>> a_posteriori(torch.tensor([0.5, 1.5]), torch.tensor([0.1, 0.1]))
        tensor([0.1000,    inf])
    """
    return torch.where(factor < 1, factor / (1 - factor) * last, torch.inf)


@dataclass(frozen=True)
class PicardSolution(Solution):
    """A `Solution`, with Banach's bounds on the distance to the fixed point.

    Attributes:
        factor: k, by which a step shrinks distances at least: from the bound of the layers where it was
            given, and otherwise the largest that was observed, nan where there was none. ``(samples,)``
        factor_known: whether it was given. The bounds hold then; otherwise they are estimates.
        a_priori: from the first step, ``(samples,)``; inf where k is not below 1, or not known.
        a_posteriori: from the last one, likewise.
    """

    factor: Tensor
    factor_known: bool
    a_priori: Tensor
    a_posteriori: Tensor

    @classmethod
    def of(cls, solution: Solution, factor: float | None) -> Self:
        """The bounds for a solution of the plain damped iteration.

        Args:
            solution: whose residuals are the steps that were taken.
            factor: k, where it is known.
        """
        observed = solution.contraction
        k = observed if factor is None else torch.full_like(observed, factor)
        rows = [r if len(r) else observed.new_full((1,), torch.nan) for r in solution.residuals]
        first = torch.stack([r[0] for r in rows]) if rows else observed
        last = torch.stack([r[-1] for r in rows]) if rows else observed
        known = first.isfinite() & last.isfinite()
        before = torch.where(known, a_priori(k, solution.steps, first), torch.inf)
        after = torch.where(known, a_posteriori(k, last), torch.inf)
        return cls(
            **vars(solution), factor=k, factor_known=factor is not None, a_priori=before, a_posteriori=after
        )
