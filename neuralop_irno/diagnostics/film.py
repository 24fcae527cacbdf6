"""One field of one sample in time, true and predicted by one or several models, for films."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from neuralop_irno.diagnostics.rollout_frames import Series, frame_of
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain

LONGEST = 100
"""The most frames of a film; longer rollouts are thinned to every second, third, .. frame."""


@dataclass(frozen=True)
class Film:
    """Frames of one field, on a line, on a grid, or on points.

    Attributes:
        predicted: by the name of the model, ``(T, n)``, ``(T, n, m)``; for three-dimensional grids the middle
            layer.
        true: the same.
        numbers: of the frames, from 1.
        title: which field and sample it is.
        error: of this sample, the mean over all frames.
        pos: the points of a graph, ``(n, d)``; None on grids.
        cells: of a mesh, triangles ``(3, cells)`` or tetrahedra ``(4, cells)``.
    """

    predicted: Mapping[str, Tensor]
    true: Tensor
    numbers: tuple[int, ...]
    title: str
    error: float
    pos: Tensor | None = None
    cells: Tensor | None = None

    @classmethod
    def of(
        cls, frames: Mapping[str, Series], truth: Series, domain: Domain, errors: Tensor, name: str
    ) -> Self:
        """The first field of the sample with the median error.

        Args:
            frames: by the name of the model.
            truth: the true ones.
            domain: of a frame.
            errors: of each sample, ``(samples,)``.
            name: of the field.

        Shapes:
            - frames, truth: ``(B, T, C, *S)`` or ``(N, T, C)``
        """
        errors = errors.nan_to_num(LARGEST, LARGEST).clamp(max=LARGEST)
        sample = int(errors.argsort()[(len(errors) - 1) // 2])
        steps = truth.shape[1]
        numbers = range(0, steps, -(-steps // LONGEST))

        def shown(series: Series) -> Tensor:
            return torch.stack([_field(frame_of(series, index), sample, domain) for index in numbers])

        pos, cells = None, None
        if isinstance(domain, GraphDomain):
            part = domain.select(torch.tensor([sample], device=domain.batch.device))
            pos = None if part.pos is None else part.pos.detach().cpu()
            cells = None if part.cells is None else part.cells.cpu()
        return cls(
            {model: shown(series) for model, series in frames.items()},
            shown(truth),
            tuple(n + 1 for n in numbers),
            f"{name}, sample {sample}",
            float(errors[sample]),
            pos,
            cells,
        )


def _field(frame: Tensor, sample: int, domain: Domain) -> Tensor:
    """The first field of a sample; the middle layer of a three-dimensional grid."""
    own = domain.take(frame, torch.tensor([sample], device=frame.device))
    field = own[:, 0] if isinstance(domain, GraphDomain) else own[0, 0]
    while field.dim() > 2:
        field = field[field.shape[0] // 2]
    return field.detach().float().cpu()


LARGEST = 1e30
"""The error of a sample that has blown up."""


def median_of(films: list[Film], errors: Tensor) -> Film:
    """The film of a sample whose error is closest to the median of all.

    Args:
        films: of parts of the samples.
        errors: of all samples, ``(samples,)``.
    """
    middle = float(errors.nan_to_num(LARGEST, LARGEST).clamp(max=LARGEST).median())
    return min(films, key=lambda film: abs(film.error - middle))
