"""The dependence of one output point on the input: how many points, and how far away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.base.operator import BaseOperator
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain, points_of_axes

FAINT = 1e-6
"""Slopes below this part of the largest count as zero: transforms leave rounding errors everywhere."""

MOST = 0.99


@dataclass(frozen=True)
class Sight:
    """The input points that one output point in the middle depends on.

    Attributes:
        points: their number, averaged over the samples.
        share: of all points.
        reach: the distance within which 99 % of its squared slopes lie, in units of the domain's longest
            side; None if points have no coordinates.
    """

    points: float
    share: float
    reach: float | None

    def __str__(self) -> str:
        near = "" if self.reach is None else f"; 99 % of the effect lies within {self.reach:.2f} sides"
        return f"a point of the answer sees {self.share:.1%} of the input ({self.points:.0f} points){near}"


def sight_of(base: BaseOperator, sample: dict[str, Any], generator: torch.Generator) -> Sight | None:
    """The dependence of a point in the middle of each sample, by the gradient of the output there.

    Args:
        base: in evaluation mode.
        sample: its arguments, including x.
        generator: for random weights of the output channels, so that they do not cancel.

    Returns:
        None if the output has no gradient, or if the input of a model on points is on other
        points than its output.

    Example:
        >>> from neuralop_irno.base.neuraloperator import wrap_operator
        >>> base = wrap_operator(torch.nn.Conv1d(1, 1, 5, padding=2))
        >>> print(sight_of(base, {"x": torch.randn(2, 1, 50)}, torch.Generator().manual_seed(0)))
        a point of the answer sees 10.0% of the input (5 points); 99 % of the effect lies within 0.04 sides
    """
    x = sample["x"].detach().clone().requires_grad_()
    problem = base.problem((), {**sample, "x": x})
    answer, domain = problem.start, problem.domain
    weights = torch.randn(answer.shape[1], generator=generator).to(answer)
    places = _coordinates(domain, answer.shape)
    middles = [int((each - each.mean(0)).norm(dim=1).argmin()) for each in places]
    weighed = _by_sample(domain, answer.movedim(1, -1) @ weights)
    watched = torch.stack([values[middle] for values, middle in zip(weighed, middles, strict=True)]).sum()
    if not watched.requires_grad:
        return None
    (slope,) = torch.autograd.grad(watched, x, materialize_grads=True)
    slope = problem.as_field(slope) if isinstance(domain, GraphDomain) else base.layout.x.fold(slope)
    if isinstance(domain, GraphDomain) and len(slope) != len(answer):
        return None
    found = []
    for squares, own, theirs, middle in zip(
        _by_sample(domain, slope.square().sum(1).cpu()),
        _coordinates(domain, slope.shape),
        places,
        middles,
        strict=True,
    ):
        seen = int((squares > FAINT**2 * squares.max()).sum())
        away = (own - theirs[middle]).norm(dim=1)
        order = away.argsort()
        inside = squares[order].double().cumsum(0)
        reach = away[order][int((inside < MOST * inside[-1]).sum())].item()
        found.append((seen, seen / len(squares), reach))
    points, share, reach = torch.tensor(found, dtype=torch.float64).mean(0).tolist()
    placed = not isinstance(domain, GraphDomain) or domain.pos is not None
    return Sight(points, share, reach if placed else None)


def _by_sample(domain: Domain, values: Tensor) -> list[Tensor]:
    """A value for every point, separately for each sample."""
    if isinstance(domain, GraphDomain):
        return [values[(domain.batch == graph).to(values.device)] for graph in range(domain.samples)]
    return list(values.flatten(1))


def _coordinates(domain: Domain, shape: Sequence[int]) -> list[Tensor]:
    """The coordinates of each sample's points, in units of the domain's longest side, ``(points, d)``.

    Args:
        domain: of the output.
        shape: of a field on it, or, on grids, on a coarser or finer one.
    """
    if isinstance(domain, GridDomain):
        longest = max(domain.shape)
        sides = [n / longest for n in domain.shape]
        axes = [(torch.arange(n) + 0.5) * (side / n) for n, side in zip(shape[2:], sides, strict=True)]
        points = points_of_axes(axes).flatten(0, -2)
        return [points] * domain.samples
    assert isinstance(domain, GraphDomain)
    pos = torch.zeros(len(domain.batch), 1) if domain.pos is None else domain.pos.detach().cpu()
    found = []
    for own in _by_sample(domain, torch.arange(len(pos))):
        points = pos[own]
        found.append(points / (points.amax(0) - points.amin(0)).max().clamp(min=1e-12))
    return found
