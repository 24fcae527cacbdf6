"""Law 9: a run that was killed and resumed ends on the bits of a run that was never interrupted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_run import problem
from torch import nn

from neuralop_irno.checkpoint import read
from neuralop_irno.recipe import Recipe
from neuralop_irno.training import snapshot
from neuralop_irno.training.trainer import Trainer

SCRIPT = Path(__file__).with_name("small_run.py")
PATIENCE = 600  # seconds: other work may keep the machine busy


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def _children_end() -> Iterator[None]:
    yield
    for process in STARTED:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    STARTED.clear()


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), str(folder), *words]
    STARTED.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    return STARTED[-1]


def finish(process: subprocess.Popen[str]) -> dict[str, object]:
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    return json.loads(output)


def updates_on_disk(folder: Path) -> int:
    try:
        return read(snapshot.main_file(folder))[1]["progress"]["update"]
    except FileNotFoundError:  # not yet written, or just becoming the older of two
        return 0


def kill_after(process: subprocess.Popen[str], folder: Path, updates: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while updates_on_disk(folder) < updates:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    "words",
    [
        ('gradient="detached"',),
        ("replay=4", "shifts=true", 'precision="bfloat16"'),
        ("freeze_base=false", 'gradient="unrolled"', "save_every=0"),
    ],
    ids=["detached", "replay, shifts, bfloat16", "the base trains too, snapshots by epoch"],
)
def test_killed_and_resumed_is_never_interrupted(tmp_path: Path, words: tuple[str, ...]) -> None:
    whole = start(tmp_path / "whole", *words)
    victim = start(tmp_path / "killed", *words)
    kill_after(victim, tmp_path / "killed", updates=7)  # in the middle of the second epoch
    reached = updates_on_disk(tmp_path / "killed")
    expected = finish(whole)
    resumed = finish(start(tmp_path / "killed", *words, "resume=true"))
    assert 0 < reached < 18
    assert resumed == expected
    own, whole_file = (read(tmp_path / name / "model.safetensors") for name in ("killed", "whole"))
    assert own[1] == whole_file[1]
    assert not [p.name for p in (tmp_path / "killed").iterdir() if p.name.startswith(".model")]


def test_a_used_folder_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    def trainer(**options: object) -> Trainer:
        return Trainer(nn.Conv1d(1, 1, 1), Recipe(epochs=1, **options), folder=tmp_path, show=False)

    trainer().fit(problem(4))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="expected a folder without a run"):
        trainer().fit(problem(4))
    with pytest.raises(ValueError, match=r"was started with, got other recipe.seed \(1, not 0\); try"):
        trainer(seed=1).fit(problem(4), resume=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
