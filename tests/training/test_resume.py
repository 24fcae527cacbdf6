"""Law 9: a run that was killed and resumed ends on the bits of a run that was never interrupted."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import small_run
import torch
from processes import PATIENCE, Child, children
from torch import nn

from neuralop_irno import IterativeRefiner
from neuralop_irno.checkpoint import read
from neuralop_irno.recipe import Recipe
from neuralop_irno.training import snapshot
from neuralop_irno.training.trainer import Trainer


def updates_on_disk(folder: Path) -> int:
    try:
        return read(snapshot.main_file(folder))[1]["progress"]["update"]
    except (FileNotFoundError, ValueError):  # not yet written, or becoming the older of two while it is read
        return 0


def kill_after(victim: Child, folder: Path, updates: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while updates_on_disk(folder) < updates:
        assert victim.process.is_alive(), "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    victim.process.kill()
    assert victim.code() == -signal.SIGKILL


@pytest.mark.parametrize(
    "words",
    [
        ('gradient="detached"',),
        ("replay=4", "shifts=true", 'precision="bfloat16"'),
        ("replay=4", 'states="disk"'),
        ("freeze_base=false", 'gradient="unrolled"', "save_every=0"),
    ],
    ids=["detached", "replay, shifts, bfloat16", "states on disk", "the base trains too, snapshots by epoch"],
)
def test_killed_and_resumed_is_never_interrupted(tmp_path: Path, words: tuple[str, ...]) -> None:
    with children() as start:
        whole = start(small_run.main, str(tmp_path / "whole"), *words)
        victim = start(small_run.main, str(tmp_path / "killed"), *words)
        kill_after(victim, tmp_path / "killed", updates=7)  # in the middle of the second epoch
        reached = updates_on_disk(tmp_path / "killed")
        resumed = start(small_run.main, str(tmp_path / "killed"), *words, "resume=true").result()
        expected = whole.result()
    assert 0 < reached < 18
    assert resumed == expected
    own, whole_file = (read(tmp_path / name / "model.safetensors") for name in ("killed", "whole"))
    assert own[1] == whole_file[1]
    assert not [p.name for p in (tmp_path / "killed").iterdir() if p.name.startswith(".model")]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_the_command_killed_at_random_moments_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "reliability")
    from kill_train import kill_often

    with children() as start:
        assert start(kill_often, tmp_path, 2).result() > 0


def test_a_used_folder_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    def trainer(**options: object) -> Trainer:
        return Trainer(nn.Conv1d(1, 1, 1), Recipe(epochs=1, **options), folder=tmp_path, show=False)

    trainer().fit(small_run.problem(4))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="expected a folder without a run"):
        trainer().fit(small_run.problem(4))
    with pytest.raises(ValueError, match=r"was started with, got other recipe.seed \(1, not 0\); try"):
        trainer(seed=1).fit(small_run.problem(4), resume=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_states_of_another_run_are_not_taken(tmp_path: Path) -> None:
    def fit(name: str, seed: int, resume: bool = False) -> None:
        torch.manual_seed(0)
        base, phi = nn.Conv1d(1, 1, 1), nn.Conv1d(2, 1, 1)
        refiner = IterativeRefiner(base, phi, in_channels=1, out_channels=1, steps=2)
        recipe = Recipe(epochs=2, seed=seed, replay=2)
        Trainer(refiner, recipe, folder=tmp_path / name, show=False).fit(small_run.problem(4), resume=resume)

    fit("own", 0)
    fit("other", 1)
    files = sorted(path.name for path in (tmp_path / "own").glob(".snapshot-*"))
    shutil.copy(tmp_path / "other" / files[1], tmp_path / "own" / files[1])
    fit("own", 0, resume=True)  # from the snapshot before
    shutil.copy(tmp_path / "own" / files[0], tmp_path / "own" / files[1])
    (tmp_path / "own" / files[0]).unlink()
    with pytest.raises(ValueError, match=r"expected a whole snapshot in .*own, got .*"):
        fit("own", 0, resume=True)
