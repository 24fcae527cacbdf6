"""The grid of fields in a file, from the coordinates of its axes: box, sphere, boundaries, areas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.data.readers.axes import kind_of
from neuralop_irno.domain.padding import padding_modes
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.domain.sphere import GRIDS, colatitudes, padding_across_poles, row_weights
from neuralop_irno.errors import expected

EQUAL = 1e-2
"""Spacings that differ by less than this part count as equal: coordinates may be in single precision."""


@dataclass(frozen=True)
class Boundaries:
    """What a config states of the boundaries and the grid.

    Attributes:
        periodic: which axes are periodic; the others continue their last value (``replicate``).
        padding: the padding mode of each axis.
        sphere: the grid of fields on a sphere.
    """

    periodic: Sequence[bool] | None = None
    padding: Sequence[str] | None = None
    sphere: str | None = None

    def modes(self, dim: int) -> tuple[str, ...] | None:
        """The padding mode of each of ``dim`` axes; None if none is stated."""
        if self.periodic is not None and self.padding is not None:
            raise ValueError(expected("periodic or padding", "both", "padding alone"))
        if self.periodic is None:
            return None if self.padding is None else padding_modes(self.padding, dim)
        return padding_modes(["circular" if closed else "replicate" for closed in self.periodic], dim)


@dataclass(frozen=True)
class FileGrid:
    """The grid of fields of a file.

    Attributes:
        names: of the axes.
        shape: points along each axis.
        flipped: which axes are read in reversed order.
        lengths: the sides of the box; None if not known.
        sphere: the grid on a sphere; None on a flat one.
        padding: of each axis; None if neither the config nor the file states it.
        weights: the areas of cells up to a factor, which broadcast with the grid; None if all are equal.
        notes: what a user should see.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    flipped: tuple[bool, ...]
    lengths: tuple[float, ...] | None = None
    sphere: str | None = None
    padding: tuple[str, ...] | None = None
    weights: Tensor | None = None
    notes: tuple[str, ...] = ()

    @property
    def resolution(self) -> Resolution:
        """What is known of the grid."""
        known = self.sphere is not None or self.lengths is not None
        return Resolution(lengths=self.lengths, sphere=self.sphere, extent="fixed" if known else None)

    def __str__(self) -> str:
        points = f"{' x '.join(map(str, self.shape))} points ({', '.join(self.names)})"
        box = "" if self.lengths is None else f", box {' x '.join(f'{side:.4g}' for side in self.lengths)}"
        globe = "" if self.sphere is None else f", {self.sphere} grid of a sphere"
        ends = "by the option padding of the correction" if self.padding is None else ", ".join(self.padding)
        return f"{points}{box}{globe}, boundaries {ends}{''.join(f'; {note}' for note in self.notes)}"


def grid_of(
    names: Sequence[str],
    shape: Sequence[int],
    coordinates: Mapping[str, tuple[Any, Mapping[str, Any]]],
    stated: Boundaries,
) -> FileGrid:
    """The grid of axes with coordinates.

    Args:
        names: of the axes, in the order of the file.
        shape: points along each.
        coordinates: values and attributes of those that the file has, by name.
        stated: what the config states.

    Example:
        >>> print(grid_of(["x"], [4], {"x": (np.arange(4) / 2, {})}, Boundaries([True])))
        4 points (x), box 2, boundaries circular
    """
    kinds = {name: kind_of(name, coordinates[name][1] if name in coordinates else {}) for name in names}
    if sorted(kinds.values()) == ["latitude", "longitude"] and len(names) == 2:
        latitude, longitude = sorted(names, key=lambda name: kinds[name])
        sizes = dict(zip(names, shape, strict=True))
        known = [coordinates[name][0] if name in coordinates else None for name in (latitude, longitude)]
        return _on_globe((latitude, longitude), (sizes[latitude], sizes[longitude]), known, stated)
    if stated.sphere is not None:
        return _stated_sphere(tuple(names), tuple(shape), stated)
    sides, flipped, notes = [], [], []
    for name, size in zip(names, shape, strict=True):
        values = coordinates[name][0] if name in coordinates else None
        spacing = None if values is None else _spacing(values)
        sides.append(None if spacing is None else size * abs(spacing))
        flipped.append(values is not None and _descends(values))
        if flipped[-1]:
            notes.append(f"{name} turned to ascending")
        if values is not None and size > 1 and spacing is None:
            notes.append(f"{name} is not equidistant: used as a grid of points, without lengths")
    lengths = None if None in sides else tuple(float(side or 0) for side in sides)
    modes = stated.modes(len(names)) or (("replicate",) * len(names) if coordinates else None)
    return FileGrid(tuple(names), tuple(shape), tuple(flipped), lengths, None, modes, notes=tuple(notes))


def _stated_sphere(names: tuple[str, ...], shape: tuple[int, ...], stated: Boundaries) -> FileGrid:
    known = Resolution(extent="fixed", sphere=stated.sphere)  # refuses a grid that does not exist
    modes = stated.modes(len(names)) or known.padding
    return FileGrid(names, shape, (False,) * len(names), None, stated.sphere, modes)


def _on_globe(
    names: tuple[str, str], shape: tuple[int, int], values: Sequence[Any], stated: Boundaries
) -> FileGrid:
    """A grid of the whole sphere, or rows weighted by the cosine of the latitude."""
    latitude, longitude = values
    if latitude is None or longitude is None:
        if stated.sphere is not None:
            return _stated_sphere(names, shape, stated)
        note = "no coordinates of latitude and longitude: used as a flat grid"
        return FileGrid(names, shape, (False, False), padding=stated.modes(2), notes=(note,))
    step = _spacing(longitude)
    circle = step is not None and abs(shape[1] * abs(step) - 360) < EQUAL * abs(step)
    flipped = (bool(latitude[0] <= latitude[-1]), _descends(longitude))
    rows = latitude[::-1] if flipped[0] else latitude
    ways = (f"{names[0]} turned to north first", f"{names[1]} turned to ascending")
    turned = tuple(way for way, flip in zip(ways, flipped, strict=True) if flip)
    found = next((grid for grid in GRIDS if circle and _has_rows(grid, rows)), None)
    if stated.sphere not in (None, found):
        got = f"{stated.sphere!r}, while its coordinates are {found or 'of none of them'}"
        wanted = f"the grid of the sphere that the file has, of {', '.join(GRIDS)}"
        raise ValueError(expected(wanted, got, "leaving sphere out"))
    if found is not None:
        modes = stated.modes(2) or padding_across_poles(found)
        return FileGrid(names, shape, flipped, None, found, modes, notes=turned)
    weights = torch.from_numpy(np.cos(np.deg2rad(rows))).float().clamp(min=0)[:, None]
    modes = stated.modes(2) or ("replicate", "circular" if circle else "replicate")
    ends = [f"{name} {along[0]:g} to {along[-1]:g}" for name, along in zip(names, values, strict=True)]
    note = f"{', '.join(ends)}: no grid of a whole sphere, rows weighted by the cosine of the latitude"
    return FileGrid(names, shape, flipped, padding=modes, weights=weights, notes=(note, *turned))


def _has_rows(grid: str, rows: Any) -> bool:
    """Whether latitudes in degrees, north first, are those of a grid."""
    if len(rows) < 2:
        return False
    wanted = 90 - np.rad2deg(colatitudes(grid, len(rows)).numpy())
    return bool(np.abs(wanted - rows).max() < EQUAL * 180 / len(rows))


def _descends(values: Any) -> bool:
    """Whether coordinates go from large to small: then fields are read from the other end."""
    return len(values) > 1 and bool((np.diff(values) < 0).all())


def _spacing(values: Any) -> float | None:
    """The spacing of equidistant coordinates; None of others."""
    steps = np.diff(np.asarray(values, dtype=np.float64))
    if not len(steps) or not np.isfinite(steps).all():
        return None
    mean = float(steps.mean())
    return mean if mean != 0 and np.abs(steps - mean).max() <= EQUAL * abs(mean) else None


def measure_of(grid: FileGrid, mask: Tensor | None) -> Tensor | None:
    """The measure of the cells: areas where they differ, and 0 where ``mask`` is; None if all are equal.

    Shapes:
        - mask, returns: ``S``; returns broadcasts with it
    """
    if mask is None:
        return grid.weights
    areas = row_weights(grid.sphere, grid.shape[0]).float() if grid.sphere is not None else grid.weights
    return mask if areas is None else mask * areas
