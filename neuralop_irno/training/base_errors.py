"""The errors that a base leaves on samples of the training set, which a loss may be measured in."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset

from neuralop_irno.devices import to_device
from neuralop_irno.domain.domain import Domain
from neuralop_irno.losses.loss import Loss
from neuralop_irno.modes import evaluating
from neuralop_irno.parallel import gathered
from neuralop_irno.training.batches import Sample, at_once, load_all
from neuralop_irno.training.trainable import Trainable

MOST = 256
"""Samples of a data set that are enough for statistics of its channels."""


def measure(loss: Loss, trainable: Trainable, dataset: Dataset[Sample], device: torch.device) -> None:
    """Let a loss that asks for it see the errors of a refiner's base; they are the same in every process."""
    if loss.measures:
        with gathered(trainable.model), evaluating(trainable.model):
            loss.measure(errors_of_base(trainable, dataset, device))


@torch.no_grad()
def errors_of_base(
    trainable: Trainable, dataset: Dataset[Sample], device: torch.device
) -> Iterator[tuple[Tensor, Domain]]:
    """h_0 - y as the iteration sees it, and its domain, batch by batch, of up to `MOST` samples."""
    refiner: Any = trainable.model
    samples = len(cast(Sized, dataset))
    numbers = torch.linspace(0, samples - 1, min(samples, MOST)).long()
    for _, batch in load_all(dataset, at_once(refiner), numbers):
        sample = trainable.from_batch(to_device(batch, device))
        truth = sample.pop("y")
        problem = refiner.problem((), sample)
        yield problem.start - problem.target(truth), problem.domain
