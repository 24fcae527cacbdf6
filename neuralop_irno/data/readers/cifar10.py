"""CIFAR-10 with black pixels, from the files of its version for Python, which are pickles."""

from __future__ import annotations

from pathlib import Path

import torch

from neuralop_irno.data.masked import MaskedImages
from neuralop_irno.data.readers.pickled import read_entry
from neuralop_irno.errors import expected
from neuralop_irno.registry import DATASETS

FOLDER = "cifar-10-batches-py"

BATCHES = {
    "train": tuple(f"data_batch_{number}" for number in range(1, 5)),
    "valid": ("data_batch_5",),
    "test": ("test_batch",),
}

SHAPE = (3, 32, 32)


@DATASETS.register("masked_cifar10")
def masked_cifar10(folder: str, share: float = 0.75, cell: int = 1, seed: int = 0) -> dict[str, MaskedImages]:
    """Images of CIFAR-10, y, and x, the same with black cells, from files that were downloaded before.

    ``torchvision.datasets.CIFAR10(folder, download=True)`` downloads them. The files are pickles; only
    numbers are read, and no code in them runs. The fifth batch is for validation.

    Args:
        folder: the files are in ``folder/cifar-10-batches-py``.
        share: the part of the cells that is black.
        cell: points of a side of a cell.
        seed: seed of the cells.
    """
    place = Path(folder) / FOLDER
    paths = {split: tuple(place / name for name in names) for split, names in BATCHES.items()}
    missing = [path.name for each in paths.values() for path in each if not path.is_file()]
    if missing:
        hint = f"torchvision.datasets.CIFAR10({folder!r}, download=True), which downloads them"
        got = f"none for {', '.join(missing)}"
        raise FileNotFoundError(expected(f"the files data_batch_1 .. 5 and test_batch in {place}", got, hint))
    return {
        split: MaskedImages(torch.cat([_images(path) for path in each]), share, cell, seed + number, each)
        for number, (split, each) in enumerate(paths.items())
    }


def _images(path: Path) -> torch.Tensor:
    rows = read_entry(path, "data")
    if rows.ndim != 2 or rows.shape[1] != 3 * 32 * 32 or rows.dtype != "uint8" or not len(rows):
        got = f"{rows.dtype} {rows.shape}"
        raise ValueError(
            expected(f"images as rows of 3072 bytes in {path.name}", got, "downloading it again")
        )
    return torch.from_numpy(rows.copy()).reshape(-1, *SHAPE)
