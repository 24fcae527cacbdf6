"""Two real processes train as one: the same weights on both, and the single process's loss."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("small_run.py")
WORDS = ("epochs=2", 'gradient="unrolled"')


def outputs(folder: Path, processes: int, *words: str) -> list[dict[str, object]]:
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    launcher = torchrun if processes > 1 else []
    command = [sys.executable, *launcher, str(SCRIPT), str(folder), *WORDS, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("frozen", ["true", "false"])
def test_two_processes_are_one(tmp_path: Path, frozen: str) -> None:
    first, second = outputs(tmp_path / "two", 2, f"freeze_base={frozen}")
    (alone,) = outputs(tmp_path / "one", 1, f"freeze_base={frozen}")
    assert first["digest"] == second["digest"]
    assert first["history"] == second["history"]
    for ours, theirs in zip(first["history"], alone["history"], strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
        assert ours["valid"] == pytest.approx(theirs["valid"], rel=1e-3)


def test_two_processes_resume(tmp_path: Path) -> None:
    whole = outputs(tmp_path / "whole", 2, "replay=3")
    outputs(tmp_path / "parts", 2, "replay=3")
    again = outputs(tmp_path / "parts", 2, "replay=3", "resume=true")
    assert again == whole
