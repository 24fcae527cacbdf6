"""SuperBench (https://arxiv.org/abs/2306.14070): weather fields at two resolutions, for super-resolution.

    FOLDER/{train,valid_1,valid_2,test_1,test_2}/*.h5      array "fields", (N, C, H, W), a year each

Folders ending in 1 hold years between the training years, those ending in 2 later years. The constants below
are those of ERA5; for other data sets of this layout, pass ``mean``, ``std`` and ``fields``.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from neuralop_irno.data.frames import GridPairs
from neuralop_irno.data.patches import Crops, Tiles, View, Whole
from neuralop_irno.data.readers.hdf5 import array, files_in, numbers_as_stored, opened
from neuralop_irno.data.scaling import Scaling
from neuralop_irno.data.sizes import real, seed_of, whole
from neuralop_irno.domain.grid import latitude_weights
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.registry import DATASETS

ERA5_FIELDS = ("kinetic_energy_10m", "temperature_2m", "column_water_vapour")
ERA5 = Scaling((6.3024, 278.3945, 18.4262), (3.7376, 21.0588, 16.4687))
LOW = ("bicubic", "uniform", "noisy_uniform")


def coarse(field: Tensor, factor: int, low: str = "bicubic") -> Tensor:
    """Coarsen a field by a factor.

    Args:
        field: ``(C, H, W)``.
        factor: how many times fewer points per side.
        low: ``bicubic`` with antialiasing, or ``uniform``, every ``factor``-th point.

    Example:
        >>> coarse(torch.arange(6.0).expand(1, 6, 6), 3, "uniform").tolist()
        [[[0.0, 3.0], [0.0, 3.0]]]
    """
    if low != "bicubic":
        return field[..., ::factor, ::factor]
    size = [n // factor for n in field.shape[-2:]]
    return F.interpolate(field[None], size, mode="bicubic", align_corners=False, antialias=True)[0]


def fine(field: Tensor, factor: int) -> Tensor:
    """Bicubic interpolation of a coarse field to the fine grid, the baseline of super-resolution.

    Shapes:
        - field: ``(C, H, W)``; returns: ``(C, factor * H, factor * W)``
    """
    size = [n * factor for n in field.shape[-2:]]
    return F.interpolate(field[None], size, mode="bicubic", align_corners=False)[0]


class SuperBench(GridPairs):
    """Pairs of coarse fields x and fine fields y, both normalised.

    Rows and columns that exceed a multiple of the factor are cut off at the end: of ERA5's 721 rows the last,
    at the south pole. Only the requested patch is read.

    Args:
        folder: folder of the data set.
        parts: names of the subfolders to join, such as ``("valid_1", "valid_2")``.
        factor: how many times coarser x is.
        low: ``bicubic``, ``uniform``, or ``noisy_uniform``.
        noise: with ``noisy_uniform``, noise level in units of each field's standard deviation.
        view: which patches of the fields; by default whole fields.
        upsample: whether x is interpolated (bicubic) to the grid of y, as a correction on that grid requires.
            Set False for networks that upsample themselves.
        scaling: normalisation; by default that of ERA5.
        fields: names of the channels; by default those of ERA5.
        seed: seed of the noise.
        by_area: whether samples have the ``measure`` of their rows, the cosine of the latitude, with which
            means, norms and losses are weighted by area. Rows go evenly from pole to pole.

    Attributes:
        grid: points along the two axes of a whole field.
    """

    metric = "rfne"

    def __init__(
        self,
        folder: str | os.PathLike[str],
        parts: Sequence[str] = ("train",),
        factor: int = 8,
        low: str = "bicubic",
        noise: float = 0.0,
        view: View | None = None,
        upsample: bool = True,
        scaling: Scaling = ERA5,
        fields: Sequence[str] = ERA5_FIELDS,
        seed: int = 0,
        by_area: bool = False,
    ) -> None:
        if low not in LOW:
            raise ValueError(expected("a kind of coarse field", repr(low), did_you_mean(str(low), LOW)))
        if (noise > 0) != (low == "noisy_uniform"):
            got = f"noise={noise} for low='{low}'"
            raise ValueError(expected("noise > 0 just for noisy_uniform", got, "noise=0.05"))
        if factor < 1:
            raise ValueError(expected("factor >= 1", factor, "factor=8"))
        self.factor, self.low, self.noise, self.upsample, self.seed = factor, low, noise, upsample, seed
        self.scaling, self.fields, self.view = scaling, tuple(fields), view or Whole()
        self.files = tuple(path for part in parts for path in files_in(Path(folder) / part))
        shapes = [self._shape(path) for path in self.files]
        self._first = [0, *accumulate(count for count, _ in shapes)]
        if len({grid for _, grid in shapes}) > 1:
            found = sorted({grid for _, grid in shapes})
            raise ValueError(expected("fields on one grid", found, "one folder per data set"))
        height, width = shapes[0][1]
        self._rows = latitude_weights(torch.linspace(90, -90, height)) if by_area else None
        self.grid = (height - height % factor, width - width % factor)
        patch = self.view.shape(self.grid)
        if any(n % factor for n in patch):
            raise ValueError(expected(f"patches that {factor} divides", patch, f"size={8 * factor}"))
        # A global field is periodic in longitude, a patch is not.
        # Crops and whole fields have the same spacing.
        self.resolution = Resolution(extent="grows")
        self.padding = ("replicate", "circular" if self.view == Whole() else "replicate")

    def __len__(self) -> int:
        return self._first[-1] * self.view.count(self.grid)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        index = range(len(self))[index]
        field, place = divmod(index, self.view.count(self.grid))
        y = self.scaling.apply(self._read(field, place)[None])[0].float()
        x = coarse(y, self.factor, self.low)
        if self.noise:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
            x = x + self.noise * torch.randn(x.shape, generator=generator)
        sample = {"x": fine(x, self.factor) if self.upsample else x.contiguous(), "y": y}
        if self._rows is not None:
            row, _ = self.view.corner(self.grid, field, place)
            sample["measure"] = self._rows[row : row + y.shape[1]]
        return sample

    def _read(self, field: int, place: int) -> Tensor:
        number = bisect_right(self._first, field) - 1
        row, column = self.view.corner(self.grid, field, place)
        height, width = self.view.shape(self.grid)
        square = (slice(row, row + height), slice(column, column + width))
        stored = opened(self.files[number])["fields"]
        return torch.from_numpy(
            numbers_as_stored(stored, (field - self._first[number], slice(None), *square))
        )

    def _shape(self, path: Path) -> tuple[int, tuple[int, int]]:
        shape = array(opened(path), "fields").shape
        if len(shape) != 4 or shape[1] != len(self.fields):
            wanted = f"an array 'fields' (N, {len(self.fields)}, H, W) in {path.name}"
            raise ValueError(expected(wanted, shape, "fields=[...] with a name for each channel"))
        return shape[0], (shape[2], shape[3])


@DATASETS.register("superbench")
def superbench(
    folder: str,
    factor: int = 8,
    low: str = "bicubic",
    noise: float = 0.0,
    crop: int = 128,
    crops: int = 8,
    test: str = "test_1",
    tiles: bool = False,
    upsample: bool = True,
    mean: Sequence[float] = ERA5.mean,
    std: Sequence[float] = ERA5.std,
    fields: Sequence[str] = ERA5_FIELDS,
    seed: int = 0,
    by_area: bool = False,
) -> dict[str, SuperBench]:
    """Super-resolution of weather fields: training on crops, test on whole fields.

    Args:
        folder: the folder with train, valid_1, valid_2, test_1 and test_2.
        factor: how many times coarser x is.
        low: bicubic, uniform or noisy_uniform.
        noise: with noisy_uniform, noise level in units of each field's standard deviation.
        crop: points per side of a training crop.
        crops: crops per field.
        test: the test folder; test_1 holds years between the training years, test_2 later years.
        tiles: whether to test on adjacent squares of the size of the crops instead of whole fields.
        upsample: whether x is interpolated to the grid of y.
        mean: mean of each field; by default that of ERA5.
        std: standard deviation of each field; by default that of ERA5.
        fields: names of the fields.
        seed: seed of crops and noise.
        by_area: whether means, norms and losses are weighted by the cosine of the latitude.
    """
    whole("crops", crops), seed_of(seed), whole("factor", factor), real("noise", noise, zero=True)
    scaling = Scaling(tuple(mean), tuple(std))
    views: dict[str, tuple[tuple[str, ...], View]] = {
        "train": (("train",), Crops(crop, crops, seed)),
        "valid": (("valid_1", "valid_2"), Crops(crop, crops, seed)),
        "test": ((test,), Tiles(crop) if tiles else Whole()),
    }
    return {
        split: SuperBench(folder, parts, factor, low, noise, view, upsample, scaling, fields, seed, by_area)
        for split, (parts, view) in views.items()
    }
