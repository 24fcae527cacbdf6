"""What the losses share: neuraloperator's call signature and its sum over the batch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno.domain.choice import domain_of
from neuralop_irno.errors import expected
from neuralop_irno.precision import at_least_float32
from neuralop_irno.solution import Trajectory

REDUCTIONS = ("sum", "mean")


class Loss(nn.Module):
    """A loss on a training trajectory, or on a plain prediction, which counts as its last iterate.

    Called as neuraloperator's ``Trainer`` calls its losses, ``loss(out, **sample)``: of the sample it
    reads y and leaves the rest alone. That Trainer expects a sum over the batch, and so do its users
    of every loss; ``reduction="mean"`` gives the mean.
    """

    def __init__(self, reduction: str = "sum") -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ValueError(expected("reduction 'sum' or 'mean'", repr(reduction), "reduction='sum'"))
        self.reduction = reduction

    @abstractmethod
    def per_sample(self, trajectory: Trajectory, y: Tensor) -> Tensor:
        """The loss of each sample, ``(samples,)``; y is laid out like the iterates."""

    def forward(self, prediction: Trajectory | Tensor, y: Tensor, **sample: object) -> Tensor:
        """The loss of a batch.

        Args:
            prediction: what the refiner returned: a trajectory in training, a field otherwise.
            y: the truth, laid out like the base's answer.
            sample: the rest of neuraloperator's batch. Where the prediction is a plain field it tells what
                the field lives on; see `neuralop_irno.domain.choice.domain_of`.
        """
        trajectory = as_trajectory(prediction, sample)
        values = self.per_sample(trajectory, matching(trajectory, y))
        if self.training and trajectory.phi is not None:
            self.count()
        return self.reduce(values)

    def count(self) -> None:
        """One more batch of a training has passed; `forward` calls this, `per_sample` does not."""

    def reduce(self, values: Tensor) -> Tensor:
        """Over the samples, by the convention that was chosen."""
        return values.sum() if self.reduction == "sum" else values.mean()


def as_trajectory(prediction: Trajectory | Tensor, sample: Mapping[str, Any]) -> Trajectory:
    """A plain field is a trajectory of one iterate, the last.

    Args:
        prediction: what a model returned.
        sample: what is known of the domain of a plain field.
    """
    if isinstance(prediction, Trajectory):
        return prediction
    if not isinstance(prediction, Tensor):
        raise TypeError(
            expected(
                "a trajectory or a field",
                type(prediction).__name__,
                "the refiner's own output, without a postprocessor that changes it",
            )
        )
    domain = domain_of(prediction, sample)
    progress = torch.ones(domain.samples, device=prediction.device)
    return Trajectory((prediction,), (progress,), domain)


def truth_of(sample: dict[str, Any]) -> Tensor:
    """Take the truth, y, out of a sample."""
    if not isinstance(sample.get("y"), Tensor):
        raise ValueError(expected("samples with a truth y", sorted(sample), "{'x': x, 'y': y}"))
    y: Tensor = sample.pop("y")
    return y


def matching(trajectory: Trajectory, y: Tensor) -> Tensor:
    """The truth laid out like the iterates, or an error that says how it differs."""
    field = trajectory.as_field(y)
    if field.shape != trajectory.last.shape:
        raise ValueError(
            expected(
                f"y of shape {tuple(trajectory.last.shape)}, like the prediction",
                tuple(field.shape),
                "out_channels and a grid that fit y",
            )
        )
    # In 64 bits, or as true and false, it would meet Phi's weights, or the difference, in another precision.
    return field.to(at_least_float32(trajectory.last).dtype)
