"""Scores of a prediction, reduced over space only: one number per sample, time and field.

A score that is not finite stays in the result; whoever averages counts it. See `summarise`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from neuralop_irno.errors import expected
from neuralop_irno.registry import METRICS

VARIANCE_FLOOR = 1e-7
"""Added to the variance inside VRMSE, as The Well does: a constant target has a finite score."""


def vrmse(prediction: Tensor, target: Tensor, space: int | None = None) -> Tensor:
    r"""Root mean square error in units of the target's standard deviation over space:

    .. math:: \sqrt{\frac{\langle (p - t)^2 \rangle}{\mathrm{Var}(t) + 10^{-7}}}

    with the unbiased variance. Predicting the target's spatial mean scores about 1.

    Args:
        prediction: p.
        target: t.
        space: how many trailing axes are space; by default all but the first two.

    Shapes:
        - prediction, target: ``(B, C, *S)``, or any leading axes with ``space`` given
        - returns: the leading axes, ``(B, C)``

    Example:
        >>> import torch
        >>> target = torch.tensor([[[0.0, 2.0, 0.0, 2.0]]])
        >>> vrmse(torch.ones(1, 1, 4), target)
        tensor([[0.8660]])
    """
    error, truth = _over_space(prediction, target, space)
    return (error.square().mean(-1) / (truth.var(-1) + VARIANCE_FLOOR)).sqrt()


def relative_l2(prediction: Tensor, target: Tensor, space: int | None = None) -> Tensor:
    r""":math:`\|p - t\| / \|t\|` over space; arguments and shapes as in `vrmse`.

    Example:
        >>> import torch
        >>> relative_l2(torch.zeros(1, 1, 4), torch.ones(1, 1, 4))
        tensor([[1.]])
    """
    error, truth = _over_space(prediction, target, space)
    return error.norm(dim=-1) / truth.norm(dim=-1)


def relative_l1(prediction: Tensor, target: Tensor, space: int | None = None) -> Tensor:
    r""":math:`\|p - t\|_1 / \|t\|_1` over space, which a few bad points rule less; as in `vrmse`.

    Example:
        >>> import torch
        >>> relative_l1(torch.zeros(1, 1, 4), torch.ones(1, 1, 4))
        tensor([[1.]])
    """
    error, truth = _over_space(prediction, target, space)
    return error.abs().mean(-1) / truth.abs().mean(-1)


def rmse(prediction: Tensor, target: Tensor, space: int | None = None) -> Tensor:
    """Root mean square error over space; arguments and shapes as in `vrmse`."""
    error, _ = _over_space(prediction, target, space)
    return error.square().mean(-1).sqrt()


def acc(prediction: Tensor, target: Tensor, space: int | None = None) -> Tensor:
    r"""Anomaly correlation: the cosine between two fields less their means over space.

    .. math:: \frac{\langle p', t' \rangle}{\|p'\| \, \|t'\|} \qquad f' = f - \langle f \rangle

    1 for fields that differ by a factor and an offset, 0 for strangers. Where a climate is known, take it off
    both fields first. It is a skill, the more the better, and so not among the errors that configs name.
    Arguments and shapes as in `vrmse`.

    Example:
        >>> import torch
        >>> wave = torch.tensor([[[0.0, 1.0, 0.0, -1.0]]])
        >>> acc(3 * wave + 5, wave), acc(wave.roll(2, -1), wave)
        (tensor([[1.0000]]), tensor([[-1.0000]]))
    """
    error, truth = _over_space(prediction, target, space)
    anomaly, true_anomaly = (field - field.mean(-1, keepdim=True) for field in (error + truth, truth))
    product = (anomaly * true_anomaly).sum(-1)
    return product / (anomaly.norm(dim=-1) * true_anomaly.norm(dim=-1))


_ERRORS = {"vrmse": vrmse, "relative_l2": relative_l2, "relative_l1": relative_l1, "rmse": rmse}
for _name, _metric in _ERRORS.items():
    METRICS.register(_name, _metric)

Metric = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Summary:
    """The mean of the scores that are finite, and how many are not."""

    mean: float
    count: int
    not_finite: int

    def __str__(self) -> str:
        note = f" ({self.not_finite} of {self.count} not finite)" if self.not_finite else ""
        return f"{self.mean:.4f}{note}"


def summarise(scores: Tensor) -> Summary:
    """Average a metric's scores without hiding those that blew up.

    Example:
        >>> import torch
        >>> print(summarise(torch.tensor([1.0, 3.0, float("nan")])))
        2.0000 (1 of 3 not finite)
    """
    finite = scores.isfinite()
    mean = scores[finite].mean().item() if finite.any() else float("nan")
    return Summary(mean, scores.numel(), int((~finite).sum()))


def _over_space(prediction: Tensor, target: Tensor, space: int | None) -> tuple[Tensor, Tensor]:
    if prediction.shape != target.shape:
        raise ValueError(
            expected(f"a prediction of shape {tuple(target.shape)}", tuple(prediction.shape), "the same grid")
        )
    axes = prediction.dim() - 2 if space is None else space
    if not 1 <= axes <= prediction.dim():
        raise ValueError(
            expected("at least one axis of space", f"{axes} of {prediction.dim()} axes", "space=2")
        )
    truth = target.flatten(-axes)
    return prediction.flatten(-axes) - truth, truth
