"""The points of one call of a network on sets of points, some of which may be padding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.domain.points import PointDomain, interpolate
from neuralop_irno.domain.spacing import PointSet
from neuralop_irno.errors import expected


@dataclass(frozen=True)
class PointSets:
    """Points, of which those that are not padding exist for the correction.

    Attributes:
        pos: coordinates, ``(B, n, d)``.
        inside: which points are not padding, ``(B, n)``; None if none is.
        measure: of the points, ``(B, n)`` or ``(n,)``; None if it follows from the coordinates.
        period: the sides of the box, ``(d,)`` or ``(B, d)``; None for an open domain.

    Example:
        >>> points = PointSets(torch.rand(2, 3, 2), torch.tensor([[1, 1, 1], [1, 1, 0]]).bool())
        >>> field = points.rows(torch.zeros(2, 3, 4))
        >>> field.shape, points.domain(field)
        (torch.Size([5, 4]), GraphDomain(2 samples, 5 nodes in 2 dimensions))
    """

    pos: Tensor
    inside: Tensor | None = None
    measure: Tensor | None = None
    period: Tensor | None = None

    def rows(self, values: Tensor) -> Tensor:
        """Values ``(B, n, ...)`` as rows ``(N, ...)``, one for each point that is not padding."""
        return values.flatten(0, 1) if self.inside is None else values[self.inside]

    def domain(self, field: Tensor) -> PointDomain:
        """The domain of a field of rows."""
        samples, count = self.pos.shape[:2]
        batch = torch.arange(samples, device=field.device)[:, None].expand(samples, count)
        measure = self.measure
        if measure is not None and measure.shape in ((count,), (1, count), (samples, count)):
            measure = self.rows(measure.expand(samples, count))
        known: Mapping[str, Any] = {
            "batch": self.rows(batch), "pos": self.rows(self.pos), "measure": measure, "period": self.period,
        }  # fmt: skip
        return PointDomain.of(field, known, samples)

    def carried(self, values: Tensor, target: Tensor) -> Tensor:
        """Values ``(B, n, C)`` interpolated to other points, ``(B, q, d)``, as rows ``(B q, C)``."""
        found = []
        for sample, queries in enumerate(target):
            inside = slice(None) if self.inside is None else self.inside[sample]
            here = self._point_set(self.pos[sample][inside], sample)
            found.append(interpolate(values[sample][inside], here, self._point_set(queries, sample)))
        return torch.cat(found)

    def _point_set(self, pos: Tensor, sample: int) -> PointSet:
        if not bool(pos.isfinite().all()):
            raise ValueError(expected("finite coordinates", "NaN or infinity", "a mask for those points"))
        box = None
        if self.period is not None:
            sides = self.period.detach().cpu().double().expand(len(self.pos), pos.shape[1])
            box = sides[sample].numpy()
        return PointSet(pos.detach().cpu().double().numpy(), box)
