"""The two layouts of RIGNO's files, behind one interface.

    points   u (samples, T, N, V),  x (1 or samples, 1, N, d),  and maybe c (samples, 1 or T, N, C)
    grid     velocity, data or solution (samples, T, V, H, W),  and maybe c or source (samples, H, W)

A single variable on a grid has no axis V, and time-independent data have no axis T.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.data.readers.hdf5 import array, numbers
from neuralop_irno.data.readers.published import Facts
from neuralop_irno.errors import expected

GRID_NAMES = ("velocity", "data", "solution")


class Layout(Protocol):
    """Base class: reads arrays from an open file; only the returned part is loaded.

    Attributes:
        samples: number of samples.
        frames: number of frames of each.
        fixed: whether all samples are on the same points.
    """

    samples: int
    frames: int
    fixed: bool

    def fields(self, file: Any, sample: int, places: slice) -> Tensor:
        """Some frames of a sample, ``(T, N, V)``."""

    def coefficients(self, file: Any, sample: int, place: int) -> Tensor | None:
        """The coefficients of a sample, ``(N, C)``; None if there are none."""

    def points(self, file: Any, sample: int) -> Tensor:
        """The points of a sample, ``(N, d)``."""


def layout_of(file: Any, facts: Facts, name: str) -> Layout:
    """The layout of a file, recognised by the names of its arrays."""
    if "u" in file and "x" in file:
        return PointLayout(file, facts, name)
    for grid in GRID_NAMES:
        if grid in file:
            return GridLayout(file, grid, facts, name)
    wanted = f"u and x, or one of {', '.join(GRID_NAMES)}, in {name}"
    raise ValueError(expected(wanted, sorted(file), "a file published with RIGNO"))


class PointLayout(Layout):
    """Fields on points, shared by all samples or one set per sample."""

    def __init__(self, file: Any, facts: Facts, name: str) -> None:
        u, x = array(file, "u").shape, array(file, "x").shape
        self.variables = len(facts.groups)
        if len(u) != 4 or u[3] < self.variables:
            wanted = f"u (samples, T, N, {self.variables} or more) in {name}"
            raise ValueError(expected(wanted, u, "facts=Facts(...) of this set"))
        self.samples, self.frames, count = u[:3]
        dim = len(facts.low)
        self.fixed = x[0] == 1
        if x not in ((1, 1, count, dim), (self.samples, 1, count, dim)):
            wanted = f"x (1 or {self.samples}, 1, {count}, {dim}) in {name}"
            raise ValueError(expected(wanted, x, "facts=Facts(...) of this set"))
        self.known = "c" in file
        if self.known:
            c = array(file, "c").shape
            if len(c) != 4 or c[0] != self.samples or c[1] not in (1, self.frames) or c[2] != count:
                wanted = f"c ({self.samples}, 1 or {self.frames}, {count}, C) in {name}"
                raise ValueError(expected(wanted, c, "removing c from the file"))

    def fields(self, file: Any, sample: int, places: slice) -> Tensor:
        return _tensor(file["u"], (sample, places, slice(None), slice(self.variables)))

    def coefficients(self, file: Any, sample: int, place: int) -> Tensor | None:
        if not self.known:
            return None
        c = file["c"]
        return _tensor(c, (sample, min(place, c.shape[1] - 1)))

    def points(self, file: Any, sample: int) -> Tensor:
        return _tensor(file["x"], (0 if self.fixed else sample, 0))


class GridLayout(Layout):
    """Fields on a grid, flattened row by row: x runs along the last axis, y along the one before."""

    fixed = True

    def __init__(self, file: Any, grid: str, facts: Facts, name: str) -> None:
        shape = array(file, grid).shape
        self.grid, self.facts, self.variables = grid, facts, len(facts.groups)
        self.in_time = facts.span is not None
        self.many = len(shape) == 4 + self.in_time
        axes = ["samples", *["T"] * self.in_time, *["V"] * self.many, "H", "W"]
        if len(shape) != len(axes) or self.variables > (shape[-3] if self.many else 1):
            several = f"{self.variables} variables or more, {'' if self.in_time else 'no '}time"
            wanted = f"{grid} (samples, [T,] [V,] H, W) with {several} in {name}"
            raise ValueError(expected(wanted, shape, "facts=Facts(...) of this set"))
        self.samples, self.frames = shape[0], shape[1] if self.in_time else 1
        self.height, self.width = shape[-2:]
        self.known = next((known for known in ("c", "source") if known in file), None)
        if self.known and array(file, self.known).shape != (shape[0], *shape[-2:]):
            wanted = f"{self.known} {(shape[0], *shape[-2:])} in {name}"
            raise ValueError(expected(wanted, file[self.known].shape, f"removing {self.known}"))

    def fields(self, file: Any, sample: int, places: slice) -> Tensor:
        place = [sample, *[places] * self.in_time, *[slice(self.variables)] * self.many]
        values = _tensor(file[self.grid], tuple(place))
        return values.reshape(-1, self.variables, self.height * self.width).transpose(1, 2).contiguous()

    def coefficients(self, file: Any, sample: int, place: int) -> Tensor | None:
        return None if self.known is None else _tensor(file[self.known], sample).reshape(-1, 1)

    def points(self, file: Any, sample: int) -> Tensor:
        # On a periodic side the last point lies one step before the end.
        x, y = (
            np.linspace(low, high, count, endpoint=not self.facts.periodic)
            for low, high, count in zip(
                self.facts.low, self.facts.high, (self.width, self.height), strict=True
            )
        )
        return torch.from_numpy(np.stack(np.meshgrid(x, y), -1)).float().reshape(-1, 2)


def _tensor(stored: Any, place: Any) -> Tensor:
    return torch.from_numpy(numbers(stored, place))
