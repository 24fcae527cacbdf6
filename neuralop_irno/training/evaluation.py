"""The error after every step of the iteration, over a whole data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from neuralop_irno.base.neuraloperator import wrap_operator
from neuralop_irno.devices import to_device
from neuralop_irno.metrics import vrmse
from neuralop_irno.modes import evaluating
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.solution import Outcome
from neuralop_irno.training.batches import Sample, load_all
from neuralop_irno.training.states import States


def score(
    metric: Callable[[Tensor, Tensor], Tensor], prediction: Tensor, y: Tensor, owner: Tensor | None = None
) -> Tensor:
    """A metric of each sample, averaged over the axes after the batch.

    Args:
        metric: prediction and target to ``(B, ...)``.
        prediction: ``(B, C, *S)``, or ``(N, C)`` for graphs.
        y: the same.
        owner: for graphs the sample of each node, ``(N,)``.

    Shapes:
        - returns: ``(samples,)``
    """
    if owner is None:
        return metric(prediction, y).flatten(1).mean(1)
    graphs = [owner == place for place in range(int(owner.max()) + 1)]
    # One graph is one sample; its nodes take the place of the spatial axes.
    return torch.cat([metric(prediction[g].T[None], y[g].T[None]).mean(1) for g in graphs])


@torch.no_grad()
def scores_per_step(
    model: nn.Module,
    dataset: Dataset[Sample],
    steps: int | None = None,
    metric: Callable[[Tensor, Tensor], Tensor] = vrmse,
    batch_size: int | None = None,
    device: torch.device | str = "cpu",
    starts: States | None = None,
) -> Tensor:
    """A metric of h_0 .. h_steps for every sample; of the output for models other than refiners.

    Args:
        model: put into evaluation mode during the call.
        dataset: of dicts with x and y.
        steps: the last step; K by default.
        metric: prediction and target to ``(B, ...)``; averaged over the axes after the batch.
        batch_size: samples per batch; by default that of `at_a_time`.
        device: where the model is.
        starts: the base's outputs h_0 for the whole data set, if they are cached.

    Shapes:
        - returns: ``(steps + 1, n)``, or ``(1, n)``
    """
    columns: list[Tensor] = []
    with evaluating(model):
        for index, batch in load_all(dataset, batch_size):
            sample = to_device(batch, torch.device(device))
            y = sample.pop("y")
            if isinstance(model, IterativeRefiner):
                known = None if starts is None else starts[index]
                answers, y = _iterates(model, sample, y, steps, known)
            else:
                base = wrap_operator(model, frozen=False)
                answers = [base.split(base(**sample))[0]]
            owner = sample.get("batch")
            columns.append(torch.stack([score(metric, answer, y, owner) for answer in answers]).cpu())
    return torch.cat(columns, 1)


def _iterates(
    model: IterativeRefiner, sample: Sample, y: Tensor, steps: int | None, start: Tensor | None
) -> tuple[list[Tensor], Tensor]:
    """The iterates and the truth as fields, ``(B, C, *S)`` on grids; ``start`` is one as well."""
    base = model.base
    sample = base.from_batch({**model.arguments(sample), "y": y})
    y, axes = sample.pop("y"), base.layout.answer
    start = None if start is None else axes.unfold(start, axes.frames(y))
    answers = model.iterates(**sample, steps=steps, start=start)
    return [base.as_field(answer) for answer in answers], base.as_field(y)


@dataclass(frozen=True)
class Solved:
    """How the solves of a data set ended.

    Attributes:
        scores: of each sample, ``(n,)``.
        steps: taken by each sample, ``(n,)``.
        outcomes: the number of samples for each outcome.
    """

    scores: Tensor
    steps: Tensor
    outcomes: Counter[Outcome]


@torch.no_grad()
def scores_of_solutions(
    model: IterativeRefiner,
    dataset: Dataset[Sample],
    metric: Callable[[Tensor, Tensor], Tensor] = vrmse,
    batch_size: int | None = None,
    device: torch.device | str = "cpu",
    **options: Any,
) -> Solved:
    """A metric of the values of `IterativeRefiner.solve`, with steps and outcomes.

    Args:
        model: put into evaluation mode during the call.
        dataset: of dicts with x and y.
        metric: prediction and target to ``(B, ...)``; averaged over the axes after the batch.
        batch_size: samples per batch; by default that of `at_a_time`.
        device: where the model is.
        options: of `IterativeRefiner.solve`.
    """
    scores, steps, outcomes = [], [], Counter[Outcome]()
    with evaluating(model):
        for _, batch in load_all(dataset, batch_size):
            sample = model.base.from_batch(to_device(batch, torch.device(device)))
            y = model.base.as_field(sample.pop("y"))
            solution = model.solve(**model.arguments(sample), **options)
            found = model.base.as_field(solution.value)
            scores.append(score(metric, found, y, sample.get("batch")).cpu())
            steps.append(solution.steps.cpu())
            outcomes.update(solution.outcomes)
    return Solved(torch.cat(scores), torch.cat(steps), outcomes)
