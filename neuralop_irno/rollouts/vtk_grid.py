"""Grids as VTK has them: ImageData for axes of equal steps, RectilinearGrid for others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neuralop_irno.errors import expected
from neuralop_irno.rollouts.place import CHANNEL, XYZ, Array, Place

DIRECTIONS = {**{name: axis for axis, name in enumerate(XYZ)}, "lon": 0, "lat": 1}
"""VTK's axis for an axis with a name; of axes with other names the last is x."""

EQUAL = 1e-4
"""Steps are equal if they differ by less than this share of their mean: coordinates may be in float32."""


@dataclass(frozen=True)
class VTKGrid:
    """The axes of space of a grid.

    Attributes:
        names: of the axes, in the order of frames.
        axes: the coordinates of their points; 0, 1, 2, .. where they are not known.

    Example:
        >>> grid = VTKGrid(("lat", "lon"), (np.linspace(90, -90, 3), np.linspace(0, 270, 4)))
        >>> grid.directions, grid.sizes, grid.uniform, grid.origin, grid.spacing
        ((1, 0), (4, 3, 1), True, (0.0, 90.0, 0.0), (90.0, 90.0, 1.0))
    """

    names: tuple[str, ...]
    axes: tuple[Array, ...]

    @classmethod
    def of(cls, names: Sequence[str], shape: Sequence[int], known: Mapping[str, Array]) -> VTKGrid:
        """The grid of frames.

        Args:
            names: of its axes.
            shape: of its points.
            known: coordinates by the name of the axis.
        """
        axes = (known.get(name, np.arange(size)) for name, size in zip(names, shape, strict=True))
        return cls(tuple(names), tuple(np.asarray(axis, dtype=np.float64) for axis in axes))

    @property
    def directions(self) -> tuple[int, ...]:
        """VTK's axis of each axis."""
        found = tuple(DIRECTIONS.get(name, -1) for name in self.names)
        if -1 in found or len(set(found)) < len(found):
            return tuple(reversed(range(len(self.names))))
        return found

    @property
    def on_axes(self) -> tuple[Array, ...]:
        """The coordinates along x, y and z."""
        held = dict(zip(self.directions, self.axes, strict=True))
        return tuple(held.get(axis, np.zeros(1)) for axis in range(3))

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of points along x, y and z."""
        return tuple(len(axis) for axis in self.on_axes)

    @property
    def uniform(self) -> bool:
        """Whether the steps of every axis are equal."""
        steps = [np.diff(axis) for axis in self.axes if len(axis) > 2]
        return all(np.ptp(each) <= EQUAL * abs(each.mean()) for each in steps)

    @property
    def origin(self) -> tuple[float, ...]:
        """The first point."""
        return tuple(float(axis[0]) for axis in self.on_axes)

    @property
    def spacing(self) -> tuple[float, ...]:
        """The steps, positive."""
        return tuple(_step(axis) for axis in self.on_axes)

    def ordered(self, values: Array) -> Array:
        """Values ``(*S, ..)`` as ``(z, y, x, ..)``, each axis upwards; missing axes are added."""
        count = len(self.names)
        turned = tuple(slice(None, None, -1 if _falls(axis) else 1) for axis in self.axes)
        order = np.argsort([-direction for direction in self.directions])
        moved = values[turned].transpose(*order, *range(count, values.ndim))
        return moved.reshape(*self.sizes[::-1], *values.shape[count:])

    def restored(self, values: Array) -> Array:
        """The inverse of `ordered`."""
        count = len(self.names)
        order = np.argsort([-direction for direction in self.directions])
        held = [len(self.axes[axis]) for axis in order]
        moved = values.reshape(*held, *values.shape[3:])
        back = moved.transpose(*np.argsort(order), *range(count, moved.ndim))
        return back[tuple(slice(None, None, -1 if _falls(axis) else 1) for axis in self.axes)]

    def check(self, suffix: str) -> None:
        """Raise ValueError unless VTK has such grids."""
        if len(self.names) > len(XYZ):
            wanted = f"a grid of up to three axes of space for {suffix}"
            raise ValueError(expected(wanted, self.names, "a path that ends in .zarr or .h5"))
        rough = [
            name
            for name, axis in zip(self.names, self.axes, strict=True)
            if not ((np.diff(axis) > 0).all() or (np.diff(axis) < 0).all())
        ]
        if rough:
            wanted = f"coordinates that rise or fall along each axis for {suffix}"
            raise ValueError(expected(wanted, f"others along {rough}", "a path that ends in .zarr or .h5"))


def check_drawn(place: Place, shape: tuple[int, ...], suffix: str) -> VTKGrid | None:
    """The grid of frames, or None on meshes and points.

    Args:
        place: of the frames.
        shape: of a frame.
        suffix: of the file, for errors.

    Raises:
        ValueError: ParaView has no such places.
    """
    if "node" in place.dims:
        if not place.on_mesh or "x" not in place.constants:
            wanted = f"a mesh or points with up to three coordinates, as a graph with pos, for {suffix}"
            hint = "a path that ends in .zarr or .h5"
            raise ValueError(expected(wanted, "nodes without them", hint))
        return None
    known = {name: each.values for name, each in place.constants.items()}
    grid = grid_among(place.dims, shape, known)
    grid.check(suffix)
    return grid


def grid_among(dims: Sequence[str], shape: Sequence[int], known: Mapping[str, Array]) -> VTKGrid:
    """The grid of an array of a file, from the names and lengths of its axes.

    Args:
        dims: of the array; those that are not of space are left out.
        shape: of the array.
        known: coordinates by the name of the axis.
    """
    inside = {
        name: size
        for name, size in zip(dims, shape, strict=True)
        if name not in ("time", "step", "sample", CHANNEL)
    }
    return VTKGrid.of(tuple(inside), tuple(inside.values()), known)


def _falls(axis: Array) -> bool:
    return len(axis) > 1 and bool(axis[1] < axis[0])


def _step(axis: Array) -> float:
    return abs(float(axis[-1] - axis[0])) / (len(axis) - 1) if len(axis) > 1 else 1.0
