"""Fields on a sphere: latitude-longitude grids with the weights of their quadrature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.domain.grid import GridDomain, measure_on, with_mean_1
from neuralop_irno.errors import check_choice, did_you_mean, expected, shown

GRIDS = ("equiangular", "legendre-gauss", "lobatto")
"""The grids of torch-harmonics, by the rows along a meridian. Longitudes are equidistant on all of them."""

POLE_ROWS = ("equiangular", "lobatto")
"""Grids whose first and last row are the poles."""

ENTRY = "sphere"
"""The entry of a sample that names its grid on the sphere."""


class SphereDomain(GridDomain):
    r"""A batch of latitude-longitude grids on the sphere, north pole first.

    All means and norms are integrals over the sphere, by the quadrature of the grid:

    .. math:: \langle a, b \rangle = \frac{1}{4\pi} \int a \, b \, d\Omega
              \approx \frac{1}{2 n_{lon}} \sum_{ij} w_i \, a_{ij} b_{ij} \qquad \sum_i w_i = 2

    The quadrature is exact for constants, and for harmonics up to a degree: on n rows n - 1 by the weights of
    Clenshaw and Curtis (``equiangular``, rows from pole to pole at equal angles), 2 n - 1 by those of Gauss
    (``legendre-gauss``, no rows at the poles), 2 n - 3 by those of Lobatto (``lobatto``, rows at the poles).

    Args:
        samples: number of fields in the batch.
        shape: rows and columns, ``(nlat, nlon)``.
        grid: one of `GRIDS`.
        measure: of the cells, in place of the quadrature's; see `GridDomain`.

    Shapes:
        - field: ``(B, C, nlat, nlon)``

    Example:
        >>> domain = SphereDomain(samples=1, shape=(16, 32))
        >>> domain
        SphereDomain(1 samples, equiangular, 16 x 32 points)
        >>> z = colatitudes("equiangular", 16).cos()[:, None].expand(1, 1, 16, 32)
        >>> round(domain.mean(z**2).item(), 12)  # 1/3 on the unit sphere
        0.333333333333
    """

    ENTRIES: ClassVar[frozenset[str]] = GridDomain.ENTRIES | {ENTRY}

    def __init__(
        self,
        samples: int,
        shape: Sequence[int],
        grid: str = "equiangular",
        measure: Tensor | None = None,
    ) -> None:
        check_choice("a grid of the sphere", grid, GRIDS)
        if len(shape) != 2 or shape[0] < 2:
            wanted = "fields (B, C, nlat, nlon) with two or more rows on a sphere"
            hint = "a layout that folds other axes into channels, 'B C T H W'"
            raise ValueError(expected(wanted, f"axes {tuple(shape)}", hint))
        self.grid, self.quadrature = grid, row_weights(grid, shape[0])
        super().__init__(samples, shape, None, self.quadrature if measure is None else measure)
        self._own_measure = measure is not None

    def __repr__(self) -> str:
        return f"SphereDomain({self.samples} samples, {self.grid}, {' x '.join(map(str, self.shape))} points)"

    def with_lengths(self, lengths: Sequence[float] | None) -> SphereDomain:
        if lengths is not None:
            raise ValueError(expected("a sphere without lengths", shown(tuple(lengths)), "lengths=None"))
        return self

    def with_shape(self, shape: Sequence[int]) -> SphereDomain:
        """The same sphere on a grid of another size; a measure that was given is interpolated."""
        measure = None
        if self._own_measure and self.measure is not None:
            by_area = measure_on(self.measure / self.quadrature.to(self.measure), shape)
            measure = (by_area * row_weights(self.grid, shape[0]).to(by_area))[:, 0]
        return SphereDomain(self.samples, shape, self.grid, measure)

    def masked(self, mask: Tensor) -> SphereDomain:
        assert self.measure is not None
        measure = self.measure.to(mask.device)
        return self._like(measure=with_mean_1(measure * mask), _own_measure=True)

    @property
    def by_quadrature(self) -> bool:
        """Whether the measure is that of the quadrature, without a mask."""
        return not self._own_measure


def colatitudes(grid: str, rows: int) -> Tensor:
    """The angle of each row from the north pole, ascending from 0 to pi at most, in double precision.

    Example:
        >>> (colatitudes("equiangular", 3) / torch.pi).tolist()
        [0.0, 0.5, 1.0]
    """
    return _nodes(grid, rows)[0].clone()


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def row_weights(grid: str, rows: int) -> Tensor:
    """The weight of each row in integrals over the sphere, with mean 1, ``(rows, 1)``, double precision.

    Example:
        >>> row_weights("legendre-gauss", 2).flatten().tolist()
        [1.0, 1.0]
    """
    return _nodes(grid, rows)[1].clone()


@lru_cache(maxsize=64)
def _nodes(grid: str, rows: int) -> tuple[Tensor, Tensor]:
    if grid == "legendre-gauss":
        cosine, weight = np.polynomial.legendre.leggauss(rows)
        angle = np.arccos(cosine)[::-1]
    elif grid == "lobatto":
        legendre = np.polynomial.legendre.Legendre.basis(rows - 1)
        cosine = np.concatenate([[-1.0], legendre.deriv().roots().real, [1.0]])
        weight = 2 / (rows * (rows - 1) * legendre(cosine) ** 2)
        angle = np.arccos(cosine)[::-1]
    else:
        angle = np.pi * np.arange(rows) / (rows - 1)
        weight = _clenshaw_curtis(angle)
    with torch.inference_mode(False):
        ascending = torch.from_numpy(np.ascontiguousarray(angle))
        weights = torch.from_numpy(np.ascontiguousarray(weight))
        return ascending, (weights / weights.mean())[:, None]


def _clenshaw_curtis(angle: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The weights of the cosines of equidistant angles from 0 to pi in an integral over -1 to 1."""
    last = len(angle) - 1
    order = np.arange(1, last // 2 + 1)
    share = np.where(2 * order == last, 1.0, 2.0) / (4 * order**2 - 1)
    weight = (1 - np.cos(2 * angle[:, None] * order) @ share) / last
    weight[1:-1] *= 2
    return np.asarray(weight)


def exact_degree(grid: str, shape: Sequence[int]) -> int:
    """The highest degree of harmonics whose products the quadrature of a grid integrates exactly.

    Up to this degree harmonics are orthonormal on the grid, and analysing a field is a projection.

    Example:
        >>> exact_degree("legendre-gauss", (16, 32)), exact_degree("equiangular", (16, 32))
        (15, 7)
    """
    rows, columns = shape
    along = {"legendre-gauss": rows - 1, "lobatto": rows - 2, "equiangular": (rows - 1) // 2}[grid]
    return min(along, (columns - 1) // 2)


def nyquist_degree(shape: Sequence[int]) -> int:
    """The degree of the finest harmonics that the rows and the columns of a grid resolve.

    Example:
        >>> nyquist_degree((16, 32))
        15
    """
    return max(1, min(shape[0] - 1, shape[1] // 2))


def padding_across_poles(grid: str) -> tuple[str, str]:
    """The padding of the latitudes and the longitudes of a grid; see `neuralop_irno.domain.padding`.

    Example:
        >>> padding_across_poles("legendre-gauss")
        ('between_poles', 'circular')
    """
    check_choice("a grid of the sphere", grid, GRIDS)
    return ("poles" if grid in POLE_ROWS else "between_poles", "circular")


def grid_of(known: Mapping[str, Any]) -> str | None:
    """The grid on the sphere that the (collated) entries of a sample name; None if they name none.

    Example:
        >>> grid_of({"sphere": ["equiangular", "equiangular"]})
        'equiangular'
    """
    given = known.get(ENTRY)
    if given is None:
        return None
    named = {given} if isinstance(given, str) else set(given)
    if len(named) != 1 or not named <= set(GRIDS):
        got = shown(given if isinstance(given, str) else sorted(map(str, named)))
        hint = did_you_mean(str(given), GRIDS) if isinstance(given, str) else "a batch for each grid"
        raise ValueError(expected(f"one grid of {', '.join(GRIDS)} as {ENTRY!r}", got, hint))
    return str(named.pop())


def grid_domain(field: Tensor, known: Mapping[str, Any]) -> GridDomain:
    """The domain of a field ``(B, C, *S)``: on a sphere if its sample says so, else in a flat box.

    Args:
        field: the field.
        known: the entries of its (collated) sample: ``sphere``, one of `GRIDS`, or those that
            `GridDomain.of_sample` reads.

    Example:
        >>> grid_domain(torch.zeros(2, 1, 8, 16), {"sphere": "legendre-gauss"})
        SphereDomain(2 samples, legendre-gauss, 8 x 16 points)
    """
    grid = grid_of(known)
    if grid is None:
        return GridDomain.of_sample(field, known)
    if known.get("lengths") is not None:
        hint = "lengths of a flat box, or sphere, not both"
        raise ValueError(expected("a sphere without lengths", shown(known["lengths"]), hint))
    return SphereDomain(field.shape[0], field.shape[2:], grid, known.get("measure"))


def on_sphere(domain: GridDomain, grid: str | None) -> GridDomain:
    """The domain of a call of a model that works on a grid of the sphere, or on a flat one (None).

    Raises:
        ValueError: the call names another grid, or the lengths of a flat box.
    """
    if grid is None:
        return domain
    if isinstance(domain, SphereDomain):
        if domain.grid != grid:
            hint = f"data on the {grid} grid, or resolution={{'sphere': {domain.grid!r}}}"
            raise ValueError(expected(f"the grid {grid!r} of the model", repr(domain.grid), hint))
        return domain
    if domain.lengths is not None:
        hint = "a call without lengths"
        raise ValueError(expected(f"fields on the sphere, {grid}", f"lengths {domain.lengths}", hint))
    measure = None if domain.measure is None else domain.measure[:, 0]
    return SphereDomain(domain.samples, domain.shape, grid, measure)
