"""Pointwise error metrics, reduced over space only: one number per sample, time and field.

Non-finite values stay in the result; `summarise` counts them separately.
"""

from __future__ import annotations

from torch import Tensor

from neuralop_irno.metrics.space import over_space, spatial_axes
from neuralop_irno.registry import METRICS

VARIANCE_FLOOR = 1e-7
"""Added to the variance in VRMSE, as in The Well, so that a constant target has a finite score."""


def vrmse(
    prediction: Tensor, target: Tensor, space: int | None = None, reference_axes: bool = False
) -> Tensor:
    r"""Root mean square error in units of the target's standard deviation (https://arxiv.org/abs/2412.00568):

    .. math:: \sqrt{\frac{\langle (p - t)^2 \rangle}{\mathrm{Var}(t) + 10^{-7}}}

    with the unbiased variance over space. Predicting the target's spatial mean gives about 1.

    Args:
        prediction: p.
        target: t.
        space: number of trailing spatial axes; by default all but the first two.
        reference_axes: average over the fields and all spatial axes except the last, which is kept. Only for
            comparison with published numbers: the code published with iterative refinement passes fields
            ``(B, C, *S)`` to a metric for ``(B, *S, C)``, which gives this result.

    Shapes:
        - prediction, target: ``(B, C, *S)``, or any leading axes with ``space`` given
        - returns: the leading axes, ``(B, C)``; with ``reference_axes`` ``(B, W)``, W points on the last axis

    Example:
        >>> import torch
        >>> target = torch.tensor([[[0.0, 2.0, 0.0, 2.0]]])
        >>> vrmse(torch.ones(1, 1, 4), target)
        tensor([[0.8660]])
    """
    if reference_axes:
        space = spatial_axes(prediction, target, space)
        prediction, target = (field.movedim(-1, -space - 1) for field in (prediction, target))
    error, truth = over_space(prediction, target, space)
    return (error.square().mean(-1) / (truth.var(-1) + VARIANCE_FLOOR)).sqrt()


def relative_l2(prediction: Tensor, target: Tensor, space: int | None = None) -> Tensor:
    r""":math:`\|p - t\| / \|t\|` over space; arguments and shapes as in `vrmse`.

    Example:
        >>> import torch
        >>> relative_l2(torch.zeros(1, 1, 4), torch.ones(1, 1, 4))
        tensor([[1.]])
    """
    error, truth = over_space(prediction, target, space)
    return error.norm(dim=-1) / truth.norm(dim=-1)


def relative_l1(prediction: Tensor, target: Tensor, space: int | None = None) -> Tensor:
    r""":math:`\|p - t\|_1 / \|t\|_1` over space, less sensitive to outliers; otherwise as `relative_l2`.

    Example:
        >>> import torch
        >>> relative_l1(torch.zeros(1, 1, 4), torch.ones(1, 1, 4))
        tensor([[1.]])
    """
    error, truth = over_space(prediction, target, space)
    return error.abs().mean(-1) / truth.abs().mean(-1)


def rmse(prediction: Tensor, target: Tensor, space: int | None = None) -> Tensor:
    """Root mean square error over space; arguments and shapes as in `vrmse`."""
    error, _ = over_space(prediction, target, space)
    return error.square().mean(-1).sqrt()


_ERRORS = {
    "vrmse": vrmse, "relative_l2": relative_l2, "relative_l1": relative_l1, "rmse": rmse,
    "rfne": relative_l2,  # SuperBench's name: relative Frobenius norm error
}  # fmt: skip
for _name, _metric in _ERRORS.items():
    METRICS.register(_name, _metric)
