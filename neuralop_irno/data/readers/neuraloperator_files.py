"""The data sets of neuraloperator's ``PTDataset``: PROBLEM_train_16.pt and PROBLEM_test_16.pt.

Each file holds two arrays, x and y, (n, *S) without an axis of channels. They are memory-mapped, and loaded
with ``weights_only``, so that no code in them runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from neuralop_irno.data.finite import finite, spelled
from neuralop_irno.data.frames import GridPairs
from neuralop_irno.data.scaling import Scaling
from neuralop_irno.data.sizes import three
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.registry import DATASETS

CHUNK = 256
"""Samples in memory at a time while the mean is computed."""


@dataclass(frozen=True)
class PublishedSet:
    """Metadata of a data set.

    Attributes:
        prefix: prefix of its file names.
        field: name of the field in y.
        padding: padding mode of each axis of y.
        scaled: whether x is normalised too; not for material indicators.
        layout: where the points of each axis are; coarse files hold every n-th point of fine ones.
    """

    prefix: str
    field: str
    padding: tuple[str, ...]
    scaled: bool = False
    layout: tuple[str, ...] | None = None


PROBLEMS = {
    "darcy": PublishedSet("darcy", "pressure", ("zero", "zero"), layout=("left", "left")),
    "navier_stokes": PublishedSet("nsforcing", "vorticity", ("circular", "circular")),
    "burgers": PublishedSet("burgers", "velocity", ("replicate", "circular"), scaled=True),
}
"""For Burgers, y has time as its first axis."""


class TensorFile(GridPairs):
    """Some samples of a file, scaled.

    If y has more axes than x (time for Burgers), x is repeated along them.

    Args:
        path: the file.
        problem: its metadata.
        samples: indices of the samples in the file; by default all.
        scaling: scalings of x and y; by default computed from these samples.

    Attributes:
        x_scaling: from the units of the file to those of x.
    """

    metric = "relative_l2"

    def __init__(
        self,
        path: str | os.PathLike[str],
        problem: PublishedSet,
        samples: range | None = None,
        scaling: tuple[Scaling, Scaling] | None = None,
    ) -> None:
        self.path, self.problem, self.files = str(path), problem, (Path(path),)
        x, y = self._arrays()
        if len(x) != len(y) or y.dim() != 1 + len(problem.padding) or x.shape[1:] != y.shape[-x.dim() + 1 :]:
            wanted = f"x and y of one grid with {len(problem.padding)} axes in {Path(path).name}"
            got = f"x {tuple(x.shape)}, y {tuple(y.shape)}"
            raise ValueError(expected(wanted, got, "arrays (n, *S) without channels"))
        self.samples = range(len(y)) if samples is None else samples
        if not self.samples or self.samples[0] < 0 or self.samples[-1] >= len(y):
            raise ValueError(expected(f"samples from 0 to {len(y) - 1}", self.samples, f"range({len(y)})"))
        self.fields, self.padding = (problem.field,), problem.padding
        self.resolution = Resolution(extent="fixed", pair="points", layout=problem.layout)
        if scaling is None:
            scaling = (self._measure(x, "x") if problem.scaled else Scaling.none(1), self._measure(y, "y"))
        self.x_scaling, self.scaling = scaling

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        place = self.samples[index]
        x, y = (
            finite(array[place].float(), f"{name}[{place}] in {Path(self.path).name}")[None, None]
            for name, array in zip("xy", self._arrays(), strict=True)
        )
        x, y = self.x_scaling.apply(x)[0], self.scaling.apply(y)[0]
        along = [1] * (y.dim() - x.dim())
        return {"x": x.reshape(1, *along, *x.shape[1:]).expand_as(y).contiguous(), "y": y}

    def _arrays(self) -> tuple[Tensor, Tensor]:
        return _mapped(self.path, os.getpid())

    def _measure(self, array: Tensor, name: str) -> Scaling:
        """Mean and standard deviation of the samples, computed chunk by chunk."""
        mean, squares, count = 0.0, 0.0, 0
        for start in range(0, len(self.samples), CHUNK):
            part = self.samples[start : start + CHUNK]
            places = slice(part.start, part.stop, part.step)
            chunk = finite(array[places], f"{name}{spelled(places)} in {Path(self.path).name}").double()
            own, size = float(chunk.mean()), chunk.numel()
            squares += float((chunk - own).square().sum()) + (own - mean) ** 2 * count * size / (count + size)
            mean, count = mean + (own - mean) * size / (count + size), count + size
        return Scaling((mean,), ((squares / (count - 1)) ** 0.5,))


@lru_cache(maxsize=128)
def _mapped(path: str, process: int) -> tuple[Tensor, Tensor]:
    """x and y of a file, memory-mapped once per process."""
    source = Path(path)
    if not source.is_file():
        hint = "neuraloperator's own loader, which downloads it"
        raise FileNotFoundError(expected("a data file", f"no file at {source}", hint))
    try:
        content = torch.load(source, weights_only=True, mmap=True, map_location="cpu")
    except Exception as error:  # torch raises various types on damaged files
        problem = " ".join(str(error).partition("\n")[0].split()) or type(error).__name__
        hint = "torch.save({'x': x, 'y': y}, path)"
        raise ValueError(expected(f"arrays of numbers in {source.name}", problem, hint)) from error
    if not isinstance(content, Mapping) or not all(isinstance(content.get(k), Tensor) for k in ("x", "y")):
        got = sorted(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(
            expected(f"arrays x and y in {source.name}", got, "torch.save({'x': x, 'y': y}, path)")
        )
    for name in ("x", "y"):
        fault = _problem(content[name], source.stat().st_size)
        if fault:
            raise ValueError(
                expected(f"{name} in {source.name} as real numbers", fault, "downloading it again")
            )
    return content["x"], content["y"]


def _problem(array: Tensor, size: int) -> str | None:
    """Why a tensor is not a plain real array stored in a file of ``size`` bytes; None if it is."""
    if type(array) is not Tensor or array.layout != torch.strided or array.device.type != "cpu":
        return f"a tensor of {array.layout} on {array.device}"
    if array.is_quantized or array.is_complex():
        return f"{array.dtype}"
    if not array.numel() or array.numel() * array.element_size() > size:  # repeated by strides of 0
        return f"shape {tuple(array.shape)} in {size} bytes"
    return None


@DATASETS.register("neuraloperator_file")
def neuraloperator_file(
    folder: str, problem: str, resolution: int, samples: Sequence[int], test_resolution: int | None = None
) -> dict[str, TensorFile]:
    """One of neuraloperator's data sets, from files that were downloaded before.

    Training takes the first samples of the training file, validation the next, and test the first of the
    test file. All are normalised by the training samples.

    Args:
        folder: the folder of the files.
        problem: darcy, navier_stokes or burgers.
        resolution: points per side, as in the file names.
        samples: numbers of training, validation and test samples.
        test_resolution: resolution of the test file; by default that of training.
    """
    if problem not in PROBLEMS:
        raise ValueError(
            expected("one of neuraloperator's sets", repr(problem), did_you_mean(problem, PROBLEMS))
        )
    facts = PROBLEMS[problem]
    train, valid, test = three("samples", samples, (800, 200, 50))
    learnt = Path(folder) / f"{facts.prefix}_train_{resolution}.pt"
    tested = Path(folder) / f"{facts.prefix}_test_{test_resolution or resolution}.pt"
    first = TensorFile(learnt, facts, range(train))
    scaling = (first.x_scaling, first.scaling)
    return {
        "train": first,
        "valid": TensorFile(learnt, facts, range(train, train + valid), scaling),
        "test": TensorFile(tested, facts, range(test), scaling),
    }
