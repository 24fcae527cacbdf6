"""Many values of a metric in one number, with the number of non-finite ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neuralop_irno.errors import expected
from neuralop_irno.quantiles import quantile


@dataclass(frozen=True)
class Summary:
    """The mean or median of the values, their number, and the number of non-finite ones."""

    mean: float
    count: int
    not_finite: int

    def __str__(self) -> str:
        note = f" ({self.not_finite} of {self.count} not finite)" if self.not_finite else ""
        return f"{self.mean:.4f}{note}"


def summarise(scores: Tensor) -> Summary:
    """Average the finite values of a metric and count the non-finite ones.

    Example:
        >>> print(summarise(torch.tensor([1.0, 3.0, float("nan")])))
        2.0000 (1 of 3 not finite)
    """
    finite = scores.isfinite()
    mean = scores[finite].mean().item() if finite.any() else float("nan")
    return Summary(mean, scores.numel(), int((~finite).sum()))


def summarise_medians(scores: Tensor) -> Summary:
    """The median over the samples, averaged over the quantities, in percent.

    Non-finite errors count as infinite in the median, and their number is reported.

    Shapes:
        - scores: ``(B, quantities)``

    Example:
        >>> print(summarise_medians(torch.tensor([[0.01], [0.03], [float("nan")]])))
        3.0000 (1 of 3 not finite)
    """
    if scores.dim() != 2 or not scores.numel():
        wanted = "scores (samples, quantities)"
        raise ValueError(expected(wanted, tuple(scores.shape), "errors_of_quantities(p, t)"))
    median = quantile(scores.nan_to_num(torch.inf, torch.inf), 0.5)
    return Summary(100 * median.mean().item(), scores.numel(), int((~scores.isfinite()).sum()))
