"""The base class of losses, with neuraloperator's call signature and its sum over the batch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno.domain.condition import inside_of, mask_in
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import domain_of
from neuralop_irno.domain.tuples import TupleDomain
from neuralop_irno.errors import expected
from neuralop_irno.precision import at_least_float32
from neuralop_irno.printed import PrintedAsCall
from neuralop_irno.solution import Trajectory

REDUCTIONS = ("sum", "mean")


class Loss(PrintedAsCall, nn.Module):
    """A loss on a training trajectory, or on a plain prediction, which is treated as its last iterate.

    It is called as neuraloperator's ``Trainer`` calls losses, ``loss(out, **sample)``, and returns, as that
    Trainer expects, the sum over the batch; ``reduction="mean"`` gives the mean.

    Example:
        >>> class LargestError(Loss):
        ...     def per_sample(self, trajectory, y):
        ...         return trajectory.domain.largest(trajectory.last - y)
        >>> LargestError()(torch.zeros(2, 1, 3), torch.tensor([1.0, -2.0, 0.0]).expand(2, 1, 3))
        tensor(4.)
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
            prediction: the output of the refiner: a trajectory in training, a field otherwise.
            y: the truth, laid out like the base's answer.
            sample: the other entries of neuraloperator's batch. The domain of a plain field is built from
                them; see `neuralop_irno.domain.graph.domain_of`.
        """
        trajectory = as_trajectory(prediction, sample)
        values = self.per_sample(trajectory, matching(trajectory, y))
        if self.training and trajectory.phi is not None:
            self.count()
        return self.reduce(values)

    def count(self) -> None:
        """Count one training batch, for the warmup; called by `forward`, not by `per_sample`."""

    @property
    def measures(self) -> bool:
        """Whether the loss has to see errors of the base, by `measure`, before the first update."""
        return False

    def measure(self, errors: Iterable[tuple[Tensor, Domain]]) -> None:
        """Take the base's errors h_0 - y on some training samples, batches with their domains."""

    def begin_epoch(self, epoch: int) -> None:
        """Take the number of the epoch that begins, from 1, for weights that rise by epochs."""

    def reduce(self, values: Tensor) -> Tensor:
        """The sum or the mean over the samples."""
        return values.sum() if self.reduction == "sum" else values.mean()


PerSample = Callable[[Any, Trajectory, Tensor], Tensor]
"""A method `Loss.per_sample`."""


def by_field(per_sample: PerSample) -> PerSample:
    """A method that, for a tuple of fields, is the mean over the fields, each on its own domain.

    For losses that depend on axes, channels or spectra. Mean squares are already means over the fields; see
    `neuralop_irno.domain.tuples.TupleDomain`.
    """

    @wraps(per_sample)
    def averaged(loss: Any, trajectory: Trajectory, y: Tensor) -> Tensor:
        domain = trajectory.domain
        if not isinstance(domain, TupleDomain):
            return per_sample(loss, trajectory, y)
        iterates = zip(*map(domain.fields, trajectory.iterates), strict=True)
        each = [
            per_sample(loss, Trajectory(states, trajectory.progress, part), truth)
            for states, part, truth in zip(iterates, domain.parts, domain.fields(y), strict=True)
        ]
        return torch.stack(each).mean(0)

    return averaged


def as_trajectory(prediction: Trajectory | Tensor, sample: Mapping[str, Any]) -> Trajectory:
    """A trajectory unchanged; a plain field as a trajectory with one iterate.

    Args:
        prediction: the output of a model.
        sample: entries from which the domain of a plain field is built; with a ``mask`` laid out like the
            field, only what is inside counts.
    """
    if isinstance(prediction, Trajectory):
        return prediction
    if not isinstance(prediction, Tensor):
        hint = "the refiner's output without a postprocessor that changes it"
        raise TypeError(expected("a trajectory or a field", type(prediction).__name__, hint))
    domain = domain_of(prediction, sample)
    progress, mask = torch.ones(domain.samples, device=prediction.device), mask_in(prediction, sample)
    if mask is None:
        return Trajectory((prediction,), (progress,), domain)
    inside = inside_of(mask)
    return Trajectory((inside(prediction),), (progress,), domain.masked(mask), as_field=inside)


def truth_of(sample: dict[str, Any]) -> Any:
    """Remove the truth y from a sample and return it."""
    if sample.get("y") is None:
        raise ValueError(expected("samples with a truth y", sorted(sample), "{'x': x, 'y': y}"))
    return sample.pop("y")


def matching(trajectory: Trajectory, y: Tensor) -> Tensor:
    """The truth in the layout and precision of the iterates; ValueError if the shapes differ."""
    field = trajectory.as_field(y)
    if field.shape != trajectory.last.shape:
        wanted = f"y of shape {tuple(trajectory.last.shape)}, like the prediction"
        raise ValueError(expected(wanted, tuple(field.shape), "out_channels and a grid that fit y"))
    # A float64 or boolean y would change the precision of the difference, or fail in Phi.
    return field.to(at_least_float32(trajectory.last).dtype)
