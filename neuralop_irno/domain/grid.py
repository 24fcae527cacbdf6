"""Fields on uniform grids of one to three dimensions."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain, in_rows
from neuralop_irno.errors import expected, shown


class GridDomain(Domain):
    """A batch of uniform grids of one shape.

    Args:
        samples: number of grids in the batch.
        shape: points along each axis, ``S``.
        lengths: the sides of the box, in any unit; None if not known.
        measure: the measure of the cells up to a factor, >= 0: the weights of all means and norms. On a
            latitude-longitude grid it is the cosine of the latitude, ``(rows, 1)``. By default all cells have
            the same measure.

    Shapes:
        - field: ``(B, C, *S)``
        - measure: broadcasts with ``S``, or per sample with ``(B, *S)``

    Example:
        >>> domain = GridDomain(samples=2, shape=(4, 5))
        >>> domain
        GridDomain(2 samples, 4 x 5 points)
        >>> domain.norm(torch.full((2, 3, 4, 5), -2.0))
        tensor([2., 2.])
        >>> rows = torch.tensor([[0.0], [1.0]])  # the second of two rows counts
        >>> GridDomain(1, (2, 3), measure=rows).mean(rows.expand(1, 1, 2, 3))
        tensor([1.])
    """

    ENTRIES: ClassVar[frozenset[str]] = frozenset({"lengths", "measure"})
    """The entries of a sample that describe its grid."""

    def __init__(
        self,
        samples: int,
        shape: Sequence[int],
        lengths: Sequence[float] | None = None,
        measure: Tensor | None = None,
    ) -> None:
        self.samples = samples
        self.shape = tuple(shape)
        self.lengths = None if lengths is None else _sides(lengths, len(self.shape))
        self.measure = None if measure is None else self._in_units_of_its_mean(measure)

    def __repr__(self) -> str:
        box = "" if self.lengths is None else f" in a box of {' x '.join(f'{n:g}' for n in self.lengths)}"
        return f"GridDomain({self.samples} samples, {' x '.join(map(str, self.shape))} points{box})"

    @classmethod
    def of(
        cls, field: Tensor, lengths: Sequence[float] | None = None, measure: Tensor | None = None
    ) -> GridDomain:
        """The domain of a field of shape ``(B, C, *S)``."""
        return cls(field.shape[0], field.shape[2:], lengths, measure)

    @classmethod
    def of_sample(cls, field: Tensor, known: Mapping[str, Any]) -> GridDomain:
        """The domain of a field, from the entries of its (collated) sample.

        Args:
            field: ``(B, C, *S)``.
            known: may contain ``lengths``, the sides of the box, ``(d,)`` or the same for each sample,
                ``(B, d)``; and ``measure``, see `GridDomain`. Other entries are not read.

        Raises:
            ValueError: the samples of the batch have boxes of different sides.
        """
        return cls.of(field, _agreed(known.get("lengths"), field.dim() - 2), known.get("measure"))

    def with_lengths(self, lengths: Sequence[float] | None) -> GridDomain:
        """The same grids in a box of other sides."""
        return self._like(lengths=None if lengths is None else _sides(lengths, len(self.shape)))

    def with_shape(self, shape: Sequence[int]) -> GridDomain:
        """The same box on a grid of another shape; the measure of its cells is interpolated."""
        measure = None if self.measure is None else with_mean_1(measure_on(self.measure, shape))
        return self._like(shape=tuple(shape), measure=measure)

    def repeated(self, copies: int) -> GridDomain:
        """The grids ``copies`` times, one batch after the other."""
        measure = self.measure
        if measure is not None and len(measure) > 1:
            measure = measure.repeat(copies, *[1] * (measure.dim() - 1))
        return self._like(samples=self.samples * copies, measure=measure)

    def _like(self, **changed: Any) -> Self:
        """A copy with other attributes, unchecked."""
        other = copy.copy(self)
        vars(other).update(changed)
        return other

    def _in_units_of_its_mean(self, measure: Tensor) -> Tensor:
        """A checked measure, divided by its mean over the cells, ``(1 or B, 1, *S or 1)``."""
        if not isinstance(measure, Tensor) or not measure.is_floating_point():
            got = measure.dtype if isinstance(measure, Tensor) else type(measure).__name__
            raise TypeError(expected("a measure as a tensor of real numbers", got, "measure.float()"))
        whole = measure[None] if measure.dim() == len(self.shape) else measure
        sizes = (self.samples, *self.shape)
        if whole.dim() != len(sizes) or any(n not in (1, m) for n, m in zip(whole.shape, sizes, strict=True)):
            wanted = f"a measure that broadcasts with {self.shape} or {sizes}"
            raise ValueError(expected(wanted, tuple(measure.shape), "torch.ones(rows, 1) for its rows"))
        unchecked = whole.is_meta or torch.compiler.is_compiling()
        total = whole.flatten(1).sum(1)
        if not unchecked and not bool((whole >= 0).all() & (total > 0).all() & total.isfinite().all()):
            raise ValueError(
                expected("a measure >= 0 with a mean above 0", "others", "areas of cells, or measure=None")
            )
        return with_mean_1(whole[:, None])

    def mean(self, field: Tensor) -> Tensor:
        if self.measure is not None:
            field = field * self.measure.to(field)
        return field.mean(_behind_samples(field))

    def gram(self, fields: Sequence[Tensor]) -> Tensor:
        if self.measure is not None:
            return super().gram(fields)
        rows = in_rows([field.movedim(1, -1) for field in fields])  # so they often lie in memory
        return rows @ rows.mT / rows.shape[2]

    def weights(self, field: Tensor) -> Tensor:
        measure = field.new_ones(()) if self.measure is None else self.measure.to(field)
        return (measure / math.prod(field.shape[1:])).expand_as(field)

    def spread(self, values: Tensor, field: Tensor) -> Tensor:
        return values.reshape(-1, *[1] * (field.dim() - 1))

    def largest(self, field: Tensor) -> Tensor:
        axes = _behind_samples(field)
        return torch.maximum(field.amax(axes), -field.amin(axes))  # without a field of absolute values

    def places(self, field: Tensor) -> Tensor:
        numbers = torch.arange(math.prod(field.shape[1:]), device=field.device)
        return numbers.reshape(1, *field.shape[1:]).expand(field.shape)

    def take(self, field: Tensor, keep: Tensor) -> Tensor:
        if field.dim() > 2 and field.stride(1) == 1 and field.shape[1] > 1:  # keep channels last in memory
            return field.movedim(1, -1).index_select(0, keep).movedim(-1, 1)
        return field.index_select(0, keep)

    def put(self, field: Tensor, keep: Tensor, values: Tensor) -> Tensor:
        return field.index_copy(0, keep, values)

    def unweighted(self) -> GridDomain:
        return self._like(measure=None)

    def masked(self, mask: Tensor) -> GridDomain:
        measure = mask.to(torch.get_default_dtype()) if self.measure is None else self.measure * mask
        return self._like(measure=with_mean_1(measure))

    def select(self, keep: Tensor) -> GridDomain:
        measure = self.measure
        if measure is not None and len(measure) > 1:
            measure = measure.index_select(0, keep)
        return self._like(samples=len(keep), measure=measure)


def _behind_samples(field: Tensor) -> list[int]:
    """All axes but the first; flattened to one, fields with channels last would be copied."""
    return list(range(1, field.dim()))


def measure_on(measure: Tensor, shape: Sequence[int]) -> Tensor:
    """The measure of cells, interpolated to a grid of another shape.

    Shapes:
        - measure: ``(..., *S)``, with 1 along axes on which it is constant; returns: ``(..., *shape)``, too

    Example:
        >>> measure_on(torch.tensor([[1.0], [3.0]]), (3, 8)).flatten()
        tensor([1., 2., 3.])
    """
    dim = len(shape)
    sizes = [new if old > 1 else 1 for new, old in zip(shape, measure.shape[-dim:], strict=True)]
    each = measure.reshape(-1, 1, *measure.shape[-dim:])
    return resample(each, sizes, [False] * dim).reshape(*measure.shape[:-dim], *sizes)


def with_mean_1(measure: Tensor) -> Tensor:
    """The measure of each sample divided by its mean over the cells."""
    mean = measure.flatten(1).mean(1)
    return measure / mean.reshape(-1, *[1] * (measure.dim() - 1))


def _sides(lengths: Sequence[float], dim: int) -> tuple[float, ...]:
    """The sides of a box as numbers; raises ValueError if they are not one > 0 for each axis."""
    sides = tuple(map(float, lengths))
    if len(sides) != dim or not all(0 < side < math.inf for side in sides):
        hint = f"lengths={(1.0,) * dim}"
        raise ValueError(expected(f"lengths > 0 of the {dim} sides of a box", shown(sides), hint))
    return sides


def _agreed(given: Any, dim: int) -> Sequence[float] | None:
    """The lengths of a batch: ``(d,)``, ``(B, d)``, or as collated from tuples, d tensors ``(B,)``."""
    if given is None:
        return None
    wanted, hint = f"lengths of the {dim} sides of a box", f"lengths={(1.0,) * dim}"
    try:
        if isinstance(given, (list, tuple)) and any(isinstance(side, Tensor) for side in given):
            given = torch.stack([torch.as_tensor(side, dtype=torch.float64).cpu() for side in given], -1)
        sides = torch.as_tensor(given, dtype=torch.float64)
        rows = (sides.reshape(-1, 1) if dim == 1 else torch.atleast_2d(sides)).tolist()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(expected(wanted, shown(given), hint)) from error
    if any(row != rows[0] for row in rows):
        boxes = " and ".join(str(tuple(row)) for row in sorted(map(tuple, rows))[:: max(len(rows) - 1, 1)])
        raise ValueError(expected("one box for all samples of a batch", boxes, "a batch for each box"))
    return rows[0] if rows else None


def latitude_weights(degrees: Tensor) -> Tensor:
    """Area weights of the rows of a latitude grid: the cosine of the latitude, with mean 1.

    Args:
        degrees: the latitude of each row, from -90 to 90.

    Shapes:
        - degrees: ``(H,)``; returns: ``(H, 1)``

    Example:
        >>> latitude_weights(torch.tensor([60.0, 0.0])).flatten()
        tensor([0.6667, 1.3333])
    """
    if degrees.dim() != 1 or degrees.abs().max() > 90:
        got = f"{tuple(degrees.shape)} up to {degrees.abs().max():g}"
        wanted = "latitudes (H,) from -90 to 90 degrees"
        raise ValueError(expected(wanted, got, "90 - 0.25 * torch.arange(720)"))
    weights = torch.deg2rad(degrees).cos().clamp(min=0)
    return (weights / weights.mean())[:, None]


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
