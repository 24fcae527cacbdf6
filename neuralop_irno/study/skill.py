"""The anomaly correlation after every step, over a whole data set."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any, cast

from torch import Tensor, nn
from torch.utils.data import Dataset

from neuralop_irno.data.patches import Whole
from neuralop_irno.errors import expected
from neuralop_irno.metrics import acc
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.training.batches import Sample
from neuralop_irno.training.evaluation import scores_per_step


def anomaly_correlation(model: nn.Module, data: Dataset[Sample], device: str) -> list[float]:
    """ACC as SuperBench has it, after 0, 1, .. K steps; of the answer alone for models without steps.

    It compares the first field minus its mean over the samples, that of the predictions and that of the
    truths, without weights, and is averaged over the samples. The model is evaluated twice.

    Args:
        model: any model on grids.
        data: whole fields on one grid.
        device: where the model is.

    Raises:
        ValueError: the data are graphs, or patches, which have different means at different places.

    Example:
        >>> import torch
        >>> from neuralop_irno.data.fields import FieldDataset
        >>> x = torch.randn(4, 1, 8, 8)
        >>> [round(skill, 3) for skill in anomaly_correlation(nn.Identity(), FieldDataset(x, 2 * x), "cpu")]
        [1.0]
    """
    if not isinstance(data[0], Mapping) or getattr(data, "view", Whole()) != Whole():
        got = type(getattr(data, "view", data[0])).__name__
        raise ValueError(expected("whole fields on a grid for the ACC", got, "tiles: false"))
    count = model.steps + 1 if isinstance(model, IterativeRefiner) else 1
    step, sums = cycle(range(count)), [cast(Any, 0.0)] * count
    truths: Any = 0.0
    samples = 0

    def add(prediction: Tensor, y: Tensor) -> Tensor:
        nonlocal truths, samples
        k = next(step)
        sums[k] = sums[k] + prediction[:, :1].double().sum(0, keepdim=True)
        if k == 0:
            truths, samples = truths + y[:, :1].double().sum(0, keepdim=True), samples + len(y)
        return y.new_zeros(len(y), 1)

    def correlated(prediction: Tensor, y: Tensor) -> Tensor:
        pair = zip((prediction, y), (sums[next(step)], truths), strict=True)
        ours, theirs = (field[:, :1].double() - total / samples for field, total in pair)
        return acc(ours, theirs, centred=False)

    scores_per_step(model, data, metric=add, device=device)
    return [float(skill) for skill in scores_per_step(model, data, metric=correlated, device=device).mean(1)]
