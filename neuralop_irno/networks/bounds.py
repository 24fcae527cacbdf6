"""How far an iterate is from its fixed point: Banach's two bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from neuralop_irno.errors import expected
from neuralop_irno.solution import Solution


def a_priori(factor: Tensor, steps: Tensor, first: Tensor) -> Tensor:
    r"""A-priori error bound after n steps, from the first step:

    .. math:: |u_n - u^*| \le \frac{k^n}{1 - k} |u_0 - u_1|

    Args:
        factor: k; the bound is inf if it is not below 1.
        steps: n.
        first: norm of the first step.

    Shapes:
        - all arguments and the result: ``(samples,)``

    Example:
        >>> a_priori(torch.tensor([0.5, 1.5]), torch.tensor([3, 3]), torch.tensor([1.0, 1.0]))
        tensor([0.2500,    inf])
    """
    return torch.where(factor < 1, factor**steps / (1 - factor) * first, torch.inf)


def a_posteriori(factor: Tensor, last: Tensor) -> Tensor:
    r"""A-posteriori error bound, from the last step:

    .. math:: |u_n - u^*| \le \frac{k}{1 - k} |u_{n-1} - u_n|

    Args:
        factor: k; the bound is inf if it is not below 1.
        last: norm of the last step.

    Shapes:
        - both arguments and the result: ``(samples,)``

    Example:
        >>> a_posteriori(torch.tensor([0.5, 1.5]), torch.tensor([0.1, 0.1]))
        tensor([0.1000,    inf])
    """
    return torch.where(factor < 1, factor / (1 - factor) * last, torch.inf)


def at_any_point(factor: Tensor, coming: Tensor) -> Tensor:
    r"""A-posteriori error bound at an arbitrary point u, from one evaluation of G:

    .. math:: |u - u^*| \le \frac{1}{1 - k} |u - G(u)|

    Args:
        factor: k; the bound is inf if it is not below 1.
        coming: the norm of u - G(u), the next Picard step.

    Shapes:
        - both arguments and the result: ``(samples,)``

    Example:
        >>> at_any_point(torch.tensor([0.5, 1.5]), torch.tensor([0.1, 0.1]))
        tensor([0.2000,    inf])
    """
    return torch.where(factor < 1, coming / (1 - factor), torch.inf)


def steps_to(error: float, factor: float, first: float) -> int:
    r"""The smallest number of steps n with :math:`k^n d < \varepsilon`.

    Args:
        error: epsilon, above 0.
        factor: k, the contraction factor of a step, at least 0 and below 1.
        first: d, a bound on the residual before the first step.

    Example:
        >>> steps_to(0.1, factor=0.5, first=1.0)
        4
        >>> steps_to(0.125, factor=0.5, first=1.0)  # 0.5^3 is not below it
        4
    """
    if not 0 <= factor < 1:
        raise ValueError(expected("a contraction factor at least 0 and below 1", factor, "a smaller weight"))
    if not (0 < error < math.inf and 0 <= first < math.inf):
        got = f"{error} and {first}"
        raise ValueError(expected("an error above 0, and a first residual >= 0, both finite", got, "1e-3"))
    if first < error:
        return 0
    if factor == 0:
        return 1
    # The logarithms are off by rounding where the power equals the error.
    steps = max(math.ceil(math.log(error / first) / math.log(factor)) - 1, 1)
    while factor**steps * first >= error:
        steps += 1
    return steps


@dataclass(frozen=True, repr=False)
class PicardSolution(Solution):
    """A `Solution`, with Banach's bounds on the distance to the fixed point.

    Attributes:
        factor: k, the contraction factor of a Picard step, ``(samples,)``: from ``lipschitz`` if it was
            given, otherwise the largest observed one, nan if none was observed. Where it is given and below
            1, ``error_bound`` is ``a_posteriori``, and ``bound_proved`` is set.
        factor_known: whether ``lipschitz`` was given. Then the bounds hold up to rounding; otherwise they are
            estimates.
        a_priori: bound from the first step, ``(samples,)``; inf if k is not below 1 or not known, and for
            solvers other than Picard's.
        a_posteriori: bound from the last step; for other solvers, from the next Picard step.
    """

    factor: Tensor
    factor_known: bool
    a_priori: Tensor
    a_posteriori: Tensor

    @classmethod
    def of(cls, solution: Solution, factor: Tensor | None, coming: Tensor | None) -> Self:
        """The bounds for a solution.

        Args:
            solution: the solution; for a Picard solver, its residuals are the norms of the steps.
            factor: k, if it is known, ``(samples,)``.
            coming: the norm of the next Picard step, for other solvers, ``(samples,)``.
        """
        k = solution.contraction if factor is None else factor.to(solution.contraction)
        if coming is not None:
            before, after = torch.full_like(k, torch.inf), at_any_point(k, coming)
        else:
            none = k.new_full((1,), torch.nan)  # for samples that took no step
            rows = [row if len(row) else none for row in solution.residuals]
            first = torch.stack([row[0] for row in rows]) if rows else k
            last = torch.stack([row[-1] for row in rows]) if rows else k
            before, after = a_priori(k, solution.steps, first), a_posteriori(k, last)
        after = after.nan_to_num(torch.inf, torch.inf)
        known = {**vars(solution)}
        if factor is not None:
            proved = k < 1
            known["error_bound"] = torch.where(proved, after, solution.error_bound)
            known["bound_holds"], known["bound_proved"] = solution.bound_holds | proved, proved
        return cls(
            **known,
            factor=k,
            factor_known=factor is not None,
            a_priori=before.nan_to_num(torch.inf, torch.inf),
            a_posteriori=after,
        )
