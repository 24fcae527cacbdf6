"""Shape checks and flattening of the spatial axes, shared by the metrics."""

from __future__ import annotations

from torch import Tensor

from neuralop_irno.errors import expected


def spatial_axes(prediction: Tensor, target: Tensor, space: int | None) -> int:
    """The number of trailing spatial axes; by default all but the first two.

    Example:
        >>> import torch
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
