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


def anywhere(factor: Tensor, coming: Tensor) -> Tensor:
    r"""What is known of any point, whoever found it, from the Picard step that would come next:

    .. math:: |u - u^*| \le \frac{1}{1 - k} |u - G(u)|

    Args:
        factor: k; where it is not below 1, nothing is known and the bound is inf.
        coming: the size of that step.

    Shapes:
        - both arguments and the answer: ``(samples,)``

    Example:
        >>> anywhere(torch.tensor([0.5, 1.5]), torch.tensor([0.1, 0.1]))
        tensor([0.2000,    inf])
    """
    return torch.where(factor < 1, coming / (1 - factor), torch.inf)


@dataclass(frozen=True, repr=False)
class PicardSolution(Solution):
    """A `Solution`, with Banach's bounds on the distance to the fixed point.

    Attributes:
        factor: k, by which a Picard step shrinks distances at least: from the bound of the layers where it
            was given, and otherwise the largest that was observed, nan where there was none. ``(samples,)``
        factor_known: whether it was given. The bounds hold then, to rounding; otherwise they are estimates.
        a_priori: from the first step, ``(samples,)``; inf where k is not below 1 or not known, and for
            solvers that take other steps than Picard's.
        a_posteriori: from the last one; for other solvers from the Picard step that would come next.
    """

    factor: Tensor
    factor_known: bool
    a_priori: Tensor
    a_posteriori: Tensor

    @classmethod
    def of(cls, solution: Solution, factor: Tensor | None, coming: Tensor | None) -> Self:
        """The bounds for a solution.

        Args:
            solution: whose residuals are the steps that were taken, where they were Picard's.
            factor: k, where it is known, ``(samples,)``.
            coming: the size of the next Picard step, for solvers that took others, ``(samples,)``.
        """
        k = solution.contraction if factor is None else factor.to(solution.contraction)
        if coming is not None:
            before, after = torch.full_like(k, torch.inf), anywhere(k, coming)
        else:
            none = k.new_full((1,), torch.nan)  # of samples that took no step
            rows = [row if len(row) else none for row in solution.residuals]
            first = torch.stack([row[0] for row in rows]) if rows else k
            last = torch.stack([row[-1] for row in rows]) if rows else k
            before, after = a_priori(k, solution.steps, first), a_posteriori(k, last)
        return cls(
            **vars(solution),
            factor=k,
            factor_known=factor is not None,
            a_priori=before.nan_to_num(torch.inf, torch.inf),
            a_posteriori=after.nan_to_num(torch.inf, torch.inf),
        )
