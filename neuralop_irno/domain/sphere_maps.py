r"""Maps between a fine and a coarse grid of one sphere: restriction R and prolongation P, with R P = 1.

Along each circle of latitude a field is a sum of waves :math:`e^{im\phi}`; along a meridian the wave m of a
smooth field is a sum of cosines of the colatitude for even m and of sines for odd m. P takes the sum through
the points of the coarse grid, R is the projection on all such sums, orthogonal in the quadrature of the fine
grid:

- spherical harmonics of at most n - 2 degrees, of n coarse rows and 2 n - 2 or more columns, are carried
  exactly, both ways (n - 1 on Gauss's rows);
- finer harmonics are dropped as far as no coarse field has them;
- every coarse field is prolonged and restricted to itself. Harmonics alone could not do that: a
  latitude-longitude grid has about twice as many points as they have coefficients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from neuralop_irno.domain.sphere import POLE_ROWS, colatitudes, row_weights
from neuralop_irno.errors import expected

Matrices = tuple[Tensor, Tensor]
"""For even and for odd waves along the longitudes."""


@dataclass(frozen=True)
class SphereMaps:
    """R and P between two sizes of a grid on the sphere.

    Attributes:
        grid: one of `neuralop_irno.domain.sphere.GRIDS`.
        fine: ``(nlat, nlon)`` of the fine grid.
        coarse: of the coarse one.

    Example:
        >>> maps = SphereMaps("equiangular", (9, 16), (5, 8))
        >>> field = torch.randn(2, 3, 5, 8)
        >>> torch.allclose(maps.restrict(maps.prolong(field)), field, atol=1e-5)
        True
    """

    grid: str
    fine: tuple[int, int]
    coarse: tuple[int, int]

    copies: ClassVar[int] = 1
    """Samples on the coarse grid for each one on the fine grid."""
    dim: ClassVar[int] = 2
    """The number of axes of the grid."""

    def __post_init__(self) -> None:
        if any(n < m for n, m in zip(self.fine, self.coarse, strict=True)):
            wanted = f"at least {self.coarse[0]} x {self.coarse[1]} points on the fine grid"
            raise ValueError(expected(wanted, f"{self.fine[0]} x {self.fine[1]}", "the sizes swapped"))

    @classmethod
    def between(cls, grid: str, fine: Sequence[int], coarse: Sequence[int]) -> SphereMaps:
        """The maps between two sizes."""
        return cls(grid, (fine[0], fine[1]), (coarse[0], coarse[1]))

    def restrict(self, field: Tensor) -> Tensor:
        """From the fine grid, ``(B, C, *fine)``, to the coarse one."""
        restricted = [restrict for restrict, _ in _along_meridians(self.grid, self.fine[0], self.coarse[0])]
        return self._carried(field, restricted, self.fine[1], self.coarse[1])

    def prolong(self, field: Tensor) -> Tensor:
        """From the coarse grid, ``(B, C, *coarse)``, to the fine one."""
        prolonged = [prolong for _, prolong in _along_meridians(self.grid, self.fine[0], self.coarse[0])]
        return self._carried(field, prolonged, self.coarse[1], self.fine[1])

    def _carried(self, field: Tensor, parities: Sequence[Tensor], old: int, new: int) -> Tensor:
        if not field.is_floating_point():
            field = field.to(torch.get_default_dtype())
        precise = field.to(torch.promote_types(field.dtype, torch.float32))
        with torch.autocast(field.device.type, enabled=False):
            waves = torch.fft.rfft(precise, norm="forward")
            carried = waves.new_zeros(*field.shape[:-2], len(parities[0]), new // 2 + 1)
            kept = min(old, new) // 2 + 1
            for first, matrix in enumerate(parities):
                part = waves[..., first:kept:2]
                carried[..., first:kept:2] = matrix.to(part) @ part
            if old != new and min(old, new) % 2 == 0:
                # The shortest wave of the coarse grid is one cosine there, and two waves on the fine one.
                shortest = carried[..., kept - 1]
                carried[..., kept - 1] = 0.5 * shortest if new > old else 2 * shortest.real
            return torch.fft.irfft(carried, new, norm="forward").to(field.dtype)


@lru_cache(maxsize=64)
def _along_meridians(grid: str, fine: int, coarse: int) -> tuple[Matrices, Matrices]:
    """R and P along the meridians, for even and for odd waves along the longitudes."""
    weight = row_weights(grid, fine)
    pairs = []
    with torch.inference_mode(False):
        for odd in (False, True):
            if fine == coarse:
                restrict = prolong = torch.eye(fine, dtype=torch.float64)
            else:
                through = torch.linalg.inv(_functions(grid, coarse, coarse, odd))
                prolong = _functions(grid, fine, coarse, odd) @ through
                root = weight.sqrt()
                restrict = torch.linalg.pinv(root * prolong) * root.T
            pairs.append((restrict, prolong))
    return pairs[0], pairs[1]


def _functions(grid: str, rows: int, count: int, odd: bool) -> Tensor:
    """Functions of the colatitude on the rows of a grid, as many as the coarse grid has, ``(rows, count)``.

    Sines vanish at the poles: where the coarse grid has rows there, two cosines carry their values.
    """
    angle = colatitudes(grid, rows)[:, None]
    order = torch.arange(count, dtype=torch.float64)
    if not odd:
        return (angle * order).cos()
    if grid not in POLE_ROWS:
        return (angle * (order + 1)).sin()
    return torch.cat([(angle * order[1:-1]).sin(), (angle * order[-2:]).cos()], 1)
