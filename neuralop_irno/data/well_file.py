"""The layout of The Well's files, https://github.com/PolymathicAI/the_well: what is where in one of them.

    attributes                  dataset_name, n_trajectories, and others that are not needed
    dimensions                  attribute spatial_dims, the names of the axes; arrays time and one each
    boundary_conditions/NAME    attributes bc_type (PERIODIC, OPEN, WALL) and associated_dims; array mask
    scalars/NAME                [B,] [T]
    t0_fields/NAME              numbers, t1_fields vectors, t2_fields matrices: [B,] [T,] *S [, D [, D]]

Arrays say by attributes along which of these axes they vary; those along which they do not are left out,
or are of length 1 in space. A field that does not vary in time is a constant one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.data.hdf5 import opened
from neuralop_irno.errors import did_you_mean, expected

ORDERS = ("t0_fields", "t1_fields", "t2_fields")
PADDING = {"periodic": "circular", "open": "replicate", "wall": "zero"}
"""What a boundary is to a correction. Where the two ends of an axis differ, it takes ``replicate``."""


@dataclass(frozen=True)
class Variable:
    """An array of a file.

    Attributes:
        path: where it is in the file.
        components: the names of its components; more than one for vectors and matrices.
        of_sample: whether each trajectory has its own.
        in_time: whether it changes with time.
        along: for each axis of space, whether it varies along it.
    """

    path: str
    components: tuple[str, ...]
    of_sample: bool
    in_time: bool
    along: tuple[bool, ...] = ()

    @property
    def name(self) -> str:
        """As the statistics call it."""
        return self.path.rpartition("/")[2]


class WellFile:
    """One file. Nothing is read but what is asked for, and the file stays open (see `hdf5`).

    Args:
        path: of the file.

    Attributes:
        name: of the data set that the file belongs to.
        grid: points along each axis.
        trajectories: how many there are.
        frames: how many of each.
        varying: the fields that change with time, in the order of the channels.
        constant: those that do not.
        parameters: the scalars that do not change with time.
        signals: those that do.
        boundary: what is at the low and the high end of each axis: periodic, open or wall.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        file = opened(self.path)
        try:
            self._describe(file)
        except (KeyError, AttributeError) as error:
            problem = str(error).strip("'\"")
            raise ValueError(
                expected(f"the layout of The Well in {self.path.name}", problem, "docs/data.md")
            ) from error

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the channels of a frame."""
        return tuple(name for variable in self.varying for name in variable.components)

    def frames_at(self, trajectory: int, places: range) -> Tensor:
        """Some frames of a trajectory, ``(T, C, *S)``."""
        return torch.cat([self._field(v, trajectory, places) for v in self.varying], 1)

    def constants_of(self, trajectory: int) -> Tensor:
        """The constant fields of a trajectory, ``(C, *S)``."""
        none = torch.zeros(0, *self.grid)
        return torch.cat([none, *(self._field(v, trajectory, range(1))[0] for v in self.constant)])

    def parameters_of(self, trajectory: int) -> Tensor:
        """The scalars that do not change, ``(P,)``."""
        return torch.tensor([float(self._values(v, trajectory, range(1))) for v in self.parameters])

    def signals_at(self, trajectory: int, places: range) -> Tensor:
        """The scalars that change, ``(T, P)``."""
        none = torch.zeros(len(places), 0)
        columns = [torch.from_numpy(self._values(v, trajectory, places))[:, None] for v in self.signals]
        return torch.cat([none, *columns], 1)

    def _describe(self, file: Any) -> None:
        self.name = str(file.attrs["dataset_name"])
        self.trajectories = int(file.attrs["n_trajectories"])
        axes = [str(axis) for axis in file["dimensions"].attrs["spatial_dims"]]
        self.grid = tuple(int(file["dimensions"][axis].shape[-1]) for axis in axes)
        self.frames = int(file["dimensions"]["time"].shape[-1])
        fields = [v for order, group in enumerate(ORDERS) for v in self._fields(file[group], axes, order)]
        self.varying = tuple(v for v in fields if v.in_time)
        self.constant = tuple(v for v in fields if not v.in_time)
        scalars = [self._scalar(file["scalars"], name) for name in file["scalars"].attrs["field_names"]]
        self.parameters = tuple(v for v in scalars if not v.in_time)
        self.signals = tuple(v for v in scalars if v.in_time)
        self.boundary = self._boundary(file["boundary_conditions"], axes)

    def _fields(self, group: Any, axes: list[str], order: int) -> list[Variable]:
        found = []
        for name in group.attrs["field_names"]:
            array, path = group[name], f"{group.name}/{name}"
            tails = ["".join(tail) for tail in product(axes, repeat=order)]
            components = tuple(f"{name}_{tail}" if tail else str(name) for tail in tails)
            along = tuple(bool(varies) for varies in array.attrs["dim_varying"])
            sample, time = bool(array.attrs["sample_varying"]), bool(array.attrs["time_varying"])
            shape = [n for n, varies in zip(self.grid, along, strict=True) if varies]
            size = prod([self.trajectories] * sample + [self.frames] * time + shape) * len(tails)
            if array.size != size:
                wanted = f"{path} in {self.path.name} with {size} numbers, as its attributes say"
                raise ValueError(expected(wanted, array.shape, "downloading it again"))
            found.append(Variable(path, components, sample, time, along))
        return found

    def _scalar(self, group: Any, name: str) -> Variable:
        attrs = group[name].attrs
        return Variable(f"{group.name}/{name}", (name,), attrs["sample_varying"], attrs["time_varying"])

    def _boundary(self, group: Any, axes: list[str]) -> tuple[tuple[str, str], ...]:
        """Open, unless a condition says otherwise; a wall has to be one all along."""
        ends = {axis: ["open", "open"] for axis in axes}
        for condition in group.values():
            kind = str(condition.attrs["bc_type"]).lower()
            if kind not in PADDING:
                wanted = f"a boundary condition in {self.path.name}"
                raise ValueError(expected(wanted, repr(kind), did_you_mean(kind, PADDING)))
            mask = np.asarray(condition["mask"])
            for place, axis in enumerate(condition.attrs["associated_dims"]):
                for end, cell in enumerate((0, -1)):
                    edge = mask.take(cell, axis=place)
                    if edge.all() if kind == "wall" else edge.any():
                        ends[str(axis)][end] = kind
        return tuple((low, high) for low, high in ends.values())

    def _values(self, variable: Variable, trajectory: int, places: range) -> Any:
        index: tuple[int | slice, ...] = (trajectory,) if variable.of_sample else ()
        if variable.in_time:
            index += (slice(places.start, places.stop, places.step),)
        return np.asarray(opened(self.path)[variable.path][index], dtype=np.float32)

    def _field(self, variable: Variable, trajectory: int, places: range) -> Tensor:
        values = torch.from_numpy(self._values(variable, trajectory, places))
        times = len(places) if variable.in_time else 1
        sizes = [n if varies else 1 for n, varies in zip(self.grid, variable.along, strict=True)]
        values = values.reshape(times, *sizes, len(variable.components))
        return values.expand(times, *self.grid, -1).movedim(-1, 1)
