"""Batches that worker processes load: the same ones in the same order, also after a resumption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import joint_runs
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from neuralop_irno import Recipe, Trainer
from neuralop_irno.data.splits import load_splits


class Noisy(Dataset[dict[str, Tensor]]):
    """Samples with noise from torch's generator."""

    def __len__(self) -> int:
        return 9

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        x = torch.full((1, 8), float(index)) + 0.1 * torch.randn(1, 8)
        return {"x": x, "y": x.roll(1, -1)}


def trained(data: Any, folder: Path | None = None, at: int = -1, **words: Any) -> Any:
    """The weights after some updates; None if the training is cut at one."""
    model = joint_runs.periodic()
    joint_runs.Cut.at = at
    recipe = Recipe(epochs=3, batch_size=4, precision="float32", save_every=1, cache_base=False, **words)
    try:
        Trainer(model, recipe, joint_runs.Cut(), folder, show=False).fit(data, resume=folder is not None)
    except KeyboardInterrupt:
        return None
    return joint_runs.weights(model)


def test_workers_read_hdf5_in_the_same_order(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((9, 1, 8)).astype(np.float32)
    with h5py.File(tmp_path / "train.h5", "w") as file:
        file["x"], file["y"] = x, np.roll(x, 1, -1)
    pattern = str(tmp_path / "train.h5")
    data = load_splits({"name": "files", "train": pattern, "valid": pattern})["train"]
    data[0]  # opened in this process already
    assert trained(data) == trained(data, workers=2)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_draws_what_it_would_have_drawn(tmp_path: Path, workers: int) -> None:
    whole = trained(Noisy(), workers=workers)
    assert trained(Noisy(), tmp_path, 4, workers=workers) is None
    assert trained(Noisy(), tmp_path, workers=workers) == whole
