r"""From deviations at observed points to the estimated deviation at all points, on grids and graphs.

.. math:: \delta = C_{\cdot o} \, (C_{oo} + r^2 I)^{-1} d_o
          \qquad C_{ij} = e^{-d_{ij}^2 / 2 \ell^2}
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import points_of_axes
from neuralop_irno.errors import expected

Gain = tuple[Tensor, Tensor]
"""Indices of the observed points of one field, and the gain of every point for each of them."""

MOST = 4096
"""The most observed points of one field of one sample: a dense solve then takes seconds."""


class Spreading:
    """Spreads deviations at observed points, sample by sample and field by field.

    Args:
        mask: the observed points, laid out like a field.
        domain: where the fields live.
        reach: l.
        noise: r.
        sides: lengths of the axes; one for all or one for each.
        periodic: which of them are periodic, likewise.

    Shapes:
        - mask, deviations, result: ``(B, C, *S)`` or ``(N, C)``
    """

    def __init__(
        self,
        mask: Tensor,
        domain: Domain,
        reach: float,
        noise: float,
        sides: float | Sequence[float],
        periodic: bool | Sequence[bool],
    ) -> None:
        on_graphs = isinstance(domain, GraphDomain)
        points, columns = points_of(mask, domain, sides, periodic), as_rows(mask)
        every = torch.arange(len(columns), device=mask.device)
        if isinstance(domain, GraphDomain):
            self._rows = [every[domain.batch == sample] for sample in range(domain.samples)]
        else:
            self._rows = list(every.split(len(points)))
        # Grids of a batch share their points, and often their masks: one solve for equal masks.
        known: dict[tuple[int, bytes], Gain] = {}
        self._gains: list[list[Gain]] = []
        for sample, rows in enumerate(self._rows):
            own = []
            for column in columns[rows].unbind(1):
                key = (sample if on_graphs else 0, column.cpu().numpy().tobytes())
                if key not in known:
                    observed = column.nonzero()[:, 0]
                    known[key] = observed, gain(points[rows] if on_graphs else points, observed, reach, noise)
                own.append(known[key])
            self._gains.append(own)

    def __call__(self, deviation: Tensor) -> Tensor:
        """The estimated deviation at all points, from that at the observed points."""
        everywhere = as_rows(deviation)
        spread = torch.zeros_like(everywhere)
        for rows, gains in zip(self._rows, self._gains, strict=True):
            part = everywhere[rows]
            fields = [
                (matrix @ part[observed, field].to(matrix.dtype)).to(part.dtype)
                for field, (observed, matrix) in enumerate(gains)
            ]
            spread = spread.index_copy(0, rows, torch.stack(fields, 1))
        return as_field(spread, deviation)


def gain(points: Tensor, observed: Tensor, reach: float, noise: float) -> Tensor:
    """Kalman's gain of each point for each observed one, ``(points, observed)``."""
    if len(observed) > MOST:
        wanted = f"at most {MOST} observed points a sample"
        raise ValueError(expected(wanted, len(observed), "Nudging, or fewer points"))
    covariance = torch.exp(-torch.cdist(points, points[observed]).square() / (2 * reach**2))
    with_noise = covariance[observed] + noise**2 * torch.eye(len(observed)).to(covariance)
    return torch.cholesky_solve(covariance.mT, torch.linalg.cholesky(with_noise)).mT


def circles(points: Tensor, sides: Sequence[float], periodic: Sequence[bool]) -> Tensor:
    """Points with every periodic axis mapped to a circle.

    Distances are then chords. Unlike distances to the nearest copy, they give a covariance for every reach.

    Args:
        points: ``(n, d)``.
        sides: the length of each axis; only those of periodic axes count.
        periodic: which axes are periodic.

    Shapes:
        - returns: ``(n, d + number of periodic axes)``

    Example:
        >>> ends = circles(torch.tensor([[0.0], [0.9]]), [1.0], [True])
        >>> torch.dist(*ends)  # a little less than the arc of 0.1
        tensor(0.0984)
    """
    axes = []
    for place, (side, closed) in enumerate(zip(sides, periodic, strict=True)):
        along = points[:, place]
        angle = along * (2 * math.pi / side)
        wound = [angle.cos() * side / (2 * math.pi), angle.sin() * side / (2 * math.pi)]
        axes += wound if closed else [along]
    return torch.stack(axes, 1)


def grid_points(shape: Sequence[int], sides: Sequence[float], periodic: Sequence[bool]) -> Tensor:
    """The points of a grid, ``(n, d)``; a periodic axis ends one cell before its side does.

    Example:
        >>> grid_points([2], [1.0], [True]).flatten(), grid_points([2], [1.0], [False]).flatten()
        (tensor([0.0000, 0.5000], dtype=torch.float64), tensor([0., 1.], dtype=torch.float64))
    """
    ticks = [
        torch.arange(n, dtype=torch.float64) * (side / (n if closed else max(n - 1, 1)))
        for n, side, closed in zip(shape, sides, periodic, strict=True)
    ]
    return points_of_axes(ticks).flatten(0, -2)


def for_each_axis(name: str, value: Any, axes: int) -> list[Any]:
    """One value for all axes, or one for each."""
    values = list(value) if isinstance(value, Sequence) else [value] * axes
    if len(values) != axes:
        raise ValueError(expected(f"{name} of {axes} axes", value, "one for all, or one for each"))
    return values


def points_of(mask: Tensor, domain: Domain, sides: Any, periodic: Any) -> Tensor:
    """The points of a grid, or of all graphs, with periodic axes mapped to circles."""
    pos = domain.pos if isinstance(domain, GraphDomain) else None
    if pos is None and isinstance(domain, GraphDomain):
        raise ValueError(expected("nodes with coordinates", "none", "pos=..., or Nudging"))
    axes = mask.dim() - 2 if pos is None else pos.shape[1]
    lengths = for_each_axis("sides", sides, axes)
    closed = for_each_axis("periodic", periodic, axes)
    if pos is None:
        points = grid_points(mask.shape[2:], lengths, closed).to(mask.device)
    else:
        points = pos.detach().double()
    return circles(points, lengths, closed)


def as_rows(field: Tensor) -> Tensor:
    """A row for each point of each sample, ``(N, C)``."""
    return field if field.dim() == 2 else field.movedim(1, -1).flatten(0, -2)


def as_field(rows: Tensor, like: Tensor) -> Tensor:
    """The inverse of `as_rows`."""
    return rows if like.dim() == 2 else rows.reshape(len(like), *like.shape[2:], -1).movedim(-1, 1)
