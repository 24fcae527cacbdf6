"""Error metrics of values point by point: one number per sample, time and field.

Non-finite values stay in the result; `summarise` counts them separately.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt

import torch
from torch import Tensor

from neuralop_irno.errors import expected
from neuralop_irno.precision import rounding
from neuralop_irno.registry import METRICS

LEAST_VARIANCE = 1e-7
"""A target with a smaller variance, in units of its scale, is constant; The Well adds it to the variance."""

NORM_FLOOR = 1e-10
"""Added to the norm of the target, as in RIGNO."""


def vrmse(
    prediction: Tensor,
    target: Tensor,
    space: int | None = None,
    reference_axes: bool = False,
    weights: Tensor | None = None,
    scale: Sequence[float] | None = None,
) -> Tensor:
    r"""Root mean square error in units of the target's standard deviation (https://arxiv.org/abs/2412.00568):

    .. math:: \sqrt{\langle (p - t)^2 \rangle / \mathrm{Var}(t)}

    with the unbiased variance over space. Predicting the target's spatial mean gives about 1.

    A target that is constant in space has no deviation: its error is divided by ``scale``, or without one by
    the root mean square of the target (by 1 if that is 0). Constant are targets whose variance is at most
    :math:`10^{-7}` in units of the scale, or without one those that only rounding keeps from being constant.
    The Well adds :math:`10^{-7}` to the variance instead, which has the same result, to rounding, on fields
    of deviation 1, but depends on the units of others.

    Args:
        prediction: p.
        target: t.
        space: number of trailing spatial axes; by default all but the first two.
        reference_axes: average over the fields and all spatial axes except the last, which is kept. Only for
            comparison with published numbers: the code published with iterative refinement passes fields
            ``(B, C, *S)`` to a metric for ``(B, *S, C)``, which gives this result.
        weights: weights of the points in all means over space, which broadcast with it, such as
            `neuralop_irno.domain.sphere.row_weights`; not with ``reference_axes``.
        scale: the deviation of each of the C fields over a training set; the channels may be those of
            several frames, one after the other. Not with ``reference_axes``.

    Shapes:
        - prediction, target: ``(B, C, *S)``, or any leading axes with ``space`` given
        - returns: the leading axes, ``(B, C)``; with ``reference_axes`` ``(B, W)``, W points on the last axis

    Example:
        >>> target = torch.tensor([[[0.0, 2.0, 0.0, 2.0], [5.0, 5.0, 5.0, 5.0]]])
        >>> vrmse(torch.ones(1, 2, 4), target), vrmse(torch.ones(1, 2, 4), target, scale=(1.0, 10.0))
        (tensor([[0.8660, 0.8000]]), tensor([[0.8660, 0.4000]]))
    """
    if reference_axes and (weights is not None or scale is not None):
        wanted = "neither weights nor scale with reference_axes"
        raise ValueError(expected(wanted, "one of them", "reference_axes=False"))
    if reference_axes:
        space = spatial_axes(prediction, target, space)
        prediction, target = (field.movedim(-1, -space - 1) for field in (prediction, target))
    error, truth = over_space(prediction, target, space)
    share = _shares(target, space, weights)
    # Divided first, since squares of small or large numbers are not finite in single precision.
    unit = _unit(truth, scale)
    error, truth = error / unit[..., None], truth / unit[..., None]
    count = truth.shape[-1]
    centred = truth - _mean(truth, share)[..., None]
    deviation = (_mean(centred.square(), share) * (count / max(count - 1, 1))).sqrt()
    if scale is None:
        size = _mean(truth.square(), share).sqrt()
        least, size = size * rounding(truth.dtype), torch.where(size > 0, size, 1 / unit)
    else:
        least, size = torch.full_like(deviation, sqrt(LEAST_VARIANCE)), torch.ones_like(deviation)
    return _mean(error.square(), share).sqrt() / torch.where(deviation > least, deviation, size)


def relative_l2(
    prediction: Tensor, target: Tensor, space: int | None = None, weights: Tensor | None = None
) -> Tensor:
    r""":math:`\|p - t\| / \|t\|` over space; arguments and shapes as in `vrmse`.

    Example:
        >>> relative_l2(torch.zeros(1, 1, 4), torch.ones(1, 1, 4))
        tensor([[1.]])
    """
    error, truth = over_space(prediction, target, space)
    share = _shares(target, space, weights)
    if share is None:
        return error.norm(dim=-1) / truth.norm(dim=-1)
    return (_mean(error.square(), share) / _mean(truth.square(), share)).sqrt()


def relative_l1(
    prediction: Tensor, target: Tensor, space: int | None = None, weights: Tensor | None = None
) -> Tensor:
    r""":math:`\|p - t\|_1 / \|t\|_1` over space, less sensitive to outliers; otherwise as `relative_l2`.

    Example:
        >>> relative_l1(torch.zeros(1, 1, 4), torch.ones(1, 1, 4))
        tensor([[1.]])
    """
    error, truth = over_space(prediction, target, space)
    share = _shares(target, space, weights)
    return _mean(error.abs(), share) / _mean(truth.abs(), share)


def rmse(
    prediction: Tensor, target: Tensor, space: int | None = None, weights: Tensor | None = None
) -> Tensor:
    """Root mean square error over space; arguments and shapes as in `vrmse`.

    Example:
        >>> rmse(torch.zeros(1, 1, 4), torch.full((1, 1, 4), 3.0))
        tensor([[3.]])
    """
    error, _ = over_space(prediction, target, space)
    return _mean(error.square(), _shares(target, space, weights)).sqrt()


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


@METRICS.register("error_rate")
def error_rate(prediction: Tensor, target: Tensor) -> Tensor:
    """The fraction of wrongly classified points among those with a known class.

    Args:
        prediction: a score for each class; the largest is the predicted class.
        target: one-hot classes, nan at points whose class is unknown.

    Shapes:
        - prediction, target: ``(B, classes, *S)``
        - returns: ``(B, 1)``; nan for samples without known classes

    Example:
        >>> answer = torch.tensor([[[2.0, 0.0, 1.0], [1.0, 3.0, 0.0]]])
        >>> truth = torch.tensor([[[1.0, 1.0, torch.nan], [0.0, 0.0, torch.nan]]])
        >>> error_rate(answer, truth)
        tensor([[0.5000]])
    """
    if prediction.shape != target.shape or prediction.dim() < 3:
        wanted = f"a prediction (B, classes, *S) of shape {tuple(target.shape)}"
        raise ValueError(expected(wanted, tuple(prediction.shape), "one score per class"))
    known = ~target.isnan().any(1)
    wrong = known & (prediction.argmax(1) != target.nan_to_num().argmax(1))
    return (wrong.flatten(1).sum(1) / known.flatten(1).sum(1))[:, None]


def own_metric(data: object) -> str:
    """The name of a data set's metric: its attribute ``metric``, by default VRMSE.

    Example:
        >>> from neuralop_irno.data.fields import FieldDataset
        >>> own_metric(FieldDataset(torch.zeros(2, 1, 8), torch.zeros(2, 1, 8)))
        'vrmse'
    """
    return getattr(data, "metric", "vrmse")


def spatial_axes(prediction: Tensor, target: Tensor, space: int | None) -> int:
    """The number of trailing spatial axes; by default all but the first two.

    Example:
        >>> spatial_axes(torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8), None)
        2
    """
    if prediction.shape != target.shape:
        wanted = f"a prediction of shape {tuple(target.shape)}"
        raise ValueError(expected(wanted, tuple(prediction.shape), "the same grid"))
    axes = prediction.dim() - 2 if space is None else space
    if not 1 <= axes <= prediction.dim():
        wanted = "at least one axis of space"
        raise ValueError(expected(wanted, f"{axes} of {prediction.dim()} axes", "space=2"))
    return axes


def over_space(prediction: Tensor, target: Tensor, space: int | None) -> tuple[Tensor, Tensor]:
    """The error and the target, with the spatial axes flattened into the last one."""
    axes = spatial_axes(prediction, target, space)
    truth = target.flatten(-axes)
    return prediction.flatten(-axes) - truth, truth


def _shares(target: Tensor, space: int | None, weights: Tensor | None) -> Tensor | None:
    """Weights of the points of space that sum to 1, ``(points,)``; None if all are equal."""
    if weights is None:
        return None
    axes = spatial_axes(target, target, space)
    whole = weights.to(target).expand(target.shape[-axes:]).flatten()
    return whole / whole.sum()


def _unit(truth: Tensor, scale: Sequence[float] | None) -> Tensor:
    """The scale of each field, or the largest of its numbers, ``(B, C)``; 1 if all are 0."""
    if scale is None:
        largest = truth.abs().amax(-1)
        return torch.where(largest > 0, largest, 1)
    fields, channels = len(scale), truth.shape[-2] if truth.dim() > 1 else 1
    if not fields or channels % fields or min(scale) <= 0:
        got = f"{channels} channels and {list(scale)}"
        raise ValueError(expected("a scale > 0 for each field", got, "the deviations of the training set"))
    return truth.new_tensor(scale).repeat(channels // fields).expand(truth.shape[:-1])


def _mean(values: Tensor, share: Tensor | None) -> Tensor:
    return values.mean(-1) if share is None else (values * share).sum(-1)


def mse(
    prediction: Tensor, target: Tensor, space: int | None = None, weights: Tensor | None = None
) -> Tensor:
    """Mean square error over space; arguments and shapes as in `vrmse`.

    Example:
        >>> mse(torch.zeros(1, 1, 4), torch.full((1, 1, 4), 2.0))
        tensor([[4.]])
    """
    error, _ = over_space(prediction, target, space)
    return _mean(error.square(), _shares(target, space, weights))


_ERRORS: dict[str, Callable[..., Tensor]] = {
    "vrmse": vrmse, "relative_l2": relative_l2, "relative_l1": relative_l1, "rmse": rmse, "mse": mse,
    "rfne": relative_l2,  # SuperBench's name: relative Frobenius norm error
}  # fmt: skip
for _name, _metric in _ERRORS.items():
    METRICS.register(_name, _metric)
