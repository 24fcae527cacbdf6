"""Claims of runs: one process has a run, and that of a killed one is taken over by one other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE
from threading import Barrier

import pytest
from processes import PATIENCE, children

from neuralop_irno.study import claims
from neuralop_irno.study.claims import STALE, claimed, forget, is_claimed


def hold(folder: Path) -> None:
    """Claim a run until this process is killed."""
    with claimed(folder):
        time.sleep(PATIENCE)


def killed(folder: Path) -> int:
    """A claim whose process was killed; returns the process."""
    with children() as start:
        victim = start(hold, folder)
        while not any(path.stat().st_size for path in folder.glob("*.claim")):
            time.sleep(0.005)
        assert is_claimed(folder)
        victim.process.kill()
        victim.code()
        assert victim.process.pid is not None
        return victim.process.pid


def test_a_run_is_free_again_after_its_block_and_after_an_error(tmp_path: Path) -> None:
    for error in (None, KeyError):
        with ExitStack() as ends:
            if error is not None:
                ends.enter_context(pytest.raises(error))
            with claimed(tmp_path / "run") as own:
                assert own
                assert is_claimed(tmp_path / "run")
                if error is not None:
                    raise error
        assert not is_claimed(tmp_path / "run")


@pytest.mark.parametrize("left", ["a killed process", "another host", "before its line was written"])
def test_of_many_that_take_over_at_once_one_wins(tmp_path: Path, left: str) -> None:
    """They judge the same claim, and then create the next one at the same time."""
    rounds, many = 10, 8
    pid = killed(tmp_path / "first")
    (file,) = (tmp_path / "first").glob("*.claim")
    owner = json.loads(file.read_bytes())
    assert owner["pid"] == pid
    text = "" if left.startswith("before") else json.dumps({**owner, "pid": os.getpid()})
    barrier = Barrier(many)

    def take(folder: Path) -> bool:
        barrier.wait()
        with claimed(folder) as own:
            barrier.wait()
            return own

    with ThreadPoolExecutor(many) as pool:
        for number in range(rounds):
            folder = tmp_path / f"run{number}"
            folder.mkdir()
            if left == "a killed process":
                (folder / "7.claim").write_bytes(file.read_bytes())
            else:
                (folder / "7.claim").write_text(text.replace(owner["host"], "elsewhere"))
                assert is_claimed(folder)
                past = time.time() - STALE - 1
                os.utime(folder / "7.claim", (past, past))
            assert not is_claimed(folder)
            assert sum(pool.map(take, [folder] * many)) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads the state of a process as Linux has it")
def test_a_zombie_has_lost_its_claim(tmp_path: Path) -> None:
    """A killed process whose parent has not read its exit code."""
    with (
        claimed(tmp_path / "run"),
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=PIPE) as process,
    ):
        (file,) = (tmp_path / "run").glob("*.claim")
        file.write_text(json.dumps({**json.loads(file.read_bytes()), "pid": process.pid}) + "\n")
        assert is_claimed(tmp_path / "run")
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not is_claimed(tmp_path / "run")


def test_a_heartbeat_keeps_a_claim_that_looks_like_one_of_another_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "BEAT", 0.01)
    with claimed(tmp_path / "run"):
        (file,) = (tmp_path / "run").glob("*.claim")
        file.write_text(file.read_text().replace('"host": "', '"host": "not '))
        deadline = time.monotonic() + PATIENCE
        os.utime(file, (0, 0))
        while not file.stat().st_mtime:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert is_claimed(tmp_path / "run")


def test_stale_is_measured_by_the_clock_that_stamps_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host whose clock is an hour ahead takes no run over from one that works."""
    (tmp_path / "1.claim").write_text("{}")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    assert is_claimed(tmp_path)


def test_a_finished_run_leaves_no_claims(tmp_path: Path) -> None:
    with claimed(tmp_path / "run"):
        forget(tmp_path / "run")
    assert not (tmp_path / "run").exists()
