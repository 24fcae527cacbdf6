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
from neuralop_irno.metrics import vrmse
from neuralop_irno.modes import evaluating
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.solution import Outcome
from neuralop_irno.training.batches import Sample, load_all, to_device
from neuralop_irno.training.states import States


def score(
    metric: Callable[[Tensor, Tensor], Tensor], prediction: Tensor, y: Tensor, owner: Tensor | None = None
) -> Tensor:
    """A metric of each sample, averaged over what follows the batch.

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
    # One graph is one sample, its nodes are its space.
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
    """A metric of h_0 .. h_steps for every sample; for a model that is no refiner, of its answer.

    Args:
        model: put into evaluation mode, and back.
        dataset: of dicts with x and y.
        steps: the last step; K by default.
        metric: prediction and target to ``(B, ...)``; what follows the batch is averaged.
        batch_size: samples at a time; as many as `at_a_time` finds by default.
        device: where the model is.
        starts: the base's answers to the whole data set, where they are known already.

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
                answers = model.iterates(**model.arguments(sample), steps=steps, start=known)
            else:
                answers = [wrap_operator(model, frozen=False)(**sample)]
            owner = sample.get("batch")
            columns.append(torch.stack([score(metric, answer, y, owner) for answer in answers]).cpu())
    return torch.cat(columns, 1)


@dataclass(frozen=True)
class Solved:
    """How the solves of a data set ended.

    Attributes:
        scores: of each answer, ``(n,)``.
        steps: that each sample took, ``(n,)``.
        outcomes: how many samples ended in which way.
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
    """A metric of the answers of `IterativeRefiner.solve`, and what they cost.

    Args:
        model: put into evaluation mode, and back.
        dataset: of dicts with x and y.
        metric: prediction and target to ``(B, ...)``; what follows the batch is averaged.
        batch_size: samples at a time; as many as `at_a_time` finds by default.
        device: where the model is.
        options: of `IterativeRefiner.solve`.
    """
    scores, steps, outcomes = [], [], Counter[Outcome]()
    with evaluating(model):
        for _, batch in load_all(dataset, batch_size):
            sample: dict[str, Any] = to_device(batch, torch.device(device))
            y = sample.pop("y")
            solution = model.solve(**model.arguments(sample), **options)
            scores.append(score(metric, solution.value, y, sample.get("batch")).cpu())
            steps.append(solution.steps.cpu())
            outcomes.update(solution.outcomes)
    return Solved(torch.cat(scores), torch.cat(steps), outcomes)
