"""Relative errors as in RIGNO's tables: per quantity, with the median over the samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neuralop_irno.errors import expected
from neuralop_irno.metrics.space import spatial_axes
from neuralop_irno.metrics.summary import Summary

NORM_FLOOR = 1e-10
"""Added to the norm of the target, as in RIGNO."""


def errors_of_quantities(
    prediction: Tensor, target: Tensor, groups: Sequence[int] | None = None, order: int = 1
) -> Tensor:
    r"""The relative error of each quantity, a scalar or a vector (RIGNO, https://arxiv.org/abs/2501.19205):

    .. math:: \frac{(\sum |p - t|^q)^{1/q}}{(\sum |t|^q)^{1/q} + 10^{-10}}

    where the sums run over space, time (if any) and the fields of the quantity.

    Args:
        prediction: p.
        target: t; both normalised by mean and standard deviation of each field, as in RIGNO.
        groups: for each field the index of its quantity; (0, 1, 1, 2) is a vector between two scalars. By
            default every field is a quantity. See ``Facts.groups`` of the published data sets.
        order: q, 1 or 2.

    Shapes:
        - prediction, target: ``(B, C, ...)``; returns: ``(B, quantities)``

    Example:
        >>> target = torch.tensor([[[1.0], [3.0], [4.0]]])
        >>> errors_of_quantities(torch.zeros(1, 3, 1), target, groups=(0, 1, 1))
        tensor([[1., 1.]])
    """
    spatial_axes(prediction, target, None)
    groups = range(target.shape[1]) if groups is None else groups
    if len(groups) != target.shape[1] or sorted({*groups}) != list(range(max(groups) + 1)):
        wanted = f"{target.shape[1]} numbers of quantities, from 0 on without a gap"
        raise ValueError(expected(wanted, list(groups), f"groups={list(range(target.shape[1]))}"))
    if order not in (1, 2):
        raise ValueError(expected("order 1 or 2", order, "order=1"))
    member = torch.nn.functional.one_hot(torch.tensor(groups, device=target.device)).to(target)

    def norm(field: Tensor) -> Tensor:
        return (field.abs().pow(order).flatten(2).sum(2) @ member).pow(1 / order)

    return norm(prediction - target) / (norm(target) + NORM_FLOOR)


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
    ranked = scores.nan_to_num(torch.inf, torch.inf).sort(0).values
    last = len(scores) - 1
    median = (ranked[last // 2] + ranked[-(-last // 2)]) / 2
    return Summary(100 * median.mean().item(), scores.numel(), int((~scores.isfinite()).sum()))
