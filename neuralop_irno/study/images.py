"""How far reconstructed images are from the true ones, one by one and as a set."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from neuralop_irno.errors import expected
from neuralop_irno.metrics import fourier_distance, mse
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.training.batches import Sample
from neuralop_irno.training.evaluation import scores_per_step


def errors_of_images(model: nn.Module, data: Dataset[Sample], device: str) -> dict[str, float]:
    """The mean square error of a model's answers, and their Fourier distance from the truth as two sets.

    See `neuralop_irno.metrics.fourier_distance`.

    Args:
        model: any model on grids without steps; of an iterated one, its last iterate counts.
        data: fields on a grid.
        device: where the model is.

    Example:
        >>> from neuralop_irno.data.solvers.textures import masked_textures
        >>> data = masked_textures([1, 1, 8], size=16)["test"]
        >>> found = errors_of_images(nn.Identity(), data, "cpu")
        >>> sorted(found), found["MSE"] > 0.1, found["Fourier distance"] > 1
        (['Fourier distance', 'MSE'], True, True)
    """
    if isinstance(model, IterativeRefiner):
        raise ValueError(expected("a network for images", "a refiner", "role: alone, or kind: main"))
    pairs: list[tuple[Any, Any]] = []

    def collect(prediction: Tensor, y: Tensor) -> Tensor:
        pairs.append((prediction.float().cpu(), y.float().cpu()))
        return mse(prediction, y)

    scores = scores_per_step(model, data, metric=collect, device=device)
    answers, truth = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    return {"MSE": float(scores.mean()), "Fourier distance": fourier_distance(answers, truth)}
