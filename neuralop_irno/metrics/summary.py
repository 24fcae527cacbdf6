"""Mean of many values of a metric, with the number of non-finite ones."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Summary:
    """The mean of the finite values, and the number of non-finite ones."""

    mean: float
    count: int
    not_finite: int

    def __str__(self) -> str:
        note = f" ({self.not_finite} of {self.count} not finite)" if self.not_finite else ""
        return f"{self.mean:.4f}{note}"


def summarise(scores: Tensor) -> Summary:
    """Average the finite values of a metric and count the non-finite ones.

    Example:
        >>> import torch
        >>> print(summarise(torch.tensor([1.0, 3.0, float("nan")])))
        2.0000 (1 of 3 not finite)
    """
    finite = scores.isfinite()
    mean = scores[finite].mean().item() if finite.any() else float("nan")
    return Summary(mean, scores.numel(), int((~finite).sum()))
