"""Rollout files whose numbers cannot be, or whose frames are not those that were written, are refused."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from cases import KINDS, MODEL, ONE_SENTENCE, START, half_done
from format2 import Format2

from neuralop_irno import rollout
from neuralop_irno.rollouts import HDF5, Clock, Zarr
from neuralop_irno.rollouts.files import check_file

both = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests lose no power, and a busy disk takes half a second for each synchronisation."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


CANNOT_BE = {
    "complete": (61, -5, 0, 4),
    "lasted": (-1, 1, 99),
    "ending": (9,),
    "start": (2.0,),
    "state/digests": (3,),
}


@both
@pytest.mark.parametrize(("name", "value"), [(name, v) for name, values in CANNOT_BE.items() for v in values])
def test_numbers_that_cannot_be_are_refused(kind: str, name: str, value: float, tmp_path: Path) -> None:
    path = half_done(kind, tmp_path)
    file = KINDS[kind].storage.open(path, "r+")
    rows = name.startswith("state") or file[name].shape
    file[name][0 if rows else ...] = value
    KINDS[kind].storage.close(file)
    for use in (
        KINDS[kind](path).read,
        lambda: rollout(MODEL, START, 4, to=KINDS[kind](path, existing="continue")),
    ):
        with pytest.raises(ValueError, match=ONE_SENTENCE):
            use()
    assert check_file(path) != []


@pytest.mark.parametrize("times", [[1.0, np.nan, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0], [1.0, 1.0, 2.0, 3.0]])
@pytest.mark.parametrize("form", [1, 2, 3])
def test_times_have_to_be_finite_and_in_order(times: list[float], form: int, tmp_path: Path) -> None:
    if form == 3:
        path = half_done("h5", tmp_path, clock=Clock())
    else:
        path = tmp_path / "run.h5"
        rollout(MODEL, START, 4, clock=Clock(), to=Format2(path))
    with h5py.File(path, "r+") as file:
        if form == 3:
            file["time"][:] = times
        else:
            file["times"][0] = times
            file.attrs["format"] = form
    with pytest.raises(ValueError, match="times" if form == 1 else "SHA-256"):
        HDF5(path).read()


@pytest.mark.parametrize(
    "name", ["frames/c.1.0.0.0", "start/c.0.0.0.0", "complete/c", "state/digests/c.0.0.0", "lasted/c.0"]
)
def test_chunks_that_are_missing_are_not_zeros(name: str, tmp_path: Path) -> None:
    path = half_done("zarr", tmp_path)
    (path / name).unlink()
    with pytest.raises(ValueError, match=ONE_SENTENCE):
        Zarr(path).read()
    assert check_file(path) != []


@both
def test_one_frame_is_read_and_checked_alone(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"run.{kind}"
    rollout(MODEL, START, 4, to=KINDS[kind](path))
    file, whole = KINDS[kind](path), KINDS[kind](path).read().frames
    group = file.storage.open(path, "r+")
    group["frames"][2] = 1.0
    file.storage.close(group)
    for index in (0, 1, 3):
        assert torch.equal(file.frame(index), whole[:, index])
    for use in (lambda: file.frame(2), file.read):
        with pytest.raises(ValueError, match=r"frame 2 of run.* another SHA-256 digest"):
            use()
    with pytest.raises(IndexError, match="0 <= index < 4, got 4"):
        file.frame(4)
    assert len(check_file(path)) == 1
