"""The anomaly correlation coefficient of weather forecasts."""

from __future__ import annotations

from torch import Tensor

from neuralop_irno.errors import expected
from neuralop_irno.metrics.pointwise import spatial_axes


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
    r"""Anomaly correlation: the cosine between two fields minus a climatology.

    .. math:: \frac{\langle p', t' \rangle}{\|p'\| \, \|t'\|}

    1 for fields that differ by a positive factor and, if centred, an offset; 0 for uncorrelated fields. It is
    a skill (larger is better), and therefore not in the registry of errors.

    Weather centres subtract the climatology of the training years and weight by latitude. SuperBench
    (https://arxiv.org/abs/2306.14070) uses ``climatology="samples", centred=False, channel=0``, in physical
    units.

    Args:
        prediction: p.
        target: t.
        space: number of trailing spatial axes; by default all but the first two.
        climatology: subtracted from both fields first: a field, or ``samples`` for the mean over the first
            axis, separately for predictions and targets. By default nothing is subtracted.
        centred: whether to subtract the mean over space afterwards.
        weights: weights of the points in all sums over space, broadcast to it; see `latitude_weights`.
        channel: the field to compare; by default every field separately.

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
    whole = target.new_ones(()) if weights is None else weights.to(target)
    whole = whole.expand(target.shape[-axes:])
    share = (whole / whole.sum()).flatten()
    anomalies = []
    for field in (prediction, target):
        anomaly = field - _climatology(field, climatology)
        if channel is not None:
            anomaly = anomaly.select(-axes - 1, channel)
        anomaly = anomaly.flatten(-axes)
        if centred:
            anomaly = anomaly - (share * anomaly).sum(-1, keepdim=True)
        anomalies.append(anomaly * share.sqrt())
    ours, theirs = anomalies
    return (ours * theirs).sum(-1) / (ours.norm(dim=-1) * theirs.norm(dim=-1))


def _climatology(field: Tensor, climatology: Tensor | str | None) -> Tensor:
    if isinstance(climatology, Tensor):
        return climatology
    if climatology == "samples":
        return field.mean(0, keepdim=True)
    if climatology is not None:
        raise ValueError(expected("a climatology", repr(climatology), "a field, or 'samples'"))
    return field.new_zeros(())
