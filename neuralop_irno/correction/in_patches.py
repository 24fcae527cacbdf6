"""A correction evaluated patch by patch: the same update, with the memory of one patch.

A patch is read with a halo as wide as the receptive field of the correction, and only its inner cells are
kept: what the padding of the network does at the rim of a patch does not reach them. Patches begin at
multiples of `Correction.alignment`, so that coarse cells are the same ones as in the whole field.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.correction.correction import BoundCorrection, Correction
from neuralop_irno.domain.condition import Condition
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.errors import expected


@dataclass(frozen=True)
class Patch:
    """A box of cells, and the larger box that is read for it.

    Attributes:
        inner: first cell and end along each axis.
        outer: the same with the halo; beyond the ends of a periodic axis the field goes on at the other end.
    """

    inner: tuple[tuple[int, int], ...]
    outer: tuple[tuple[int, int], ...]

    def read(self, field: Tensor) -> Tensor:
        """The cells of the outer box, from the last axes of a field."""
        first = field.dim() - len(self.outer)
        for axis, (start, stop) in enumerate(self.outer, start=first):
            count = field.shape[axis]
            if start >= 0 and stop <= count:
                field = field.narrow(axis, start, stop - start)
            else:
                cells = torch.arange(start, stop, device=field.device) % count
                field = field.index_select(axis, cells)
        return field

    def kept(self, part: Tensor) -> Tensor:
        """The inner cells of what was computed on the outer box."""
        first = part.dim() - len(self.outer)
        for axis, ((start, stop), (low, _)) in enumerate(
            zip(self.inner, self.outer, strict=True), start=first
        ):
            part = part.narrow(axis, start - low, stop - start)
        return part

    @property
    def place(self) -> tuple[Any, ...]:
        """The index of the inner cells in a field."""
        return (..., *(slice(start, stop) for start, stop in self.inner))


def patches_of(correction: Correction, shape: Sequence[int], size: int | Sequence[int]) -> list[Patch]:
    """The patches that cover a grid once, with the halo that a correction needs.

    Args:
        correction: on grids, with a receptive field.
        shape: cells along each axis.
        size: inner cells of a patch along each axis, one number for all axes or a list.

    Raises:
        ValueError: the correction sees the whole domain, or the sizes are no multiples of its alignment.
    """
    reach, unit = correction.receptive_field, correction.alignment
    if reach is None:
        wanted = f"a correction that sees a part of the grid, for patches of {tuple(shape)} cells"
        hint = "correction={'name': 'unet'} without frame, group or instance norm"
        raise ValueError(expected(wanted, f"{type(correction).__name__}, which sees all of it", hint))
    reach = (reach,) * len(shape) if isinstance(reach, int) else reach
    return cover(shape, size, reach, correction.periodic or (False,) * len(shape), unit)


def cover(
    shape: Sequence[int],
    size: int | Sequence[int],
    reach: Sequence[int],
    periodic: Sequence[bool],
    unit: int = 1,
) -> list[Patch]:
    """Patches of a size that cover a grid once, with halos of ``reach`` cells rounded up to ``unit``."""
    sizes = [size] * len(shape) if isinstance(size, int) else list(size)
    if len(sizes) != len(shape) or not all(isinstance(n, int) and n > 0 for n in sizes):
        raise ValueError(expected(f"a size of patches for {len(shape)} axes", size, "size=512"))
    axes = [_along(*axis, unit) for axis in zip(shape, sizes, reach, periodic, strict=True)]
    return [
        Patch(tuple(inner for inner, _ in parts), tuple(outer for _, outer in parts))
        for parts in product(*axes)
    ]


def _along(
    count: int, size: int, reach: int, periodic: bool, unit: int
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Inner and outer intervals along one axis."""
    halo = -(-reach // unit) * unit
    if size >= count or (periodic and size + 2 * halo >= count):
        yield from (((start, min(start + size, count)), (0, count)) for start in range(0, count, size))
        return
    if size % unit or (periodic and count % unit):
        wanted = f"patches{' and periodic axes' if periodic else ''} of a multiple of {unit} cells"
        raise ValueError(expected(wanted, f"{size} of {count}", f"size={max(unit, size // unit * unit)}"))
    for start in range(0, count, size):
        stop = min(start + size, count)
        low, high = start - halo, -(-stop // unit) * unit + halo
        yield (start, stop), ((low, high) if periodic else (max(low, 0), min(high, count)))


class InPatches(Correction):
    """A correction that is evaluated in patches.

    Args:
        correction: on grids, with a receptive field.
        size: inner cells of a patch along each axis, one number for all axes or a list.

    Example:
        >>> from neuralop_irno.correction.unet import UNet
        >>> phi = UNet(in_channels=1, out_channels=1, dim=1, width=4, depth=1)
        >>> _ = torch.nn.init.normal_(phi.last.weight)
        >>> x, h = torch.randn(2, 1, 1, 96)
        >>> patched = InPatches(phi, size=16).bind(x, GridDomain.of(x))
        >>> torch.allclose(patched(h), phi(x, h), atol=1e-5)
        True
    """

    def __init__(self, correction: Correction, size: int | Sequence[int]) -> None:
        super().__init__()
        self.correction, self.size = correction, size
        self.periodic, self.stepwise = correction.periodic, correction.stepwise
        self.in_channels, self.out_channels = correction.in_channels, correction.out_channels
        self.resolution_free, self.scalars = correction.resolution_free, correction.scalars

    def bound(
        self, x: Tensor, domain: Domain, physics: BoundCorrection | None, scalars: Tensor | None
    ) -> BoundCorrection:
        if not isinstance(domain, GridDomain):
            raise ValueError(expected("a field on a grid for patches", "one on points", "solve(...)"))
        patches = patches_of(self.correction, domain.shape, self.size)
        return _BoundInPatches(self.correction, x, domain, patches, physics, scalars)


class _BoundInPatches(BoundCorrection):
    """h -> Phi(x, h), patch by patch."""

    def __init__(
        self,
        correction: Correction,
        x: Tensor,
        domain: Domain,
        patches: Sequence[Patch],
        physics: BoundCorrection | None,
        scalars: Tensor | None,
    ) -> None:
        self._correction, self._x, self._patches = correction, x, patches
        self.domain, self.physics, self._scalars = domain, physics, scalars

    def __call__(self, h: Tensor, taken: Tensor | None = None) -> Tensor:
        update = torch.empty_like(h)
        condition = Condition(self._scalars)
        for patch in self._patches:
            x = patch.read(self._x)
            phi = self._correction.bind(x, GridDomain.of(x), condition=condition)
            update[patch.place] = patch.kept(phi(patch.read(h), taken))
        return update

    def select(self, keep: Tensor) -> _BoundInPatches:
        physics = self.physics.select(keep) if self.physics else None
        x, domain = self.domain.take(self._x, keep), self.domain.select(keep)
        scalars = None if self._scalars is None else self._scalars[keep]
        return _BoundInPatches(self._correction, x, domain, self._patches, physics, scalars)
