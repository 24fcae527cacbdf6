"""The Well (https://arxiv.org/abs/2412.00568): simulations in HDF5, read without the ``the_well`` package.

FOLDER/stats.yaml                   mean, std, rms of each field
FOLDER/data/{train,valid,test}/     files in the layout of `neuralop_irno.data.readers.well_file`
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.data.frames import Frames, FrameWindows
from neuralop_irno.data.readers.hdf5 import files_in
from neuralop_irno.data.readers.well_file import PADDING, Variable, WellFile
from neuralop_irno.data.scaling import Scaling
from neuralop_irno.data.splits import SPLITS
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.registry import DATASETS
from neuralop_irno.yaml_files import read_yaml

SCALINGS = ("zscore", "rms", "none")
SMALLEST = 1e-4
"""Lower bound on standard deviations, as in The Well."""


class Well(Frames):
    """The trajectories of one split, file by file.

    Args:
        folder: folder of the data set, with the subfolder ``data``.
        split: ``train``, ``valid`` or ``test``.
        scaling: ``zscore`` subtracts the mean and divides by the standard deviation in ``stats.yaml``,
            ``rms`` divides by the root mean square, ``none`` leaves fields unchanged.
        scalars: whether `known` also returns scalars, as constant channels: first those constant in time,
            then the others at the time of each frame of x. They are not scaled.
    """

    metric = "vrmse"

    def __init__(
        self,
        folder: str | os.PathLike[str],
        split: str = "train",
        scaling: str = "zscore",
        scalars: bool = False,
    ) -> None:
        if scaling not in SCALINGS:
            raise ValueError(expected("a scaling", repr(scaling), did_you_mean(str(scaling), SCALINGS)))
        self._parts = [WellFile(path) for path in files_in(Path(folder) / "data" / split)]
        self.scalars = scalars
        first = self._parts[0]
        for file in self._parts[1:]:
            for what in ("grid", "fields", "constant", "boundary"):
                ours, theirs = getattr(first, what), getattr(file, what)
                if ours != theirs:
                    wanted = f"{file.path.name} with the {what} of {first.path.name}, {ours}"
                    raise ValueError(expected(wanted, theirs, "one folder per data set"))
        self.fields = first.fields
        same_box = all(file.box == first.box for file in self._parts)
        self.resolution = Resolution(lengths=first.box if same_box else None, extent="fixed")
        self.padding = tuple(_padding(*ends) for ends in first.boundary)
        self.scaling, self._constant_scaling = (
            _scaling(Path(folder) / "stats.yaml", scaling, variables)
            for variables in (first.varying, first.constant)
        )
        self.lengths = [file.frames for file in self._parts for _ in range(file.trajectories)]
        statistics = [Path(folder) / "stats.yaml"] if scaling != "none" else []
        self.files = (*statistics, *(file.path for file in self._parts))
        self._first = [0, *accumulate(file.trajectories for file in self._parts)]

    def read(self, trajectory: int, places: range) -> Tensor:
        file, own = self._where(trajectory)
        return self.scaling.apply(file.frames_at(own, places)).float()

    def known(self, trajectory: int, places: range) -> Tensor | None:
        file, own = self._where(trajectory)
        channels = self._constant_scaling.apply(file.constants_of(own)[None])[0].float()
        if self.scalars:
            values = torch.cat([file.parameters_of(own), file.signals_at(own, places).flatten()])
            channels = torch.cat([channels, values.reshape(-1, *[1] * len(file.grid)).expand(-1, *file.grid)])
        return channels if len(channels) else None

    def times(self, trajectory: int) -> Tensor:
        return self._where(trajectory)[0].times

    def _where(self, trajectory: int) -> tuple[WellFile, int]:
        """The file of a trajectory, and its index in that file."""
        place = bisect_right(self._first, trajectory) - 1
        return self._parts[place], trajectory - self._first[place]


def _padding(low: str, high: str) -> str:
    return PADDING[low] if low == high else "replicate"


def _scaling(path: Path, kind: str, variables: Iterable[Variable]) -> Scaling:
    """The scaling of each channel, from the statistics of scalars, vectors and matrices."""
    channels = [component for variable in variables for component in variable.components]
    if kind == "none" or not channels:
        return Scaling.none(len(channels))
    if not path.is_file():
        wanted = f"statistics in {path.parent}"
        raise FileNotFoundError(expected(wanted, f"no {path.name}", "scaling: none"))
    known = read_yaml(path)

    def of(statistic: str) -> list[float]:
        return [value for variable in variables for value in _numbers(known, statistic, variable, path.name)]

    std = [max(value, SMALLEST) for value in of("std" if kind == "zscore" else "rms")]
    return Scaling(tuple(of("mean")) if kind == "zscore" else (0.0,) * len(std), tuple(std))


def _numbers(known: Any, statistic: str, variable: Variable, source: str) -> list[float]:
    try:
        values: list[float] = np.asarray(known[statistic][variable.name], dtype=float).ravel().tolist()
    except (KeyError, TypeError, ValueError):
        values = []
    if len(values) != len(variable.components):
        wanted = f"{statistic} of {variable.name} in {source}, {len(variable.components)} numbers"
        raise ValueError(expected(wanted, values or "none", "scaling: none"))
    return values


@DATASETS.register("the_well")
def the_well(
    folder: str,
    inputs: int = 4,
    outputs: int = 1,
    stride: int = 1,
    step: int = 1,
    scaling: str = "zscore",
    scalars: bool = False,
) -> dict[str, FrameWindows]:
    """A data set of The Well: x holds some frames, y the next ones.

    Args:
        folder: folder of the data set, with stats.yaml and data.
        inputs: frames in x.
        outputs: frames in y.
        stride: frames between the starts of two windows.
        step: stored frames from one frame of a window to the next.
        scaling: zscore, rms or none.
        scalars: whether x also holds the scalars, as constant channels.
    """
    return {
        split: FrameWindows(Well(folder, split, scaling, scalars), inputs, outputs, stride, step)
        for split in SPLITS
    }
