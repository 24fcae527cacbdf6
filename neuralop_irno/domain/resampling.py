r"""Maps between a fine and a coarse grid of one box: restriction R and prolongation P, with R P = 1.

Both act on each axis by a matrix, R of shape (m, n) and P of shape (n, m) for n fine and m coarse points, so
that sizes and ratios are free. A pair is chosen by how coarse data are made from fine ones:

=========  ==============================  ============================================================
name       R                               P
=========  ==============================  ============================================================
waves      drops waves that m points miss  the trigonometric polynomial through m points; periodic axes
cosines    drops modes that m points miss  the sum of cosines through m points; axes between walls
points     the values at the m points      linear interpolation
means      averages over the m cells       lines within each cell that keep its average
=========  ==============================  ============================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from einops import rearrange
from torch import Tensor

from neuralop_irno.errors import did_you_mean, expected

Matrices = tuple[Tensor, Tensor]

LAYOUTS = ("periodic", "ends", "left", "cells")
"""Where the n points of an axis of length 1 are: i/n and periodic; i/(n-1); i/n; (i+1/2)/n."""


@dataclass(frozen=True)
class AxisMap:
    """The pair of one axis.

    Attributes:
        name: ``waves``, ``cosines``, ``points`` or ``means``.
        layout: one of `LAYOUTS`.
    """

    name: str
    layout: str

    def __post_init__(self) -> None:
        if self.name not in PAIRS:
            raise ValueError(expected("a pair of maps", repr(self.name), did_you_mean(self.name, PAIRS)))
        if self.layout not in LAYOUTS:
            hint = did_you_mean(self.layout, LAYOUTS)
            raise ValueError(expected("a layout of points", repr(self.layout), hint))
        if (self.name == "waves") is not (self.layout == "periodic") and self.name in ("waves", "cosines"):
            hint = "pair='waves' on periodic axes, 'cosines' or 'points' on others"
            raise ValueError(expected(f"an axis for {self.name}", f"layout {self.layout!r}", hint))
        if self.name == "cosines" and self.layout == "left":
            raise ValueError(
                expected("cosines on an axis with both its walls", "layout 'left'", "'ends' or 'cells'")
            )


def positions(count: int, layout: str) -> Tensor:
    """Where the points of an axis of length 1 are, ``(n,)``, in double precision.

    Example:
        >>> positions(4, "cells").tolist(), positions(3, "ends").tolist()
        ([0.125, 0.375, 0.625, 0.875], [0.0, 0.5, 1.0])
    """
    place = torch.arange(count, dtype=torch.float64)
    if layout == "ends":
        return place / max(count - 1, 1)
    return (place + 0.5) / count if layout == "cells" else place / count


@lru_cache(maxsize=256)
def matrices(fine: int, coarse: int, how: AxisMap) -> tuple[Tensor, Tensor]:
    """R ``(coarse, fine)`` and P ``(fine, coarse)`` of one axis, in double precision; R P = 1.

    Example:
        >>> restrict, prolong = matrices(4, 2, AxisMap("points", "periodic"))
        >>> restrict.tolist()
        [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
        >>> prolong.tolist()
        [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.5, 0.5]]
    """
    if fine == coarse:
        one = torch.eye(fine, dtype=torch.float64)
        return one, one
    if fine < coarse:
        raise ValueError(expected(f"at least {coarse} points on the fine axis", fine, "the sizes swapped"))
    restrict, prolong = PAIRS[how.name](fine, coarse, how.layout)
    both = restrict @ prolong
    one = torch.eye(coarse, dtype=both.dtype)
    if not torch.allclose(both, one, rtol=0, atol=1e-12):  # ratios that are not whole
        prolong = prolong @ torch.linalg.inv(both)
    return restrict, prolong


def _spectral(modes: Callable[[Tensor, int], Tensor]) -> Callable[[int, int, str], Matrices]:
    """The pair of a basis: P takes the function through m points, R is its pseudoinverse."""

    def pair(fine: int, coarse: int, layout: str) -> Matrices:
        through = torch.linalg.inv(modes(positions(coarse, layout), coarse))
        prolong = modes(positions(fine, layout), coarse) @ through
        return torch.linalg.pinv(prolong), prolong

    return pair


def _waves(place: Tensor, count: int) -> Tensor:
    """1, cos, sin, cos, .. at the given places, as many as there are points: ``(n, count)``."""
    number = torch.arange(1, count // 2 + 1, dtype=place.dtype)
    angle = 2 * torch.pi * place[:, None] * number
    both = torch.stack([angle.cos(), angle.sin()], -1).flatten(1)
    return torch.cat([torch.ones_like(place)[:, None], both], 1)[:, :count]


def _cosines(place: Tensor, count: int) -> Tensor:
    return (torch.pi * place[:, None] * torch.arange(count, dtype=place.dtype)).cos()


def _points(fine: int, coarse: int, layout: str) -> Matrices:
    near, far = positions(fine, layout), positions(coarse, layout)
    return _linear(near, far, layout), _linear(far, near, layout)


def _linear(known: Tensor, wanted: Tensor, layout: str) -> Tensor:
    """Linear interpolation from one set of places to another; beyond the first and last it is constant."""
    count = len(known)
    if count == 1:
        return torch.ones(len(wanted), 1, dtype=known.dtype)
    step = known[1] - known[0]
    place = (wanted - known[0]) / step
    if layout != "periodic":
        place = place.clamp(0, count - 1)
    nearest = place.round()
    place = torch.where((place - nearest).abs() < 1e-9, nearest, place)  # coincident points stay exact
    left = place.floor()
    weight = place - left
    result = torch.zeros(len(wanted), count, dtype=known.dtype)
    rows = torch.arange(len(wanted))
    for column, value in ((left, 1 - weight), (left + 1, weight)):
        index = column.long() % count if layout == "periodic" else column.long().clamp(0, count - 1)
        result.index_put_((rows, index), value, accumulate=True)
    return result


def _means(fine: int, coarse: int, layout: str) -> Matrices:
    edges = [torch.arange(count + 1, dtype=torch.float64) / count for count in (coarse, fine)]
    low = torch.maximum(edges[0][:-1, None], edges[1][:-1])
    high = torch.minimum(edges[0][1:, None], edges[1][1:]).maximum(low)
    share = high - low  # of each coarse and each fine cell
    centre = positions(coarse, "cells")[:, None]
    moment = share * ((low + high) / 2 - centre)  # the integral of x - centre over the share
    # The slope in a cell, from its neighbours; at a wall from itself and the only one.
    before, after = torch.arange(coarse) - 1, torch.arange(coarse) + 1
    if layout == "periodic":
        before, after = before % coarse, after % coarse
    else:
        before, after = before.clamp(min=0), after.clamp(max=coarse - 1)
    one = torch.eye(coarse, dtype=torch.float64)
    slope = coarse * (one[after] - one[before]) / 2
    return coarse * share, fine * (share + slope.T @ moment).T


PAIRS = {"waves": _spectral(_waves), "cosines": _spectral(_cosines), "points": _points, "means": _means}


@dataclass(frozen=True)
class GridMaps:
    """R and P of a whole grid: one pair of matrices for each axis.

    Example:
        >>> maps = GridMaps.between((8, 8), (4, 4), [AxisMap("waves", "periodic")] * 2)
        >>> field = torch.randn(2, 3, 4, 4)
        >>> torch.allclose(maps.restrict(maps.prolong(field)), field, atol=1e-5)
        True
    """

    pairs: tuple[Matrices, ...]
    copies: int = 1
    """Samples on the coarse grid for each one on the fine grid."""

    @property
    def dim(self) -> int:
        """The number of axes of the grid."""
        return len(self.pairs)

    @classmethod
    def between(cls, fine: Sequence[int], coarse: Sequence[int], how: Sequence[AxisMap]) -> GridMaps:
        """The maps between two sizes; axes of equal size are left as they are."""
        return cls(tuple(matrices(*sizes) for sizes in zip(fine, coarse, how, strict=True)))

    def restrict(self, field: Tensor) -> Tensor:
        """From the fine grid, ``(B, C, *fine)``, to the coarse one."""
        return _by_axis(field, [restrict for restrict, _ in self.pairs])

    def prolong(self, field: Tensor) -> Tensor:
        """From the coarse grid, ``(B, C, *coarse)``, to the fine one."""
        return _by_axis(field, [prolong for _, prolong in self.pairs])


def _by_axis(field: Tensor, along: Sequence[Tensor]) -> Tensor:
    if not field.is_floating_point() and not field.is_complex():
        field = field.to(torch.get_default_dtype())  # weights of whole numbers would be 0 and 1
    for axis, matrix in enumerate(along, start=2):
        if matrix.shape[0] != matrix.shape[1]:
            field = torch.movedim(field.movedim(axis, -1) @ matrix.to(field).T, -1, axis)
    return field


def between(field: Tensor, shape: Sequence[int], how: Sequence[AxisMap]) -> Tensor:
    """A field on a grid of another shape: R along axes that become coarser, P along those that become finer.

    Example:
        >>> periodic = AxisMap("points", "periodic")
        >>> between(torch.tensor([[[[0.0, 2.0], [1.0, 3.0]]]]), (1, 4), [periodic, periodic])
        tensor([[[[0., 1., 2., 1.]]]])
    """
    along = []
    for old, new, one in zip(field.shape[2:], shape, how, strict=True):
        restrict, prolong = matrices(max(old, new), min(old, new), one)
        along.append(restrict if new < old else prolong)
    return _by_axis(field, along)


@dataclass(frozen=True)
class Cosets:
    """The shifted coarse grids of which a fine one consists, as samples of their own.

    Shapes:
        - `restrict`: ``(B, C, r_1 n_1, ..)`` to ``(r_1 r_2 .. B, C, n_1, ..)``; `prolong` is its inverse

    Example:
        >>> cosets = Cosets.between([6], [3])
        >>> cosets.restrict(torch.arange(6.0).reshape(1, 1, 6)).squeeze()
        tensor([[0., 2., 4.],
                [1., 3., 5.]])
    """

    ratios: tuple[int, ...]

    @classmethod
    def between(cls, fine: Sequence[int], coarse: Sequence[int]) -> Cosets:
        """The cosets of a coarse grid in a fine one; the ratios have to be whole."""
        if any(n % m for n, m in zip(fine, coarse, strict=True)):
            wanted = f"a multiple of {tuple(coarse)} points for detail 'cosets'"
            raise ValueError(expected(wanted, tuple(fine), "detail='base'"))
        return cls(tuple(n // m for n, m in zip(fine, coarse, strict=True)))

    @property
    def copies(self) -> int:
        """The number of cosets."""
        return math.prod(self.ratios)

    def restrict(self, field: Tensor) -> Tensor:
        """Every coset of a field, as a sample."""
        pattern, sizes = self._pattern()
        return rearrange(field, f"{pattern[1]} -> {pattern[0]}", **sizes)

    def prolong(self, field: Tensor) -> Tensor:
        """The field of all its cosets."""
        pattern, sizes = self._pattern()
        return rearrange(field, f"{pattern[0]} -> {pattern[1]}", **sizes)

    def _pattern(self) -> tuple[tuple[str, str], dict[str, int]]:
        ratios = [f"r{axis}" for axis in range(len(self.ratios))]
        cells = [f"n{axis}" for axis in range(len(self.ratios))]
        apart = f"({' '.join(ratios)} b) c {' '.join(cells)}"
        whole = "b c " + " ".join(f"({n} {r})" for n, r in zip(cells, ratios, strict=True))
        return (apart, whole), dict(zip(ratios, self.ratios, strict=True))
