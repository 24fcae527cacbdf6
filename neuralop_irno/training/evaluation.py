"""The error after every step of the iteration, over a whole data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from neuralop_irno.base.conditions import MASK
from neuralop_irno.base.layout import AS_IT_STANDS
from neuralop_irno.base.neuraloperator import wrap_operator
from neuralop_irno.base.operator import BaseOperator
from neuralop_irno.base.points import PointOperator
from neuralop_irno.base.sizes import sphere_of
from neuralop_irno.base.tuples import TupleOperator
from neuralop_irno.base.units import Units
from neuralop_irno.devices import to_device
from neuralop_irno.domain.condition import mask_in
from neuralop_irno.domain.sphere import grid_of, row_weights
from neuralop_irno.draws import drawn_for
from neuralop_irno.metrics import vrmse
from neuralop_irno.modes import evaluating
from neuralop_irno.precision import for_weights
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.registry import accepts
from neuralop_irno.solution import Outcome
from neuralop_irno.training.batches import Sample, at_once, load_all
from neuralop_irno.training.states import States

Metric = Callable[[Tensor, Tensor], Tensor]


def score(
    metric: Metric,
    prediction: Tensor,
    y: Tensor,
    owner: Tensor | None = None,
    inside: Tensor | None = None,
    sphere: str | None = None,
) -> Tensor:
    """A metric of each sample, averaged over the axes after the batch.

    Args:
        metric: prediction and target to ``(B, ...)``.
        prediction: ``(B, C, *S)``, or ``(N, C)`` for graphs.
        y: the same.
        owner: for graphs the sample of each node, ``(N,)``.
        inside: the points that count, ``(B, 1, *S)`` or ``(N, 1)``; None for all.
        sphere: the grid of fields on a sphere; metrics that take ``weights`` get those of its quadrature.

    Shapes:
        - returns: ``(samples,)``

    Example:
        >>> score(vrmse, torch.zeros(2, 1, 2), torch.tensor([[[1.0, -1.0]], [[2.0, -2.0]]]))
        tensor([0.7071, 0.7071])
    """
    if sphere is not None and accepts(metric, "weights"):
        return _by_area(metric, prediction, y, inside, sphere)
    if owner is None and inside is None:
        return metric(prediction, y).flatten(1).mean(1)
    if owner is None:
        assert inside is not None
        keep = inside[:, 0].unbind()
        pairs = [(h[:, part], t[:, part]) for h, t, part in zip(prediction, y, keep, strict=True)]
    else:
        within = torch.ones_like(owner, dtype=torch.bool) if inside is None else inside[:, 0]
        graphs = [(owner == place) & within for place in range(int(owner.max()) + 1)]
        pairs = [(prediction[graph].T, y[graph].T) for graph in graphs]
    # The nodes of a graph, or the points inside of a mask, take the place of the spatial axes.
    return torch.cat([metric(h[None], t[None]).flatten(1).mean(1) for h, t in pairs])


def _by_area(
    metric: Callable[..., Tensor], prediction: Tensor, y: Tensor, inside: Tensor | None, grid: str
) -> Tensor:
    weights = row_weights(grid, y.shape[-2]).to(y)
    if inside is not None:
        each = zip(prediction, y, weights * inside, strict=True)
        return torch.cat([metric(h[None], t[None], weights=w[0]).flatten(1).mean(1) for h, t, w in each])
    return metric(prediction, y, weights=weights).flatten(1).mean(1)


def sphere_in(model: nn.Module, sample: Sample) -> str | None:
    """The grid on the sphere that a sample names, or on which the model works; None if there is none."""
    stated = model.resolution.sphere if isinstance(model, IterativeRefiner) else None
    return grid_of(sample) or stated or sphere_of(model)


def inside_in(model: nn.Module, sample: Sample, y: Tensor) -> Tensor | None:
    """The points of a batch that count: inside of the model's mask, or of the entry ``mask``."""
    named = model.conditions.mask if isinstance(model, IterativeRefiner) else None
    return mask_in(y, sample, named or MASK)


@torch.no_grad()
def scores_per_step(
    model: nn.Module,
    dataset: Dataset[Sample],
    steps: int | None = None,
    metric: Metric = vrmse,
    batch_size: int | None = None,
    device: torch.device | str = "cpu",
    starts: States | None = None,
    numbers: Tensor | None = None,
    seed: Sequence[int] | None = None,
) -> Tensor:
    """A metric of h_0 .. h_steps for every sample; of the output for models other than refiners.

    Args:
        model: put into evaluation mode during the call.
        dataset: of dicts with x and y.
        steps: the last step; K by default.
        metric: prediction and target to ``(B, ...)``; averaged over the axes after the batch.
        batch_size: samples per batch; by default that of `at_a_time`.
        device: where the model is.
        starts: the base's outputs h_0 for these samples, if they are cached.
        numbers: of the samples to score, ``(n,)``; all by default.
        seed: whole numbers. The draws of a random model then depend on these and on the sample's number
            alone; otherwise they come from torch's generator.

    Shapes:
        - returns: ``(steps + 1, n)``, or ``(1, n)``

    Example:
        >>> import neuralop_irno as irno
        >>> correction = irno.FunctionCorrection(lambda x, h: 0.5 * (x - h))
        >>> model = irno.IterativeRefiner(torch.zeros_like, correction)
        >>> x = torch.randn(3, 1, 8)
        >>> scores_per_step(model, irno.FieldDataset(x, x), steps=3, metric=irno.relative_l2).mean(1)
        tensor([1.0000, 0.5000, 0.2500, 0.1250])
    """
    columns: list[Tensor] = []
    scoring = model if isinstance(model, IterativeRefiner) else wrap_operator(model, frozen=False)
    scaled = in_units(metric, scoring.units)
    with evaluating(model):
        for index, batch in load_all(dataset, batch_size or at_once(model), numbers):
            sample = for_weights(to_device(batch, torch.device(device)), scoring)
            known = None if starts is None else starts[index]
            with nullcontext() if seed is None else drawn_for(index, *seed):
                columns.append(torch.stack(_each_step(model, sample, steps, scaled, known)).cpu())
    return torch.cat(columns, 1)


def _each_step(
    model: nn.Module, sample: Sample, steps: int | None, metric: Metric, start: Tensor | None
) -> list[Tensor]:
    """The scores of the answers to one batch after every step."""
    y = sample.pop("y")
    by_field = metric
    if isinstance(model, IterativeRefiner):
        by_field = of_each_field(metric, model.base, y)
        answers, y = _iterates(model, sample, y, steps, start)
    else:
        base = wrap_operator(model, frozen=False)
        layout = AS_IT_STANDS if base.layout.plain else base.layout
        sample = layout.from_batch({**sample, "y": y})
        y = layout.answer.fold(sample.pop("y"))
        answers = [layout.answer.fold(base.split(base(**sample))[0])]
    return _scores(model, sample, by_field, answers, y)


def in_units(metric: Metric, units: Units | None) -> Metric:
    """A metric that takes a ``scale`` with that of a model's units, the deviations of its training set."""
    if units is None or not accepts(metric, "scale"):
        return metric
    return partial(metric, scale=units.y.std)  # type: ignore[call-arg]


def of_each_field(metric: Metric, base: BaseOperator, y: Any) -> Metric:
    """A metric of packed states that is the mean over their fields; the metric itself for one field.

    Args:
        metric: prediction and target to ``(B, ...)``.
        base: the adapter of the base.
        y: the truth in the layout of a call.
    """
    if not isinstance(base, TupleOperator):
        return metric
    axes = base.layout.answer
    frames = axes.frames(y)

    def fields(packed: Tensor) -> list[Tensor]:
        on_points = isinstance(base.parts[0], PointOperator)
        return [each.movedim(-1, 1) if on_points else each for each in axes.separate(packed, frames)]

    def averaged(prediction: Tensor, truth: Tensor) -> Tensor:
        pairs = zip(fields(prediction), fields(truth), strict=True)
        return torch.stack([score(metric, *pair) for pair in pairs], 1)

    return averaged


def _scores(
    model: nn.Module,
    sample: Sample,
    metric: Metric,
    answers: Sequence[Tensor],
    y: Tensor,
) -> list[Tensor]:
    """The scores of several answers to one batch."""
    base = model.base if isinstance(model, IterativeRefiner) else wrap_operator(model, frozen=False)
    owner, inside = sample.get("batch"), inside_in(model, sample, y)
    if isinstance(base, PointOperator):  # points that are padding do not count
        call_of: Any = model.call if isinstance(model, IterativeRefiner) else base.problem
        call = call_of((), sample, start=answers[0])
        answers, y = [call.as_field(answer) for answer in answers], call.as_field(y)
        owner, inside = call.domain.batch, call.condition.mask
    sphere = None if owner is not None else sphere_in(model, sample)
    return [score(metric, each, y, owner, inside, sphere) for each in answers]


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
        evaluations: of Phi, or applications of a preconditioner, counted in samples.
        equation_residual: of each sample, ``(n,)``; None where a solver of equations was not used.
    """

    scores: Tensor
    steps: Tensor
    outcomes: Counter[Outcome]
    evaluations: int
    equation_residual: Tensor | None


@torch.no_grad()
def scores_of_solutions(
    model: IterativeRefiner,
    dataset: Dataset[Sample],
    metric: Metric = vrmse,
    batch_size: int | None = None,
    device: torch.device | str = "cpu",
    numbers: Tensor | None = None,
    seed: Sequence[int] | None = None,
    **options: Any,
) -> Solved:
    """A metric of the values of `IterativeRefiner.solve`, with steps and outcomes.

    Args:
        model: put into evaluation mode during the call.
        dataset: of dicts with x and y.
        metric: prediction and target to ``(B, ...)``; averaged over the axes after the batch.
        batch_size: samples per batch; by default that of `at_a_time`.
        device: where the model is.
        numbers: of the samples to solve, ``(n,)``; all by default.
        seed: as for `scores_per_step`.
        options: of `IterativeRefiner.solve`.
    """
    scores, steps, outcomes, evaluations = [], [], Counter[Outcome](), 0
    residuals: list[Tensor] = []
    scaled = in_units(metric, model.units)
    with evaluating(model):
        for index, batch in load_all(dataset, batch_size or at_once(model), numbers):
            sample = for_weights(to_device(batch, torch.device(device)), model)
            sample = model.base.from_batch(sample)
            by_field = of_each_field(scaled, model.base, sample["y"])
            y = model.base.as_field(sample.pop("y"))
            with nullcontext() if seed is None else drawn_for(index, *seed):
                solution = model.solve(**model.arguments(sample), **options)
            found = model.base.as_field(solution.value)
            scores.append(_scores(model, sample, by_field, [found], y)[0].cpu())
            steps.append(solution.steps.cpu())
            outcomes.update(solution.outcomes)
            evaluations += solution.evaluations
            if solution.equation_residual is not None:
                residuals.append(solution.equation_residual.cpu())
    residual = torch.cat(residuals) if residuals else None
    return Solved(torch.cat(scores), torch.cat(steps), outcomes, evaluations, residual)
