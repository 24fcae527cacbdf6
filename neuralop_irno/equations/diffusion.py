"""Diffusion on uniform grids: the second-order stencil of fluxes through faces, and equations made of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.ends import check_ends, ends_of
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.sphere import SphereDomain
from neuralop_irno.equations.equation import BoundEquation, Functions, LinearEquation
from neuralop_irno.errors import expected, shown

BOUNDARIES = ("periodic", "dirichlet")
"""Those of the stencil."""


def spacings_of(domain: Domain) -> tuple[float, ...]:
    """The side of a cell along each axis, L / n; the box is the unit box where it is not known.

    Raises:
        ValueError: not a flat grid, or one with a single point along an axis.

    Example:
        >>> spacings_of(GridDomain(1, (4, 5), lengths=(2.0, 1.0)))
        (0.5, 0.2)
    """
    if not isinstance(domain, GridDomain) or isinstance(domain, SphereDomain):
        got = type(domain).__name__
        raise ValueError(expected("a flat uniform grid for this equation", got, "LinearEquation.of_matrix"))
    if min(domain.shape) < 2:
        raise ValueError(expected("two or more points along each axis", domain.shape, "fewer axes"))
    lengths = domain.lengths or (1.0,) * len(domain.shape)
    return tuple(length / n for length, n in zip(lengths, domain.shape, strict=True))


def channel(x: Tensor, number: int, what: str) -> Tensor:
    """One channel of x, ``(B, 1, *S)``; raises ValueError if x does not have it."""
    if x.shape[1] <= number:
        wanted = f"{what} in channel {number} of x"
        raise ValueError(expected(wanted, f"{x.shape[1]} channels", "x with further channels"))
    return x[:, number : number + 1]


class Diffusion:
    r"""v -> -div(a grad v) on a uniform grid, by the fluxes through the faces of its cells.

    .. math:: (D v)_i = \sum_{axes} \frac{a_{i-1/2} (v_i - v_{i-1}) - a_{i+1/2} (v_{i+1} - v_i)}{\delta^2}

    with the harmonic mean of a on faces: the flux is exact for a that jumps there. On a wall (``dirichlet``)
    v is zero, half a cell beyond the last point: the flux is :math:`2 a_i v_i / \delta`. The matrix is
    symmetric.

    Args:
        a: > 0, ``(B or 1, 1, *S or 1)``.
        spacings: of the points along each axis.
        boundaries: of each axis.
        shape: S.
    """

    def __init__(
        self, a: Tensor, spacings: Sequence[float], boundaries: Sequence[str], shape: Sequence[int]
    ) -> None:
        self.boundaries, self.spacings, self.shape = boundaries, spacings, shape
        self.faces = [
            _faces(a, axis, size, boundary) / spacing**2
            for axis, (size, spacing, boundary) in enumerate(
                zip(shape, spacings, boundaries, strict=True), start=2
            )
        ]

    def __call__(self, v: Tensor) -> Tensor:
        out = torch.zeros_like(v)
        for axis, (faces, boundary) in enumerate(zip(self.faces, self.boundaries, strict=True), start=2):
            flux = faces * _beyond(v, axis, boundary).diff(dim=axis)
            out = out - flux.diff(dim=axis)
        return out

    def lowest(self, without_mean: bool) -> float:
        r"""The smallest eigenvalue for a = 1, on fields without their mean or on all.

        Between walls that of an axis is :math:`(2 / \delta)^2 \sin^2(\pi / 2 n)`; around a periodic axis
        0, and without the mean :math:`(2 / \delta)^2 \sin^2(\pi / n)`.
        """
        each = [
            (2 / spacing * math.sin(math.pi / (2 * n if boundary == "dirichlet" else n))) ** 2
            for n, spacing, boundary in zip(self.shape, self.spacings, self.boundaries, strict=True)
        ]
        if without_mean:
            return min(each)
        walls = zip(each, self.boundaries, strict=True)
        return sum(value for value, boundary in walls if boundary == "dirichlet")

    @property
    def diagonal(self) -> Tensor:
        """The diagonal of the matrix, which broadcasts with v."""
        return sum(
            (
                faces.narrow(axis, 0, faces.shape[axis] - 1) + faces.narrow(axis, 1, faces.shape[axis] - 1)
                for axis, faces in enumerate(self.faces, start=2)
            ),
            start=self.faces[0].new_zeros(()),
        )


def _beyond(v: Tensor, axis: int, boundary: str) -> Tensor:
    """v with one more value at both ends of an axis: those across the seam, or zeros."""
    first, last = v.narrow(axis, 0, 1), v.narrow(axis, v.shape[axis] - 1, 1)
    if boundary == "dirichlet":
        first = last = torch.zeros_like(first)
    return torch.cat([last, v, first], axis)


def _faces(a: Tensor, axis: int, size: int, boundary: str) -> Tensor:
    """a on the faces along an axis, those of both ends included, ``(.., size + 1, ..)``."""
    sizes = list(a.shape)
    sizes[axis] = size
    around = _beyond(a.expand(sizes), axis, boundary)
    left, right = around.narrow(axis, 0, size + 1), around.narrow(axis, 1, size + 1)
    inside = 2 * left * right / (left + right)
    if boundary != "dirichlet":
        return inside
    ends = [2 * around.narrow(axis, where, 1) for where in (1, size)]
    return torch.cat([ends[0], inside.narrow(axis, 1, size - 1), ends[1]], axis)


class DiffusionEquation(LinearEquation):
    r"""A linear equation on a grid of one field: :math:`-\nabla \cdot (a \nabla h) + c h = f`.

    Subclasses define `terms`. The points are the centres of cells of side L / n, with L from the domain
    (``lengths``); the unit box where it is not known. Where the equation is singular (all axes periodic, and
    c = 0), f and h are taken without their means: h keeps the mean of its start.

    Args:
        boundary: ``periodic`` or ``dirichlet`` (h = 0 on the walls, half a cell beyond the last point), for
            all axes or for each.
    """

    symmetric = True
    definite = True
    channels = 1

    def __init__(self, boundary: str | Sequence[str]) -> None:
        check_ends(boundary, BOUNDARIES)
        self.boundary = boundary

    def terms(self, x: Tensor, domain: Domain) -> tuple[Tensor, float, Tensor]:
        """a, ``(B or 1, 1, *S or 1)``; c; and f, which broadcasts with h."""
        raise NotImplementedError(f"{type(self).__name__} does not define terms(x, domain)")

    def singular(self, boundaries: Sequence[str]) -> bool:
        """Whether constants solve the equation with f = 0."""
        return False

    def diffusion(self, a: Tensor, domain: Domain) -> Diffusion:
        """-div(a grad h) on the grid."""
        spacings = spacings_of(domain)
        assert isinstance(domain, GridDomain)  # checked by spacings_of
        return Diffusion(a, spacings, ends_of(self.boundary, len(domain.shape)), domain.shape)

    def functions(self, x: Tensor, domain: Domain) -> Functions:
        a, c, f = self.terms(x, domain)
        diffusion = self.diffusion(a, domain)

        def apply(v: Tensor) -> Tensor:
            return diffusion(v) + c * v

        return Functions(
            residual=lambda h: f - apply(h),
            apply=apply,
            diagonal=diffusion.diagonal + c,
            project=_without_mean if self.singular(diffusion.boundaries) else None,
            stability=_stability(a, c, diffusion, self.singular(diffusion.boundaries)),
        )

    def bind(self, x: Tensor, domain: Domain, mask: Tensor | None = None) -> BoundEquation:
        if mask is not None and self.singular(ends_of(self.boundary, x.dim() - 2)) and not mask.all():
            wanted = f"an equation with a unique solution beside a mask, {type(self).__name__}(screen > 0)"
            raise ValueError(expected(wanted, "screen=0 in a periodic box", "screen=1e-6, or no mask"))
        return super().bind(x, domain, mask)


def _stability(a: Tensor, c: float, diffusion: Diffusion, without_mean: bool) -> Tensor | None:
    """min a times the smallest eigenvalue of the Laplacian, plus c; exact where a is constant.

    None where that is not positive. Fluxes through faces have harmonic means of a, which are at least min a.
    """
    lowest = (a.flatten(1).amin(1) * diffusion.lowest(without_mean) + c).double()
    return lowest if bool((lowest > 0).all()) else None


def _without_mean(v: Tensor) -> Tensor:
    """v minus its mean over the grid, channel by channel."""
    return v - v.flatten(2).mean(2).reshape(*v.shape[:2], *[1] * (v.dim() - 2))


def positive(a: Tensor, what: str) -> Tensor:
    """A field that is refused unless all of its values are > 0."""
    if not bool((a > 0).all()):
        got = shown(float(a.min()))
        raise ValueError(expected(f"{what} > 0", f"values from {got}", "the field in the units of the data"))
    return a
