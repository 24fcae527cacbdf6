"""A tuple of fields, each on a domain of its own, as one state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.points import PointDomain, interpolate
from neuralop_irno.domain.resampling import AxisMap, between
from neuralop_irno.domain.spacing import PointSet, point_sets
from neuralop_irno.errors import expected


class TupleDomain(Domain):
    r"""The domains of a tuple of fields, which are packed into one tensor ``(samples, 1, M)``.

    All fields have equal weights in means and norms, whatever their numbers of points and channels:

    .. math:: \langle a, b \rangle = \frac1n \sum_{i=1}^n \langle a_i, b_i \rangle_i

    A field of larger numbers therefore dominates a norm: give fields in units in which they are about one.

    Args:
        parts: the domain of each field, on grids or on sets of points; fields are `carried` only between
            grids with equally many axes, or between sets of points, see `check_carried`.
        channels: the channels of each field.
        inputs: the channels of the input on the domain of each field.

    Example:
        >>> velocity, pressure = torch.ones(2, 2, 8, 8), torch.full((2, 1, 4, 4), 3.0)
        >>> domain = TupleDomain([GridDomain.of(velocity), GridDomain.of(pressure)], [2, 1])
        >>> state = domain.packed([velocity, pressure])
        >>> state.shape, domain.mean(state)
        (torch.Size([2, 1, 144]), tensor([2., 2.]))
        >>> [field.shape for field in domain.fields(state)]
        [torch.Size([2, 2, 8, 8]), torch.Size([2, 1, 4, 4])]
    """

    def __init__(
        self, parts: Sequence[Domain], channels: Sequence[int], inputs: Sequence[int] | None = None
    ) -> None:
        self.parts, self.channels = tuple(parts), tuple(channels)
        self._inputs = self.channels if inputs is None else tuple(inputs)
        self.samples = self.parts[0].samples
        self._spaces = _spaces(self.parts)

    def __repr__(self) -> str:
        return f"TupleDomain({', '.join(map(repr, self.parts))})"

    def packed(self, fields: Sequence[Tensor]) -> Tensor:
        """Fields, each on its domain, as one tensor ``(samples, 1, M)``."""
        return torch.cat([field.reshape(self.samples, 1, -1) for field in fields], -1)

    def fields(self, packed: Tensor) -> list[Tensor]:
        """The inverse of `packed`."""
        return self._unpacked(packed, self.channels)

    def inputs(self, packed: Tensor) -> list[Tensor]:
        """The input on the domain of each field, from all of them packed."""
        return self._unpacked(packed, self._inputs)

    def _unpacked(self, packed: Tensor, channels: Sequence[int]) -> list[Tensor]:
        # The axes of one sample: of rows of points the channels are last.
        shapes = [
            (*space, count) if isinstance(part, GraphDomain) else (count, *space)
            for part, space, count in zip(self.parts, self._spaces, channels, strict=True)
        ]
        flat = packed.split([math.prod(shape) for shape in shapes], -1)
        whole = [field.reshape(len(packed), *shape) for field, shape in zip(flat, shapes, strict=True)]
        pairs = zip(whole, self.parts, strict=True)
        return [field.flatten(0, 1) if isinstance(part, GraphDomain) else field for field, part in pairs]

    def mean(self, field: Tensor) -> Tensor:
        fields = zip(self.parts, self.fields(field), strict=True)
        return torch.stack([part.mean(each) for part, each in fields]).mean(0)

    def weights(self, field: Tensor) -> Tensor:
        fields = zip(self.parts, self.fields(field), strict=True)
        return self.packed([part.weights(each) for part, each in fields]) / len(self.parts)

    def spread(self, values: Tensor, field: Tensor) -> Tensor:
        return values.reshape(-1, 1, 1)

    def largest(self, field: Tensor) -> Tensor:
        return field.abs().flatten(1).amax(1)

    def places(self, field: Tensor) -> Tensor:
        return torch.arange(field.shape[-1], device=field.device).expand(field.shape)

    def take(self, field: Tensor, keep: Tensor) -> Tensor:
        return field.index_select(0, keep)

    def put(self, field: Tensor, keep: Tensor, values: Tensor) -> Tensor:
        return field.index_copy(0, keep, values)

    def select(self, keep: Tensor) -> TupleDomain:
        parts = [part.select(keep) for part in self.parts]
        other = TupleDomain.__new__(TupleDomain)
        other.parts, other.channels, other._inputs = tuple(parts), self.channels, self._inputs
        other.samples, other._spaces = len(keep), self._spaces
        return other

    def unweighted(self) -> TupleDomain:
        raise ValueError(
            expected("one field for a plain inner product", "a tuple of fields", "each of them alone")
        )

    def masked(self, mask: Tensor) -> TupleDomain:
        raise ValueError(expected("a tuple of fields without a mask", "a mask", "fields that are 0 outside"))

    def carried(self, field: Tensor, source: int, target: int, how: Sequence[AxisMap] = ()) -> Tensor:
        """One field on the domain of another.

        Args:
            field: on the domain ``source``.
            source: its number.
            target: the number of the other field.
            how: on grids the pair of maps of each axis; R is used along axes that become coarser, P along
                those that become finer. Between points values are interpolated from the nearest ones.
        """
        there = self.parts[target]
        if isinstance(there, GridDomain):
            return between(field, there.shape, how)
        values = field.reshape(self.samples, -1, field.shape[-1])
        pairs = zip(values, self._points[source], self._points[target], strict=True)
        return torch.cat([interpolate(*each) for each in pairs])

    @cached_property
    def _points(self) -> list[list[PointSet]]:
        """The points of each sample, for each field."""
        graphs = [part for part in self.parts if isinstance(part, GraphDomain)]
        return [[points for points in point_sets(part) if points is not None] for part in graphs]


def check_carried(parts: Sequence[Domain]) -> None:
    """Raise ValueError if fields cannot be carried between the domains of a tuple.

    Args:
        parts: the domain of each field.
    """
    grids = {len(part.shape) for part in parts if isinstance(part, GridDomain)}
    points = [part for part in parts if isinstance(part, PointDomain)]
    if len(grids) + bool(points) != 1 or (points and len(points) < len(parts)):
        names = [f"a grid of {n} axes" for n in sorted(grids)] + ["points"] * bool(points)
        others = {type(part).__name__ for part in parts if not isinstance(part, (GridDomain, PointDomain))}
        got = " and ".join([*names, *sorted(others)])
        wanted = "fields of a tuple on grids with equally many axes, or all on sets of points"
        raise ValueError(expected(wanted, got, "a layout that folds an axis into channels, 'B C T H W'"))
    dims = {part.pos.shape[1] for part in points if part.pos is not None}
    if len(dims) > 1:
        wanted, got = "points of a tuple in the same coordinates", " and ".join(map(str, sorted(dims)))
        raise ValueError(expected(wanted, f"{got} dimensions", "coordinates of all fields in one space"))


def _spaces(parts: Sequence[Domain]) -> tuple[tuple[int, ...], ...]:
    """The axes of space of one sample of each domain."""
    return tuple(
        tuple(part.shape) if isinstance(part, GridDomain) else (_points_of_each(part),) for part in parts
    )


def _points_of_each(part: Domain) -> int:
    """The number of points of each sample; ValueError if they differ, or are not in order."""
    assert isinstance(part, PointDomain)
    count = len(part.batch) // max(part.samples, 1)
    owners = torch.arange(part.samples, device=part.batch.device).repeat_interleave(count)
    if len(owners) != len(part.batch) or not torch.equal(owners, part.batch):
        wanted = "equally many points in every sample of a tuple of fields, without padding"
        got = f"{part.batch.bincount(minlength=part.samples).tolist()} points"
        raise ValueError(expected(wanted, got, "one sample at a time"))
    return count
