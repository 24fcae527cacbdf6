"""The anomaly correlation: whether a forecast departs from the usual where the truth does."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.errors import expected
from neuralop_irno.metrics.space import spatial_axes


def acc(
    prediction: Tensor,
    target: Tensor,
    space: int | None = None,
    *,
    climatology: Tensor | str | None = None,
    centred: bool = True,
    weights: Tensor | None = None,
    channel: int | None = None,
) -> Tensor:
    r"""Anomaly correlation: the cosine between two fields less what is usual.

    .. math:: \frac{\langle p', t' \rangle}{\|p'\| \, \|t'\|}

    1 for fields that differ by a factor and, where they are centred, an offset; 0 for strangers. It is a
    skill, the more the better, and so not among the errors that configs name.

    Weather centres take off the climate of the years of training, and weigh by latitude. SuperBench's curves
    are ``climatology="samples", centred=False, channel=0``, in physical units.

    Args:
        prediction: p.
        target: t.
        space: how many trailing axes are space; by default all but the first two.
        climatology: what is usual, which is taken off both fields first: a field, or ``samples`` for the mean
            over the first axis, of predictions and targets each for themselves. By default nothing is.
        centred: whether to take off the mean over space then.
        weights: of the points in all sums over space, shaped to broadcast against it; see `latitude_weights`.
        channel: the one field that is scored; by default every field for itself.

    Shapes:
        - prediction, target: ``(B, C, *S)``, or any leading axes with ``space`` given
        - returns: the leading axes, ``(B, C)``, or ``(B,)`` with ``channel``

    Example:
        >>> import torch
        >>> wave = torch.tensor([[[0.0, 1.0, 0.0, -1.0]]])
        >>> acc(3 * wave + 5, wave), acc(wave.roll(2, -1), wave)
        (tensor([[1.0000]]), tensor([[-1.0000]]))
    """
    axes = spatial_axes(prediction, target, space)
    whole = target.new_ones(target.shape[-axes:]) if weights is None else weights.expand(target.shape[-axes:])
    share = (whole / whole.sum()).flatten()
    anomalies = []
    for field in (prediction, target):
        anomaly = field - _usual(field, climatology)
        if channel is not None:
            anomaly = anomaly.select(-axes - 1, channel)
        anomaly = anomaly.flatten(-axes)
        if centred:
            anomaly = anomaly - (share * anomaly).sum(-1, keepdim=True)
        anomalies.append(anomaly * share.sqrt())
    ours, theirs = anomalies
    return (ours * theirs).sum(-1) / (ours.norm(dim=-1) * theirs.norm(dim=-1))


def latitude_weights(degrees: Tensor) -> Tensor:
    """How much of the globe each row of a grid stands for, by the cosine of its latitude; 1 on average.

    Args:
        degrees: the latitude of each row, from -90 to 90.

    Shapes:
        - degrees: ``(H,)``; returns: ``(H, 1)``

    Example:
        >>> latitude_weights(torch.tensor([60.0, 0.0])).flatten()
        tensor([0.6667, 1.3333])
    """
    if degrees.dim() != 1 or degrees.abs().max() > 90:
        got = f"{tuple(degrees.shape)} up to {degrees.abs().max():g}"
        raise ValueError(
            expected("latitudes (H,) from -90 to 90 degrees", got, "90 - 0.25 * torch.arange(720)")
        )
    weights = torch.deg2rad(degrees).cos().clamp(min=0)
    return (weights / weights.mean())[:, None]


def _usual(field: Tensor, climatology: Tensor | str | None) -> Tensor:
    if isinstance(climatology, Tensor):
        return climatology
    if climatology == "samples":
        return field.mean(0, keepdim=True)
    if climatology is not None:
        raise ValueError(expected("a climatology", repr(climatology), "a field, or 'samples'"))
    return field.new_zeros(())
