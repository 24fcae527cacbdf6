"""What is known of the grids and meshes that a correction was trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

from neuralop_irno.domain.resampling import LAYOUTS, PAIRS, AxisMap, GridMaps
from neuralop_irno.domain.sphere import GRIDS, padding_across_poles
from neuralop_irno.domain.sphere_maps import SphereMaps
from neuralop_irno.errors import did_you_mean, expected, shown

EXTENTS = ("fixed", "grows")
DETAILS = ("base", "cosets")
NODE_PAIRS = ("points", "means")

SAME_SPACING = 1.25
"""Meshes whose mean spacings differ by less than this factor count as equal."""


@dataclass(frozen=True)
class Resolution:
    """The grids or meshes that a correction was trained on, and what is known of their box and points.

    Args:
        cells: the sizes met in training, one (``[64, 64]``) or several (``[[64, 64], [32, 32]]``); collected
            in training if they are not given.
        lengths: the sides of the box in training; the spacing is then known, and calls in boxes of other
            sides are distinguished from calls at another spacing.
        extent: ``fixed``: another size means more or fewer points in the same box; ``grows``: another size
            means another box with the same spacing. A sphere has one size: it is ``fixed`` there.
        pair: how coarse data are made from fine ones: ``waves``, ``cosines``, ``points`` or ``means``, one
            for all axes or a list. By default ``waves`` on periodic axes and ``points`` on others.
        layout: where the points of an axis are: ``periodic``, ``ends`` (both walls), ``left`` (the first
            wall only) or ``cells`` (centres); one for all axes or a list. By default that which makes the
            coarse points a part of the fine ones.
        spacing: the smallest and the largest mean spacing of the training meshes; see `mean_spacing`.
        detail: what is finer than the trained grid: as the base gave it (``base``), or refined too
            (``cosets``): on each of the shifted coarse grids of which the fine one consists (whole ratios),
            and on meshes with edges as long as those of training. By default ``base`` on grids, and
            ``cosets`` on meshes if the correction works along edges and no ``pair`` is given.
        redrawn: the part of the calls in training in which the edges of meshes are drawn as on finer ones,
            with their own mean length. A correction along edges then keeps its accuracy on finer meshes, and
            loses some on those of training.
        sphere: the grid of fields ``(B, C, nlat, nlon)`` on a sphere, ``equiangular``, ``legendre-gauss`` or
            ``lobatto``; see `SphereDomain`. By default that of the base, if it transforms to spherical
            harmonics, as SFNO does; else grids are flat.
        fields: what is known of each field, where the state is a tuple of several; the other options are then
            those of all fields.

    Example:
        >>> Resolution(cells=[32, 32], extent="fixed")
        Resolution(32 x 32 points, extent fixed)
    """

    cells: Sequence[Any] = ()
    lengths: Sequence[float] | None = None
    extent: str | None = None
    pair: str | Sequence[str] | None = None
    layout: str | Sequence[str] | None = None
    spacing: Sequence[float] | None = None
    detail: str | None = None
    redrawn: float = 0.0
    sphere: str | None = None
    fields: Sequence[Any] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", tuple(Resolution.of(each) for each in self.fields))
        sizes = tuple(self.cells)
        if sizes and not isinstance(sizes[0], Sequence):
            sizes = (sizes,)
        sizes = tuple(sorted({tuple(map(int, each)) for each in sizes}))
        if any(min(each, default=0) < 1 for each in sizes) or len({len(each) for each in sizes}) > 1:
            raise ValueError(expected("cells as sizes of grids", shown(self.cells), "cells=[64, 64]"))
        object.__setattr__(self, "cells", sizes)
        if self.lengths is not None:
            sides = tuple(map(float, self.lengths))
            if not all(0 < side < math.inf for side in sides):
                raise ValueError(expected("lengths > 0", shown(self.lengths), "lengths=[1.0, 1.0]"))
            object.__setattr__(self, "lengths", sides)
        if self.spacing is not None:
            low, high = map(float, self.spacing)
            if not 0 < low <= high < math.inf:
                wanted = "spacing as (smallest, largest), both > 0"
                raise ValueError(expected(wanted, shown(self.spacing), "spacing=[0.05, 0.06]"))
            object.__setattr__(self, "spacing", (low, high))
        if not 0 <= self.redrawn <= 1:
            raise ValueError(expected("redrawn from 0 to 1", shown(self.redrawn), "redrawn=0.5"))
        for name, value, choices in (
            ("extent", self.extent, EXTENTS), ("pair", self.pair, PAIRS),
            ("layout", self.layout, LAYOUTS), ("detail", self.detail, DETAILS),
            ("sphere", self.sphere, GRIDS),
        ):  # fmt: skip
            for word in (value,) if isinstance(value, str) or value is None else value:
                if word is not None and word not in choices:
                    hint = did_you_mean(str(word), choices)
                    raise ValueError(expected(f"{name} of a resolution", shown(word), hint))
        if self.sphere is not None and self.extent == "grows":
            hint = "extent='fixed': more points are finer ones"
            raise ValueError(expected("a sphere of one size", "extent 'grows'", hint))

    @classmethod
    def of(cls, given: Resolution | Mapping[str, Any] | None) -> Resolution:
        """A resolution from itself, from a config, or an empty one."""
        if given is None or isinstance(given, Resolution):
            return given or cls()
        names = [field.name for field in fields(cls)]
        for key in given:
            if key not in names:
                raise TypeError(expected("an option of a resolution", repr(key), did_you_mean(key, names)))
        return cls(**given)

    def __repr__(self) -> str:
        sizes = ", ".join(" x ".join(map(str, each)) for each in self.cells)
        parts = [f"{sizes} points"] if sizes else []
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "spacing" and value is not None:
                parts.append("spacing " + " to ".join(f"{each:.4g}" for each in sorted(set(value))))
            elif field.name != "cells" and value not in (None, (), field.default):
                parts.append(f"{field.name} {value}")
        return f"Resolution({', '.join(parts) or 'not known'})"

    def plain(self) -> dict[str, Any]:
        """The config of this resolution, without what is not known."""
        known = {
            name: [list(each) for each in value] if name == "cells" else value
            for name, value in asdict(replace(self, fields=())).items()
            if value not in (None, (), 0.0)
        }
        return {**known, "fields": [each.plain() for each in self.fields]} if self.fields else known

    def each(self, count: int) -> list[Resolution]:
        """The resolution of each of several fields, completed by what holds for all.

        Example:
            >>> Resolution(extent="fixed", fields=[{"cells": [8]}, {"cells": [4]}]).each(2)
            [Resolution(8 points, extent fixed), Resolution(4 points, extent fixed)]
        """
        common = replace(self, fields=())
        if len(self.fields) not in (0, count):
            hint = f"resolution={{'fields': [{', '.join(['{}'] * count)}]}}"
            raise ValueError(expected(f"a resolution for each of {count} fields", len(self.fields), hint))
        return [field.completed(common) for field in self.fields] or [common] * count

    def completed(self, stated: Resolution) -> Self:
        """This resolution, with what it leaves open taken from what data state."""
        missing = {
            field.name: getattr(stated, field.name)
            for field in fields(self)
            if getattr(self, field.name) in (None, ())
        }
        if self.fields and len(self.fields) == len(stated.fields):
            pairs = zip(self.fields, stated.fields, strict=True)
            missing["fields"] = [one.completed(other) for one, other in pairs]
        return replace(self, **missing)

    def seen(self, shape: Sequence[int]) -> Self:
        """This resolution with one more size that was met in training."""
        known = tuple(self.cells)
        return self if tuple(shape) in known else replace(self, cells=(*known, tuple(shape)))

    def met(self, spacings: Sequence[float | None]) -> Self:
        """This resolution with the mean spacings of more meshes of training; None where it is not known."""
        all_known = [*(self.spacing or ()), *(each for each in spacings if each is not None)]
        return replace(self, spacing=(min(all_known), max(all_known))) if all_known else self

    def joined(self, other: Resolution) -> Self:
        """This resolution with the sizes and spacings that were met by another one of the same fields.

        Example:
            >>> Resolution([8]).joined(Resolution([[16], [8]])).cells
            ((8,), (16,))
        """
        found = self
        for shape in other.cells:
            found = found.seen(shape)
        pairs = zip(found.fields, other.fields, strict=True)
        return replace(
            found.met(other.spacing or ()), fields=tuple(one.joined(theirs) for one, theirs in pairs)
        )

    def coarser(self, spacing: float | None) -> float | None:
        """The mean spacing to which a mesh is coarsened for Phi; None if Phi is evaluated on it as it is.

        Args:
            spacing: the mean spacing of the mesh; None if not known.

        Raises:
            ValueError: the spacing is not one of training, and nothing says what that means.

        Example:
            >>> known = Resolution(spacing=[0.04, 0.06], extent="fixed")
            >>> known.coarser(0.02), known.coarser(0.035), known.coarser(0.2)
            (0.04, None, None)
        """
        if spacing is None or self.spacing is None or self.extent == "grows":
            return None
        low, high = self.spacing
        if low / SAME_SPACING <= spacing <= high * SAME_SPACING:
            return None
        if self.extent is None:
            known = " to ".join(f"{each:.3g}" for each in sorted({low, high}))
            hint = "resolution={'extent': 'fixed'} (more nodes in the same box) or 'grows' (a larger box)"
            raise ValueError(expected(f"a mesh of spacing {known}, as in training", f"{spacing:.3g}", hint))
        return low if spacing < low else None

    @property
    def node_pair(self) -> str:
        """The pair of maps between node sets."""
        pair = NODE_PAIRS[0] if self.pair is None else self.pair
        if pair not in NODE_PAIRS:
            raise ValueError(
                expected(f"a pair on meshes, {' or '.join(NODE_PAIRS)}", shown(pair), "pair=None")
            )
        return str(pair)

    def native(self, shape: Sequence[int], lengths: Sequence[float] | None = None) -> tuple[int, ...]:
        """The size of the grid on which Phi is evaluated for a field of a given size.

        Args:
            shape: the size of the field.
            lengths: the sides of its box; None if not known.

        Raises:
            ValueError: the size is not one of training, and nothing says what that means.
        """
        shape = tuple(shape)
        trained = [tuple(each) for each in self.cells if len(each) == len(shape)]
        if not trained:
            return shape
        if lengths is not None and self.lengths is not None:
            growth = [new / old for new, old in zip(lengths, self.lengths, strict=True)]
            trained = [
                tuple(max(1, round(n * g)) for n, g in zip(size, growth, strict=True)) for size in trained
            ]
        elif shape in trained or self.extent == "grows":
            return shape
        elif self.extent is None and self.sphere is None:
            known = " or ".join(" x ".join(map(str, size)) for size in trained)
            got = " x ".join(map(str, shape))
            hint = "resolution={'extent': 'fixed'} (more points in the same box) or 'grows' (a larger box)"
            raise ValueError(expected(f"x on {known} points, as in training", got, hint))
        # Of two equally near, the finer one.
        return min(trained, key=lambda size: (round(_apart(size, shape), 9), [-n for n in size]))

    def scaled(self, count: int, factor: float, axis: int) -> int:
        """The points of an axis with ``factor`` times as many cells: an axis with both ends has n - 1."""
        layout = self.layout if self.layout is None or isinstance(self.layout, str) else self.layout[axis]
        ends = int(layout == "ends")
        return max(1, round((count - ends) * factor) + ends)

    def box(self, shape: Sequence[int]) -> tuple[float, ...] | None:
        """The sides of the box of a grid of a given size, from those of training; None if not known.

        Example:
            >>> Resolution([64, 32], lengths=(2.0, 1.0), extent="grows").box((96, 32))
            (3.0, 1.0)
        """
        sizes: list[Any] = list(self.cells)
        lengths = None if self.lengths is None else tuple(self.lengths)
        if lengths is None or self.extent == "fixed" or not sizes:
            return lengths
        if self.extent is None:
            return lengths if tuple(shape) in sizes else None
        if len(sizes) > 1:  # boxes of several sizes, and one of them has these lengths
            return None
        return tuple(side * new / old for side, new, old in zip(lengths, shape, sizes[0], strict=True))

    @property
    def padding(self) -> tuple[str, ...] | None:
        """The padding of each axis where the grid implies it, as across the poles of a sphere."""
        return None if self.sphere is None else padding_across_poles(self.sphere)

    def maps(
        self, fine: Sequence[int], coarse: Sequence[int], periodic: Sequence[bool] | None
    ) -> GridMaps | SphereMaps:
        """The maps between two sizes of the grid; on a sphere those of its harmonics."""
        if self.sphere is not None:
            if self.pair is not None or self.layout is not None:
                got = f"pair={shown(self.pair)}, layout={shown(self.layout)}"
                raise ValueError(expected("no pair or layout on a sphere", got, "sphere alone"))
            return SphereMaps.between(self.sphere, fine, coarse)
        return GridMaps.between(fine, coarse, self.axes(fine, coarse, periodic))

    def axes(
        self, fine: Sequence[int], coarse: Sequence[int], periodic: Sequence[bool] | None
    ) -> list[AxisMap]:
        """The pair of maps of each axis between two grids."""
        dim = len(fine)
        pairs, layouts = _each(self.pair, dim, "pair"), _each(self.layout, dim, "layout")
        closed = periodic or [False] * dim
        return [_axis(*axis) for axis in zip(pairs, layouts, closed, fine, coarse, strict=True)]


def _apart(one: Sequence[int], other: Sequence[int]) -> float:
    return sum(abs(math.log(n / m)) for n, m in zip(one, other, strict=True))


def _each(words: str | Sequence[str] | None, dim: int, name: str) -> list[str | None]:
    """One word for each axis."""
    if words is None or isinstance(words, str):
        return [words] * dim
    if len(words) != dim:
        raise ValueError(expected(f"one {name} for each of {dim} axes", list(words), f"{name}={words[0]!r}"))
    return list(words)


def _axis(pair: str | None, layout: str | None, periodic: bool, fine: int, coarse: int) -> AxisMap:
    """What is not stated: periodic axes by waves, others by the points that both grids have."""
    if layout is None and periodic:
        layout = "periodic"
    if layout is None:
        shared = coarse > 1 and (fine - 1) % (coarse - 1) == 0
        if pair in ("means", "cosines"):
            layout = "ends" if pair == "cosines" and shared else "cells"
        else:
            layout = "left" if fine % coarse == 0 else "ends"
    return AxisMap(pair or ("waves" if layout == "periodic" else "points"), layout)
