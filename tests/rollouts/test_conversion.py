"""Rollout files written in other forms: the same frames, mesh, names and times."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cases import START, point_model
from format2 import Format2
from mesh_cases import Spreading, meshes

from neuralop_irno import convert_rollout, open_rollout, rollout
from neuralop_irno.rollouts import HDF5, PVD, VTKHDF, Clock, Zarr
from neuralop_irno.rollouts.files import check_file

KINDS: dict[str, Any] = {"h5": HDF5, "zarr": Zarr, "vtkhdf": VTKHDF, "pvd": PVD}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("old", KINDS)
@pytest.mark.parametrize("new", KINDS)
def test_every_kind_becomes_every_other(old: str, new: str, moving: bool, tmp_path: Path) -> None:
    graph, clock = meshes(), Clock(step=0.5)
    options: dict[str, Any] = {"move": lambda index, frame: graph.pos + index} if moving else {}
    file = KINDS[old](tmp_path / f"old.{old}", fields=["u", "v"], units={"u": "m", "time": "s"})
    rollout(Spreading(), graph, 2, clock=clock, to=file, **options)
    path = tmp_path / f"new.{new}"
    assert convert_rollout(tmp_path / f"old.{old}", path) == KINDS[new](path).path
    assert torch.equal(KINDS[new](path).read().frames, file.read().frames)
    assert check_file(path) == []
    before, after = open_rollout(tmp_path / f"old.{old}"), open_rollout(path)
    assert before.identical(after)


def test_grids_get_names_and_stay_grids(tmp_path: Path) -> None:
    rollout(point_model(1, 1), START, 3, to=tmp_path / "old.h5")
    convert_rollout(tmp_path / "old.h5", tmp_path / "new.zarr", fields=["u"])
    data = open_rollout(tmp_path / "new.zarr")
    np.testing.assert_array_equal(data.u, HDF5(tmp_path / "old.h5").read().frames[:, :, 0].transpose(0, 1))
    with pytest.raises(FileExistsError):
        convert_rollout(tmp_path / "old.h5", tmp_path / "new.zarr")


def test_older_formats_hold_no_mesh(tmp_path: Path) -> None:
    rollout(point_model(1, 1), START, 3, to=Format2(tmp_path / "old.h5"))
    with pytest.raises(ValueError, match="expected a rollout of format 3"):
        convert_rollout(tmp_path / "old.h5", tmp_path / "new.zarr")
