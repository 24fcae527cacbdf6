"""The layout of The Well's files, https://github.com/PolymathicAI/the_well:

    attributes                  dataset_name, n_trajectories, and others that are not needed
    dimensions                  attribute spatial_dims, the names of the axes; arrays time and one each
    boundary_conditions/NAME    attributes bc_type (PERIODIC, OPEN, WALL) and associated_dims; array mask
    scalars/NAME                [B,] [T]
    t0_fields/NAME              numbers, t1_fields vectors, t2_fields matrices: [B,] [T,] *S [, D [, D]]

Attributes of an array state along which of these axes it varies; the others are left out, or have length 1
in space. A field that does not vary in time is called constant.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.data.readers.hdf5 import array, member, numbers, numbers_as_stored, opened
from neuralop_irno.errors import check_choice, expected

ORDERS = ("t0_fields", "t1_fields", "t2_fields")
PADDING = {"periodic": "circular", "open": "replicate", "wall": "zero"}
"""Padding mode of each boundary condition. If the two ends of an axis differ, ``replicate`` is used."""


@dataclass(frozen=True)
class Variable:
    """An array of a file.

    Attributes:
        path: path in the file.
        components: names of its components; more than one for vectors and matrices.
        of_sample: whether it differs between trajectories.
        in_time: whether it varies in time.
        along: for each axis of space, whether it varies along it.
    """

    path: str
    components: tuple[str, ...]
    of_sample: bool
    in_time: bool
    along: tuple[bool, ...] = ()

    @property
    def name(self) -> str:
        """The name in ``stats.yaml``."""
        return self.path.rpartition("/")[2]


class WellFile:
    """One file of The Well. It stays open (see `hdf5`), and only requested parts are read.

    Args:
        path: the file.

    Attributes:
        name: name of the data set that the file belongs to.
        grid: points along each axis.
        box: the sides of the box, n times the spacing of n points; None if an axis is not evenly spaced.
        trajectories: number of trajectories.
        frames: number of frames of each.
        times: of the frames, ``(T,)``.
        varying: the fields that vary in time, in the order of the channels.
        constant: the fields that do not.
        parameters: the scalars that are constant in time.
        signals: the scalars that vary in time.
        boundary: boundary conditions at the low and the high end of each axis: periodic, open or wall.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        file = opened(self.path)
        try:
            self._describe(file)
        except (LookupError, AttributeError, TypeError, OSError, RuntimeError) as error:
            # Attributes that are missing, of the wrong type, or damaged.
            problem = str(error).strip("'\"")
            wanted = f"the layout of The Well in {self.path.name}"
            raise ValueError(expected(wanted, problem, "docs/data.md")) from error

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the channels of a frame."""
        return tuple(name for variable in self.varying for name in variable.components)

    def frames_at(self, trajectory: int, places: range) -> Tensor:
        """Some frames of a trajectory, ``(T, C, *S)``; double if single precision would round them."""
        return torch.cat([self._field(v, trajectory, places) for v in self.varying], 1)

    def constants_of(self, trajectory: int) -> Tensor:
        """The constant fields of a trajectory, ``(C, *S)``; double if single precision would round them."""
        none = torch.zeros(0, *self.grid)
        return torch.cat([none, *(self._field(v, trajectory, range(1))[0] for v in self.constant)])

    def parameters_of(self, trajectory: int) -> Tensor:
        """The scalars that are constant in time, ``(P,)``."""
        return torch.tensor([float(self._values(v, trajectory, range(1))) for v in self.parameters])

    def signals_at(self, trajectory: int, places: range) -> Tensor:
        """The scalars that vary in time, ``(T, P)``."""
        none = torch.zeros(len(places), 0)
        columns = [torch.from_numpy(self._values(v, trajectory, places))[:, None] for v in self.signals]
        return torch.cat([none, *columns], 1).float()

    def _describe(self, file: Any) -> None:
        self.name = str(file.attrs["dataset_name"])
        axes = _words(member(file, "dimensions"), "spatial_dims")
        if not 1 <= len(axes) == len(set(axes)) <= 3:
            raise ValueError(expected(f"1 to 3 axes in {self.path.name}", axes, "downloading it again"))
        self.grid = tuple(int(array(file, f"dimensions/{axis}").shape[-1]) for axis in axes)
        self.times = self._times(array(file, "dimensions/time"))
        self.frames = len(self.times)
        self.trajectories = self._count(file.attrs["n_trajectories"])
        fields = [v for order in range(len(ORDERS)) for v in self._fields(file, axes, order)]
        self.varying = tuple(v for v in fields if v.in_time)
        self.constant = tuple(v for v in fields if not v.in_time)
        # Require a field that varies along every axis: its stored size confirms the sizes in the attributes.
        # Without it, damaged attributes could make a constant field be repeated without bound.
        if not any(all(v.along) and (v.of_sample or self.trajectories == 1) for v in self.varying):
            wanted = f"a field in {self.path.name} that varies along every axis, with time and trajectory"
            raise ValueError(expected(wanted, [v.name for v in fields], "downloading it again"))
        scalars = [self._scalar(file, name) for name in _words(member(file, "scalars"), "field_names")]
        self.parameters = tuple(v for v in scalars if not v.in_time)
        self.signals = tuple(v for v in scalars if v.in_time)
        self.boundary = self._boundary(member(file, "boundary_conditions"), axes)
        sides = [_side(array(file, f"dimensions/{axis}")) for axis in axes]
        self.box = None if None in sides else tuple(side for side in sides if side is not None)

    def _times(self, times: Any) -> Tensor:
        """The time of each frame, ``(T,)``; checks that they ascend."""
        values = numbers_as_stored(times)
        if values.ndim != 1 or (np.diff(values) <= 0).any():
            got = f"unsorted ones, shape {values.shape}"
            raise ValueError(expected(f"ascending times in {self.path.name}", got, "downloading it again"))
        return torch.from_numpy(values.astype(np.float64))

    def _count(self, value: Any) -> int:
        if not isinstance(value, (int, np.integer)) or value < 1:
            wanted = f"n_trajectories >= 1 in {self.path.name}"
            raise ValueError(expected(wanted, repr(value), "downloading it again"))
        return int(value)

    def _fields(self, file: Any, axes: list[str], order: int) -> list[Variable]:
        found = []
        for name in _words(member(file, ORDERS[order]), "field_names"):
            path = f"{ORDERS[order]}/{name}"
            stored = array(file, path)
            tails = ["".join(tail) for tail in product(axes, repeat=order)]
            components = tuple(f"{name}_{tail}" if tail else str(name) for tail in tails)
            along = tuple(bool(varies) for varies in np.atleast_1d(stored.attrs["dim_varying"]))
            variable = Variable(path, components, *_varies(stored), along)
            lead, tail = self._lead(variable), (len(axes),) * order
            space = stored.shape[len(lead) : len(stored.shape) - order]
            held = tuple(n for n, varies in zip(self.grid, along, strict=False) if varies and n > 1)
            fits = len(along) == len(axes) and stored.shape == (*lead, *space, *tail)
            if not fits or held != tuple(n for n in space if n > 1):
                wanted = f"{path} in {self.path.name} of shape {(*lead, *held, *tail)}, by its attributes"
                raise ValueError(expected(wanted, stored.shape, "downloading it again"))
            found.append(variable)
        return found

    def _lead(self, variable: Variable) -> tuple[int, ...]:
        """The axes of an array before the spatial ones."""
        return (self.trajectories,) * variable.of_sample + (self.frames,) * variable.in_time

    def _scalar(self, file: Any, name: str) -> Variable:
        stored = array(file, f"scalars/{name}")
        variable = Variable(f"scalars/{name}", (name,), *_varies(stored))
        if stored.shape != self._lead(variable):
            wanted = f"scalars/{name} in {self.path.name} of shape {self._lead(variable)}"
            raise ValueError(expected(wanted, stored.shape, "downloading it again"))
        return variable

    def _boundary(self, group: Any, axes: list[str]) -> tuple[tuple[str, str], ...]:
        """Boundary conditions of each axis; open by default. An end is a wall only if all of it is."""
        ends = {axis: ["open", "open"] for axis in axes}
        for name in group:
            condition = member(group, name)
            kind = str(condition.attrs["bc_type"]).lower()
            check_choice(f"a boundary condition in {self.path.name}", kind, PADDING)
            mask, along = numbers(array(condition, "mask")) != 0, _words(condition, "associated_dims")
            if len(along) != mask.ndim or not ends.keys() >= set(along):
                wanted = f"axes of the mask {name} in {self.path.name}, {mask.ndim} of {axes}"
                raise ValueError(expected(wanted, along, "downloading it again"))
            for place, axis in enumerate(along):
                for end, cell in enumerate((0, -1)):
                    edge = mask.take(cell, axis=place)
                    if edge.all() if kind == "wall" else edge.any():
                        ends[axis][end] = kind
        return tuple((low, high) for low, high in ends.values())

    def _values(self, variable: Variable, trajectory: int, places: range) -> Any:
        index: tuple[int | slice, ...] = (trajectory,) if variable.of_sample else ()
        if variable.in_time:
            index += (slice(places.start, places.stop, places.step),)
        return numbers_as_stored(opened(self.path)[variable.path], index)

    def _field(self, variable: Variable, trajectory: int, places: range) -> Tensor:
        values = torch.from_numpy(self._values(variable, trajectory, places))
        times = len(places) if variable.in_time else 1
        sizes = [n if varies else 1 for n, varies in zip(self.grid, variable.along, strict=True)]
        values = values.reshape(times, *sizes, len(variable.components))
        return values.expand(times, *self.grid, -1).movedim(-1, 1)


def _side(places: Any) -> float | None:
    """n times the spacing of n coordinates; None if they are not evenly spaced.

    Only the first two and the last are read, since a damaged file may state any number of them.
    """
    count = places.shape[-1]
    if places.ndim != 1 or count < 2:
        return None
    (first, second), (last,) = (
        numbers_as_stored(places, place) for place in (slice(0, 2), slice(count - 1, count))
    )
    spacing = float(last - first) / (count - 1)
    if not (spacing > 0 and abs(float(second - first) / spacing - 1) < 0.01):
        return None
    return count * spacing


def _words(holder: Any, attribute: str) -> list[str]:
    """The strings in an attribute."""
    return [str(word) for word in np.atleast_1d(holder.attrs[attribute])]


def _varies(stored: Any) -> tuple[bool, bool]:
    """Whether an array varies between trajectories, and in time."""
    return bool(stored.attrs["sample_varying"]), bool(stored.attrs["time_varying"])
