"""Fields from files with two arrays, x and y."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from neuralop_irno.data.fields import FieldDataset, Splits
from neuralop_irno.data.finite import finite
from neuralop_irno.data.readers.arrays import read_arrays
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.registry import DATASETS


@DATASETS.register("files")
def files(train: str, valid: str, test: str | None = None, sphere: str | None = None) -> Splits:
    """Fields from ``.npz`` or ``.safetensors`` files with the arrays x and y.

    Args:
        train: path of the training set.
        valid: path of the validation set.
        test: path of the test set; by default the validation set.
        sphere: the grid of fields on a sphere, ``equiangular``, ``legendre-gauss`` or ``lobatto``, north pole
            first.
    """
    paths = {"train": train, "valid": valid, "test": test or valid}
    return {split: read_fields(path, sphere) for split, path in paths.items()}


def read_fields(path: str | os.PathLike[str], sphere: str | None = None) -> FieldDataset:
    """The arrays x and y of an ``.npz`` or ``.safetensors`` file; nothing is unpickled.

    Args:
        path: of the file.
        sphere: the grid of fields on a sphere; by default they are on a flat grid.
    """
    source = Path(path)
    arrays = read_arrays(source)
    x, y = _field(arrays, "x", source), _field(arrays, "y", source)
    extra = sorted(arrays.keys() - {"x", "y"})
    if extra:  # for example positions: then x is not a field on a grid
        hint = "a graph data set for fields on points, or a file of x and y"
        raise ValueError(expected(f"the arrays x and y alone in {source.name}", f"also {extra}", hint))
    known = None if sphere is None else Resolution(extent="fixed", sphere=sphere)
    return FieldDataset(x, y, (source,), resolution=known)


def _field(arrays: Mapping[str, Tensor], name: str, source: Path) -> Tensor:
    if name not in arrays:
        wanted = f"an array '{name}' in {source.name}"
        raise ValueError(expected(wanted, sorted(arrays), did_you_mean(name, arrays)))
    field = arrays[name]
    if field.is_complex() or field.dim() < 3 or not field.numel():
        got = f"{'complex' if field.is_complex() else 'real'} {tuple(field.shape)}"
        hint = "x[:, None], real and imaginary parts as channels"
        raise ValueError(expected(f"{name} in {source.name} as real (n, C, *S)", got, hint))
    found: Tensor = finite(field.float(), f"{name} in {source.name}")
    return found
