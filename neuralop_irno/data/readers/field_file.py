"""One file of fields on a grid: the variables that a config names, and what the file says of their grid."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.data.finite import spelled
from neuralop_irno.data.readers.array_formats import IN_MEMORY, files_of, stored_arrays
from neuralop_irno.data.readers.axes import Order, roles_of
from neuralop_irno.data.readers.file_grid import Boundaries, FileGrid, grid_of, measure_of
from neuralop_irno.data.readers.stored import KEPT, Stored
from neuralop_irno.data.readers.variables import EVERYTHING, Variable, one_size
from neuralop_irno.errors import did_you_mean, expected

MASKED = 0.5
"""A mask above this counts: 1 where fields are used, 0 elsewhere."""


@dataclass(frozen=True)
class Wanted:
    """What a config reads of its files.

    Attributes:
        x: variables of the input.
        y: variables of the target; of a series, the fields of a frame.
        static: variables without samples, further channels of every input.
        mask: a variable without samples, 1 where fields count.
        order: how axes are to be understood.
        boundaries: what is stated of the grid.
        alone: whether a file with more arrays is refused.
        precise: whether fields stored in double precision are read so, and not in single precision.
    """

    x: tuple[str, ...]
    y: tuple[str, ...]
    static: tuple[str, ...] = ()
    mask: str | None = None
    order: Order = field(default_factory=Order)
    boundaries: Boundaries = field(default_factory=Boundaries)
    alone: bool = False
    precise: bool = False


class FieldFile:
    """The named variables of a file, opened and checked but not read.

    Args:
        path: of the file.
        wanted: what to read.

    Attributes:
        fields: variables of the input that vary in space and from sample to sample.
        scalars: those of the input that are one number for each sample.
        targets: the variables of the target.
        samples: number of samples; of series, of trajectories.
        frames: number of frames of a trajectory; 1 of pairs.
        grid: that of the target.
        input_grid: that of the input.
    """

    def __init__(self, path: Path, wanted: Wanted) -> None:
        self.path, self.wanted = path, wanted
        self._arrays = stored_arrays(path)
        order = wanted.order
        self._coordinates: dict[str, Stored] = {}
        chosen = {name: self._array(name) for name in dict.fromkeys((*wanted.x, *wanted.y))}
        for stored in chosen.values():
            self._take_coordinates(stored)
        known = {name: coordinate.attributes for name, coordinate in self._coordinates.items()}
        order = Order(self._time_axis(order.time, chosen.values()), order.layout)
        roles = {
            name: roles_of(f"{name} in {path.name}", each, order, known) for name, each in chosen.items()
        }
        varying = {name: Variable(name, chosen[name], roles[name]) for name in chosen}
        inputs = [varying[name] for name in wanted.x]
        self.targets = [varying[name] for name in wanted.y]
        self.fields = [each for each in inputs if each.space]
        self.scalars = [each for each in inputs if not each.space]
        self._check_axes([*inputs, *self.targets])
        self._front = {
            each.stored.dims[each.roles.index(role)]
            for each in varying.values()
            for role in "BT"
            if role in each.roles
        }
        double = wanted.precise and any(each.double for each in chosen.values())
        self._dtype = np.float64 if double else np.float32
        self.samples = one_size("samples", [*inputs, *self.targets], "B")
        self.frames = one_size("frames", [*self.fields, *self.targets], "T")
        self.input_grid = self._grid(self.fields or self.targets)
        self.grid = self._grid(self.targets or self.fields)
        self.static = [self._constant(name, self.input_grid) for name in wanted.static]
        self._mask = None if wanted.mask is None else self._constant(wanted.mask, self.grid)
        if wanted.alone:
            self._refuse_more()

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are read."""
        return files_of(self.path)

    @property
    def in_memory(self) -> bool:
        """Whether the arrays were read when the file was opened."""
        return self.path.suffix in IN_MEMORY

    @cached_property
    def measure(self) -> Tensor | None:
        """The measure of the cells; None if all count alike."""
        return measure_of(self.grid, self.mask)

    @cached_property
    def mask(self) -> Tensor | None:
        """1 where fields count and 0 elsewhere, ``S``; None without a mask."""
        if self._mask is None:
            return None
        values = self._mask.read(EVERYTHING, EVERYTHING, self.grid.names, self.grid.flipped)[0, 0, 0]
        return torch.from_numpy((values > MASKED).astype(np.float32)).expand(self.grid.shape)

    @cached_property
    def times(self) -> Any:
        """The times of the frames, ``(T,)`` or ``(samples, T)``; None if the file does not say them."""
        stored = self._time()
        if stored is None:
            return None
        values = stored.numbers((), np.float64)
        if values.ndim not in (1, 2) or values.shape[-1] not in (self.frames, self.frames + 1):
            return None
        return values[..., : self.frames]  # some of PDEBench's files have a time more than frames

    def _time(self) -> Stored | None:
        timed = [each for each in self.targets if "T" in each.roles]
        axis = timed[0].stored.dims[timed[0].roles.index("T")] if timed else None
        name = self.wanted.order.time
        return next((self._coordinate(word) for word in (name, axis) if isinstance(word, str)), None)

    def coordinate(self, axis: str) -> tuple[Any, dict[str, Any]] | None:
        """The values and the attributes of the coordinate of an axis; None if the file has none."""
        stored = self._coordinates.get(axis)
        if stored is None or len(stored.shape) != 1:
            return None
        return self._values(axis), self.attributes_of(axis, stored)

    @property
    def coordinates(self) -> dict[str, tuple[Any, dict[str, Any]]]:
        """The coordinates of all axes of the grid, in the order of reading; empty if one lacks."""
        found: dict[str, Any] = {name: self.coordinate(name) for name in self.grid.names}
        sizes = dict(zip(self.grid.names, self.grid.shape, strict=True))
        if any(each is None or len(each[0]) != sizes[name] for name, each in found.items()):
            return {}
        turned = dict(zip(self.grid.names, self.grid.flipped, strict=True))
        return {
            name: (values[::-1] if turned[name] else values, said) for name, (values, said) in found.items()
        }

    @property
    def attributes_of_time(self) -> dict[str, Any]:
        """The attributes of the times of a series."""
        stored = self._time()
        return {} if stored is None else self.attributes_of("", stored)

    def attributes_of(self, name: str, stored: Stored | None = None) -> dict[str, Any]:
        """The attributes that describe a variable: units, names; none if the file does not have it."""
        if stored is None and name in self._arrays:
            stored = self._arrays[name]()
        known = {} if stored is None else stored.attributes
        return {key: known[key] for key in KEPT if key in known}

    def read(
        self, variables: Sequence[Variable], grid: FileGrid, samples: slice, times: slice = EVERYTHING
    ) -> Tensor:
        """Variables as channels, one after the other.

        Raises:
            ValueError: some values are not finite, other than where the mask is 0.

        Shapes:
            - returns: ``(n, T, C, *S)``; scalars are constant in space
        """
        blocks = []
        for each in variables:
            space = grid.names if each.space else ()
            flipped = grid.flipped if space else ()
            values = torch.from_numpy(each.read(samples, times, space, flipped, self._dtype))
            if space and self.mask is not None and tuple(self.grid.shape) == values.shape[3:]:
                values = torch.where(self.mask > 0, values, values.nan_to_num(0.0, 0.0, 0.0))
            self._refuse_holes(values, each, samples, times)
            blocks.append(values.reshape(*values.shape[:3], *(values.shape[3:] or [1] * len(grid.shape))))
        rows = [max(block.shape[axis] for block in blocks) for axis in (0, 1)]
        return torch.cat([block.expand(*rows, block.shape[2], *grid.shape) for block in blocks], 2)

    def _refuse_holes(self, values: Tensor, each: Variable, samples: slice, times: slice) -> None:
        holes = int((~values.isfinite()).sum())
        if not holes:
            return
        cut = [part for part, role in ((samples, "B"), (times, "T")) if role in each.roles]
        place = [part for part in cut if part != EVERYTHING]
        short = [part.start if (part.stop or 0) - (part.start or 0) == 1 else part for part in place]
        wanted = f"{each.name}{spelled(tuple(short))} in {self.path.name} to be finite"
        hint = "cleaning the data, or mask: a variable that is 0 where there are no values"
        raise ValueError(expected(wanted, f"{holes} NaN or inf", hint))

    def _array(self, name: str) -> Stored:
        if name not in self._arrays:
            listed = sorted(self._arrays)
            wanted = f"an array '{name}' in {self.path.name}"
            raise ValueError(expected(wanted, listed, did_you_mean(name, listed)))
        stored = self._arrays[name]()
        if stored.kind == "c" or not stored.shape or not prod(stored.shape):
            kind = "complex" if stored.kind == "c" else "real"
            wanted = f"{name} in {self.path.name} as real (n, C, *S)"
            hint = "x[:, None], real and imaginary parts as channels"
            raise ValueError(expected(wanted, f"{kind} {stored.shape}", hint))
        return stored

    def _coordinate(self, axis: str) -> Stored | None:
        names = (axis, f"{axis}-coordinate", f"grid/{axis}")
        name = next((name for name in names if name in self._arrays), None)
        return None if name is None else self._arrays[name]()

    def _take_coordinates(self, stored: Stored) -> None:
        for axis in stored.dims:
            if axis is not None and axis not in self._coordinates:
                found = self._coordinate(axis)
                if found is not None and found.shape:
                    self._coordinates[axis] = found

    def _time_axis(self, time: str | int | None, chosen: Collection[Stored]) -> str | int | None:
        """The axis along which a coordinate of time lies, if one is named in place of the axis."""
        if isinstance(time, str) and not any(time in stored.dims for stored in chosen):
            stored = self._coordinate(time)
            if stored is None:
                wanted = f"an axis or a coordinate {time!r} in {self.path.name}"
                raise ValueError(expected(wanted, sorted(self._arrays), "the name of the axis of time"))
            return stored.dims[-1] or 1
        return time

    def _check_axes(self, variables: Sequence[Variable]) -> None:
        """Refuse a series without time, pairs with time, and pairs without samples."""
        series = self.wanted.order.series
        axes = ", ".join(f"{each.name} ({', '.join(each.roles)})" for each in variables)
        timed = any("T" in each.roles for each in self.targets or self.fields)
        if timed != series:
            wanted = f"{'an' if series else 'no'} axis of time in {self.path.name}"
            raise ValueError(expected(wanted, axes, "time: the name or the number of the axis"))
        alone = [each.name for each in variables if "B" not in each.roles]
        if not series and alone:
            hint = f"layout: 'B C Y X', time: the axis of time, or static: [{alone[0]}]"
            raise ValueError(expected(f"an axis of samples in {self.path.name}", axes, hint))

    def _grid(self, variables: Sequence[Variable]) -> FileGrid:
        first = next((each for each in variables if each.space), None)
        if first is None:
            raise ValueError(expected(f"a field on a grid in {self.path.name}", "numbers alone", "x: [u]"))
        shape = [first.sizes[name] for name in first.space]
        for each in variables:
            sizes = [each.sizes.get(name) for name in first.space]
            if each.space and (len(each.space) != len(shape) or sizes != shape):
                got = f"{each.name} ({', '.join(each.space)}) {[each.sizes[name] for name in each.space]}"
                wanted = f"fields on the grid of {first.name} ({', '.join(first.space)}) {shape}"
                raise ValueError(expected(wanted, got, "fields of one grid"))
        read = {
            name: (self._values(name), self._coordinates[name].attributes)
            for name in first.space
            if name in self._coordinates
        }
        known: Mapping[str, Any] = {
            name: found for name, found in read.items() if found[0].shape == (first.sizes[name],)
        }
        return grid_of(first.space, shape, known, self.wanted.boundaries)

    def _values(self, axis: str) -> Any:
        """The coordinates of an axis; of the first sample if each has its own."""
        stored = self._coordinates[axis]
        return stored.numbers((0,) * (len(stored.shape) - 1) if len(stored.shape) > 1 else (), np.float64)

    def _constant(self, name: str, grid: FileGrid) -> Variable:
        """A variable without samples and time: axes that are not of the grid are channels, or of length 1."""
        stored = self._array(name)
        roles = [dim if dim in grid.names else "" for dim in stored.dims]
        if not any(roles) and stored.shape[-len(grid.shape) :] == grid.shape:
            roles[-len(grid.shape) :] = grid.names
        others = [place for place, role in enumerate(roles) if not role]
        wide = [place for place in others if stored.shape[place] > 1]
        of_samples = any(
            stored.dims[place] in self._front if stored.dims[place] else stored.shape[place] == self.samples
            for place in wide
        )
        for place in others:
            roles[place] = "C" if place in wide else f"one{place}"
        sizes = dict(zip(roles, stored.shape, strict=True))
        known = [sizes.get(axis) for axis in grid.names]
        if len(wide) > 1 or of_samples or known != list(grid.shape):
            got = f"{stored.shape} with axes {stored.dims}"
            where = f"{name} in {self.path.name} without samples"
            hint = f"x: [{name}] for what differs from sample to sample"
            raise ValueError(
                expected(f"{where} on the grid ({', '.join(grid.names)}) {grid.shape}", got, hint)
            )
        return _without_ones(Variable(name, stored, tuple(roles)))

    def _refuse_more(self) -> None:
        used = {*self.wanted.x, *self.wanted.y, *self.wanted.static, self.wanted.mask}
        axes = {f"{axis}{end}" for axis in self._coordinates for end in ("", "-coordinate")}
        extra = sorted(self._arrays.keys() - used - axes - {f"grid/{axis}" for axis in self._coordinates})
        if extra:  # for example positions: then x is not a field on a grid
            hint = "a graph data set for fields on points, a file of x and y, or x: [x], y: [y] to name them"
            raise ValueError(expected(f"the arrays x and y alone in {self.path.name}", f"also {extra}", hint))


def _without_ones(variable: Variable) -> Variable:
    """The variable without axes of length 1 that are none of its grid."""
    kept = [place for place, role in enumerate(variable.roles) if not role.startswith("one")]
    if len(kept) == len(variable.roles):
        return variable
    stored, axes = variable.stored, len(variable.roles)
    shape, dims = tuple(stored.shape[axis] for axis in kept), tuple(stored.dims[axis] for axis in kept)
    inner = Stored(
        shape, partial(_first_of_others, stored, kept, axes), dims, stored.attributes, stored.dtype
    )
    return Variable(variable.name, inner, tuple(variable.roles[axis] for axis in kept))


def _first_of_others(stored: Stored, kept: Sequence[int], axes: int, place: Any) -> Any:
    """A part of an array at a place along some of its axes, at 0 of the others."""
    inner = dict(zip(kept, place, strict=True))
    return stored.read(tuple(inner.get(axis, 0) for axis in range(axes)))
