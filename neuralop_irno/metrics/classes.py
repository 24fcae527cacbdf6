"""Metric of classification."""

from __future__ import annotations

from torch import Tensor

from neuralop_irno.errors import expected
from neuralop_irno.registry import METRICS


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
        >>> import torch
        >>> answer = torch.tensor([[[2.0, 0.0, 1.0], [1.0, 3.0, 0.0]]])
        >>> truth = torch.tensor([[[1.0, 1.0, torch.nan], [0.0, 0.0, torch.nan]]])
        >>> error_rate(answer, truth)
        tensor([[0.5000]])
    """
    if prediction.shape != target.shape or prediction.dim() < 3:
        wanted = f"a prediction (B, classes, *S) of shape {tuple(target.shape)}"
        raise ValueError(expected(wanted, tuple(prediction.shape), "one score per class"))
    told = ~target.isnan().any(1)
    wrong = told & (prediction.argmax(1) != target.nan_to_num().argmax(1))
    return (wrong.flatten(1).sum(1) / told.flatten(1).sum(1))[:, None]
