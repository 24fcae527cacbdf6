"""Files of latitude-longitude data, whose config or store says that they are on a sphere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layouts import numbers, write_zarr
from torch.utils.data import default_collate

import neuralop_irno as irno
from neuralop_irno.domain.graph import domain_of


def in_arrays(folder: Path, grid: str) -> dict[str, Any]:
    np.savez(folder / "a.npz", x=numbers(3, 1, 6, 12), y=numbers(3, 2, 6, 12))
    return {"name": "files", "train": str(folder / "a.npz"), "valid": str(folder / "a.npz"), "sphere": grid}


def in_config(folder: Path, grid: str) -> dict[str, Any]:
    path = write_zarr(folder, numbers(4, 5, 2, 6, 12))
    return {"name": "zarr", "path": path, "trajectories": [2, 1, 1], "sphere": grid}


def in_store(folder: Path, grid: str) -> dict[str, Any]:
    path = write_zarr(folder, numbers(4, 5, 2, 6, 12), sphere=grid)
    return {"name": "zarr", "path": path, "trajectories": [2, 1, 1]}


@pytest.mark.parametrize("write", [in_arrays, in_config, in_store])
@pytest.mark.parametrize("grid", ["equiangular", "legendre-gauss"])
def test_samples_are_on_the_stated_sphere_and_padded_across_its_poles(grid, write, tmp_path):
    data = irno.load_splits(write(tmp_path, grid))["train"]
    batch = default_collate([data[0], data[1]])
    domain = domain_of(batch.pop("y"), batch)
    assert isinstance(domain, irno.SphereDomain)
    assert domain.grid == data.resolution.sphere == grid
    assert data.padding == ("poles" if grid == "equiangular" else "between_poles", "circular")


@pytest.mark.parametrize("write", [in_arrays, in_config])
def test_a_grid_that_is_none_teaches(write, tmp_path):
    with pytest.raises(ValueError, match=r"^expected sphere of a resolution, got 'gauss'; try"):
        irno.load_splits(write(tmp_path, "gauss"))
