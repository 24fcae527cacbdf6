"""Fields on uniform grids of one to three dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain


class GridDomain(Domain):
    """A batch of uniform grids of one shape; all cells have the same measure.

    Args:
        samples: number of grids in the batch.
        shape: points along each axis, ``S``.
        lengths: the sides of the box; None if not known.

    Shapes:
        - field: ``(B, C, *S)``

    Example:
        >>> domain = GridDomain(samples=2, shape=(4, 5))
        >>> domain
        GridDomain(2 samples, 4 x 5 points)
        >>> domain.norm(torch.full((2, 3, 4, 5), -2.0))
        tensor([2., 2.])
    """

    def __init__(self, samples: int, shape: Sequence[int], lengths: Sequence[float] | None = None) -> None:
        self.samples = samples
        self.shape = tuple(shape)
        self.lengths = None if lengths is None else tuple(lengths)

    def __repr__(self) -> str:
        return f"GridDomain({self.samples} samples, {' x '.join(map(str, self.shape))} points)"

    @classmethod
    def of(cls, field: Tensor, lengths: Sequence[float] | None = None) -> GridDomain:
        """The domain of a field of shape ``(B, C, *S)``."""
        return cls(field.shape[0], field.shape[2:], lengths)

    def mean(self, field: Tensor) -> Tensor:
        return field.flatten(1).mean(1)

    def spread(self, values: Tensor, field: Tensor) -> Tensor:
        return values.reshape(-1, *[1] * (field.dim() - 1))

    def largest(self, field: Tensor) -> Tensor:
        return field.abs().flatten(1).amax(1)

    def places(self, field: Tensor) -> Tensor:
        numbers = torch.arange(field[:1].numel(), device=field.device)
        return numbers.reshape(1, *field.shape[1:]).expand(field.shape)

    def take(self, field: Tensor, keep: Tensor) -> Tensor:
        return field.index_select(0, keep)

    def put(self, field: Tensor, keep: Tensor, values: Tensor) -> Tensor:
        return field.index_copy(0, keep, values)

    def select(self, keep: Tensor) -> GridDomain:
        return GridDomain(len(keep), self.shape, self.lengths)


def axis_points(count: int, periodic: bool, like: Tensor) -> Tensor:
    """The points of an axis of length 1: i/n along a periodic axis, i/(n-1) along an open one.

    Args:
        count: n.
        periodic: whether the axis is periodic; an open one holds both of its ends.
        like: a tensor that gives the dtype and the device.

    Example:
        >>> axis_points(4, True, torch.zeros(1)), axis_points(3, False, torch.zeros(1))
        (tensor([0.0000, 0.2500, 0.5000, 0.7500]), tensor([0.0000, 0.5000, 1.0000]))
    """
    intervals = count if periodic else max(count - 1, 1)
    return torch.arange(count, device=like.device, dtype=like.dtype) / intervals


def points_of_axes(axes: Sequence[Tensor]) -> Tensor:
    """The points of a grid, ``(*S, d)``, from the coordinates along each axis, ``(n,)``.

    Example:
        >>> points_of_axes([torch.tensor([0.0, 0.5]), torch.tensor([0.0, 1.0])]).flatten(0, 1).tolist()
        [[0.0, 0.0], [0.0, 1.0], [0.5, 0.0], [0.5, 1.0]]
    """
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)


def resample(field: Tensor, shape: Sequence[int], periodic: Sequence[bool]) -> Tensor:
    """Linear interpolation of a field onto a grid of another shape.

    A periodic axis holds the points i/n, so that its last cell ends where the first begins; an open
    axis holds both of its ends, i/(n-1). These are neuraloperator's own conventions.

    Args:
        field: ``(B, C, *S)``.
        shape: the new shape, as long as S.
        periodic: for each axis, whether it is periodic.

    Shapes:
        - returns: ``(B, C, *shape)``

    Example:
        >>> resample(torch.tensor([[[0.0, 2.0]]]), [4], [True])
        tensor([[[0., 1., 2., 1.]]])
        >>> resample(torch.tensor([[[0.0, 2.0]]]), [3], [False])
        tensor([[[0., 1., 2.]]])
    """
    for axis, (new, closed) in enumerate(zip(shape, periodic, strict=True), start=2):
        old = field.shape[axis]
        if new == old:
            continue
        spacing = old / new if closed else (old - 1) / max(new - 1, 1)
        position = torch.arange(new, device=field.device, dtype=torch.float64) * spacing
        left = position.floor().long().clamp(max=old - 1)
        right = (left + 1) % old if closed else (left + 1).clamp(max=old - 1)
        weight = (position - left).to(field.dtype)
        weight = weight.reshape(-1, *[1] * (field.dim() - axis - 1))
        field = torch.lerp(field.index_select(axis, left), field.index_select(axis, right), weight)
    return field
