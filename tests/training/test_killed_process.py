"""When one of several processes is killed, the others end; the run can be resumed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import killed_run
import pytest
from processes import PATIENCE, children, environments

from neuralop_irno.checkpoint import read
from neuralop_irno.training import snapshot

SOON = 10
"""Seconds."""


def since(mark: Path) -> float:
    """Seconds since a process was killed."""
    return time.time() - mark.stat().st_mtime


def test_the_others_end_by_themselves(tmp_path: Path) -> None:
    with children() as start:
        ranks = [start(killed_run.main, str(tmp_path), environment=each) for each in environments(4)]
        codes = [child.code() for child in ranks]
    assert since(tmp_path / "mark") < SOON
    assert codes[-1] == -9
    assert all(code not in (0, None) for code in codes)
    assert read(snapshot.main_file(tmp_path / "run"))[1]["progress"]["update"] in (3, 4)


@pytest.mark.skipif(sys.platform != "linux", reason="torchrun's signals")
def test_torchrun_ends_the_others(tmp_path: Path) -> None:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [sys.executable, *torchrun, str(Path(killed_run.__file__)), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert since(tmp_path / "mark") < SOON
    assert done.returncode != 0
    assert "Signal 9 (SIGKILL)" in done.stderr
