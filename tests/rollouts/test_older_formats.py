"""Rollout files of older formats are read, and those with digests are continued in today's format."""

import os
from pathlib import Path

import pytest
import torch
from cases import MODEL, ONE_SENTENCE, START, point_model
from format2 import Format2

from neuralop_irno import open_rollout, rollout
from neuralop_irno.rollouts import HDF5, Clock, Window, Zarr
from neuralop_irno.rollouts.files import check_file

KINDS = {"h5": HDF5, "zarr": Zarr}
both = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@both
def test_format_2_is_read_frame_by_frame_and_under_names(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"run.{kind}"
    rollout(MODEL, START, 4, to=Format2(path, 3), clock=Clock(step=0.5))
    whole = rollout(MODEL, START, 4).frames
    assert torch.equal(KINDS[kind](path).read().frames, whole[:, :3])
    assert torch.equal(KINDS[kind](path).frame(2), whole[:, 2])
    assert check_file(path) == []
    data = open_rollout(path, fields=["u"])
    assert dict(data.u.sizes) == {"step": 3, "sample": 2, "x": 6}
    assert data.time.values.tolist() == [0.5, 1.0, 1.5]
    assert (data.u.isel(step=1).values == whole[:, 1, 0].numpy()).all()


@both
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize(("had", "steps"), [(1, 5), (3, 5), (5, 5), (5, 8), (3, 8)])
def test_format_2_is_continued_and_extended_to_the_same_bits(
    kind: str, outputs: int, had: int, steps: int, tmp_path: Path
) -> None:
    path, window = tmp_path / f"run.{kind}", Window(outputs=outputs)
    model, start = point_model(1, outputs), START[:, None]
    rollout(model, start, 5, window=window, to=Format2(path, had))
    rollout(model, start, steps, window=window, to=KINDS[kind](path, existing="continue", fields=["u"]))
    assert torch.equal(KINDS[kind](path).read().frames, rollout(model, start, steps, window=window).frames)
    assert check_file(path) == []
    assert [place.name for place in tmp_path.iterdir()] == [path.name]


@both
def test_format_1_is_read_and_an_unfinished_one_is_not_continued(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"run.{kind}"
    rollout(MODEL, START, 4, to=Format2(path, 3))
    group = KINDS[kind].storage.open(path, "r+")
    group.attrs["format"] = 1
    KINDS[kind].storage.close(group)
    assert torch.equal(KINDS[kind](path).read().frames, rollout(MODEL, START, 3).frames)
    with pytest.raises(ValueError, match=ONE_SENTENCE) as caught:
        rollout(MODEL, START, 4, to=KINDS[kind](path, existing="continue"))
    assert "format 1, which has none" in str(caught.value)
