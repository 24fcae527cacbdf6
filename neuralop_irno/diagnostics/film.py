"""One field of one sample in time, predicted and true, for films."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain

LONGEST = 100
"""The most frames of a film; longer rollouts are thinned to every second, third, .. frame."""


@dataclass(frozen=True)
class Film:
    """Frames of one field, on a line, on a grid, or on points in the plane.

    Attributes:
        predicted: ``(T, n)``, ``(T, n, m)``; for three-dimensional grids the middle layer.
        true: the same.
        numbers: of the frames, from 1.
        title: which field and sample it is.
        pos: the points of a graph, ``(n, d)``; None on grids.
        cells: of a mesh of triangles, ``(3, cells)``.
    """

    predicted: Tensor
    true: Tensor
    numbers: tuple[int, ...]
    title: str
    pos: Tensor | None = None
    cells: Tensor | None = None

    @classmethod
    def of(cls, frames: Tensor, truth: Tensor, domain: Domain, sample: int, name: str) -> Self:
        """The first field of a sample."""
        steps = frames.shape[1]
        numbers = range(0, steps, -(-steps // LONGEST))
        title = f"{name}, sample {sample}"
        pos, cells = None, None
        keep = torch.tensor([sample], device=frames.device)
        shown = []
        for series in (frames, truth):
            own = domain.take(series, keep)
            field = own[:, :, 0].T if isinstance(domain, GraphDomain) else own[0, :, 0]
            while field.dim() > 3:
                field = field[:, field.shape[1] // 2]
            shown.append(field[list(numbers)].detach().float().cpu())
        if isinstance(domain, GraphDomain):
            part = domain.select(keep)
            pos = None if part.pos is None else part.pos.detach().cpu()
            triangles = part.cells is not None and len(part.cells) == 3
            cells = part.cells.cpu() if part.cells is not None and triangles else None
        return cls(shown[0], shown[1], tuple(n + 1 for n in numbers), title, pos, cells)
