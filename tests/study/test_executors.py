"""A study gives the same table in one process and in many, also if some of them are killed."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from processes import PATIENCE, children
from tiny import memory_not_measured, one_base, timeless, words, written  # noqa: F401 - a fixture

from irno_cli.main import main
from neuralop_irno.study import executors
from neuralop_irno.study.executors import (
    LocalWorkers,
    LostWorkerError,
    SubmititJobs,
    closing,
    dask_workers,
)
from neuralop_irno.study.plan import Study, study_from
from neuralop_irno.study.runner import StudyRunner
from neuralop_irno.study.schedule import LOSSES, FailedRunsError

pytestmark = pytest.mark.usefixtures("memory_not_measured")

PLAN: dict[str, Any] = words(
    seeds=(0,), problems=one_base(), variants={"refined": {"training": {"epochs": 16}}}
)
REFINED = "burgers.fno.refined.seed0"


def study(**changes: Any) -> Study:
    return study_from({"name": "tiny", **PLAN, **changes})


def table_by(executor: Executor | None, folder: Path, **changes: Any) -> dict[str, Any]:
    return timeless(
        StudyRunner(study(**changes), folder, "cpu", lambda text: None, False).run(executor).to_plain()
    )


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The table of one process."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("training_mib", "answer_mib"):
            patch.setattr(f"neuralop_irno.study.worker.{name}", lambda *_: 1.0)
        return table_by(None, tmp_path_factory.mktemp("serial"))


@pytest.fixture
def quick_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers start from a server that has imported PyTorch, which takes most of their time."""
    monkeypatch.setattr(executors, "START", "forkserver")


def kill_in_training(folder: Path) -> int:
    """Kill the process that trains the refiner, after its first snapshot, by the number in its claim."""
    deadline = time.monotonic() + PATIENCE
    while not list(folder.glob(f"trained/{REFINED}.*/snapshot.safetensors")):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    (file,) = folder.glob(f"claims/{REFINED}/1.claim")
    pid: int = json.loads(file.read_bytes())["pid"]
    assert pid != os.getpid()
    os.kill(pid, signal.SIGKILL)
    return pid


@contextmanager
def local(folder: Path) -> Iterator[Executor]:
    with closing(LocalWorkers(2)) as workers:
        yield workers


@contextmanager
def submitted(folder: Path) -> Iterator[Executor]:
    with closing(SubmititJobs(folder / "jobs", "local", at_once=2)) as jobs:
        yield jobs


@contextmanager
def dask(folder: Path) -> Iterator[Executor]:
    import dask
    from distributed import LocalCluster

    options = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": ":0"}
    settings = {
        "distributed.worker.multiprocessing-method": "forkserver",
        "distributed.scheduler.allowed-failures": 0,  # each kill is an error, not the fourth
        "distributed.deploy.lost-worker-timeout": "1h",
    }
    with (
        dask.config.set(settings),
        LocalCluster(**options, local_directory=str(folder / "dask")) as cluster,
        dask_workers(cluster.scheduler_address) as workers,
    ):
        yield workers


@contextmanager
def threads(folder: Path) -> Iterator[Executor]:
    """Any executor of Python, here one whose workers share a generator of random numbers."""
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.mark.usefixtures("quick_start")
@pytest.mark.parametrize("opened", [submitted, dask, threads])
def test_every_executor_gives_the_table_of_one_process(
    opened: Callable[[Path], Any], serial: dict[str, Any], tmp_path: Path
) -> None:
    with opened(tmp_path) as executor:
        assert table_by(executor, tmp_path / "study") == serial
    assert not list(tmp_path.glob("study/claims/*"))


@pytest.mark.usefixtures("quick_start")
@pytest.mark.parametrize("opened", [local, dask])
def test_a_killed_worker_is_replaced_and_its_run_resumed(
    opened: Callable[[Path], Any], serial: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    with ThreadPoolExecutor(1) as pool, opened(tmp_path) as workers:
        killed = pool.submit(kill_in_training, folder)
        assert table_by(workers, folder) == serial
        assert killed.result(PATIENCE)
    # The interrupted training has no time of its own: it was resumed.
    assert json.loads((folder / f"runs/{REFINED}.json").read_bytes())["seconds"] is None


@pytest.mark.usefixtures("quick_start")
def test_a_worker_may_have_processes_that_load_batches(serial: dict[str, Any], tmp_path: Path) -> None:
    ahead = {"refined": {"training": {"epochs": 16, "workers": 1}}}
    with local(tmp_path) as workers:
        assert table_by(workers, tmp_path / "study", variants=ahead) == serial


def test_a_cluster_without_workers_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import LocalCluster

    monkeypatch.setattr(executors, "WITHOUT_WORKERS", 0.1)
    said: queue.SimpleQueue[str] = queue.SimpleQueue()
    with LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster:
        with dask_workers(cluster.scheduler_address, said.put) as workers:
            result = workers.submit(abs, -1)
            assert "has no worker; waiting for one (dask worker inproc://" in said.get(timeout=PATIENCE)
            cluster.scale(1)
            assert result.result(PATIENCE) == 1
            assert "has workers again" in said.get(timeout=PATIENCE)
        with pytest.raises(BrokenExecutor, match="expected the scheduler of a Dask cluster at"):
            workers.submit(abs, -1)


def test_of_two_commands_started_at_once_one_may_be_killed(serial: dict[str, Any], tmp_path: Path) -> None:
    file, folder = written(tmp_path, PLAN), tmp_path / "study"
    command = ["study", str(file), "--folder", str(folder), "--json"]
    with children() as start:
        both = [start(main, command) for _ in range(2)]
        killed = kill_in_training(folder)
        codes = {child.process.pid: child.code() for child in both}
        assert codes.pop(killed) == -signal.SIGKILL
        assert list(codes.values()) == [0]
    assert timeless(json.loads((folder / "table.json").read_text())) == serial


def test_after_a_kill_of_the_command_its_workers_end_their_runs(tmp_path: Path) -> None:
    file, folder = written(tmp_path, PLAN), tmp_path / "study"
    deadline = time.monotonic() + PATIENCE
    with children() as start:
        command = start(main, ["study", str(file), "--folder", str(folder), "--workers", "1"])
        while not list(folder.glob(f"trained/{REFINED}.*/snapshot.safetensors")):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        command.process.kill()
        assert command.code() == -signal.SIGKILL
    assert not (folder / f"runs/{REFINED}.json").exists()
    while not (folder / f"runs/{REFINED}.json").exists() or list(folder.glob("claims/*")):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.usefixtures("quick_start")
def test_an_error_or_ctrl_c_stops_the_calls_of_workers() -> None:
    begun = time.monotonic()
    calls: list[Future[Any]] = []

    def interrupted() -> None:
        with closing(LocalWorkers(1)) as workers:
            calls.extend(workers.submit(time.sleep, 10 * PATIENCE) for _ in range(2))
            while not calls[0].running():
                time.sleep(0.005)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - begun < PATIENCE
    assert isinstance(calls[0].exception(PATIENCE), LostWorkerError)
    assert calls[1].cancelled()


class Losing(Executor):
    """Loses calls: the first ones, or all of them for good."""

    def __init__(self, losses: int, broken: bool = False) -> None:
        self.losses, self.broken = losses, broken

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.broken:
            raise BrokenProcessPool("no process is left")
        future: Future[Any] = Future()
        if self.losses:
            self.losses -= 1
            future.set_exception(OSError("the node is down"))
        else:
            future.set_result(fn(*args, **kwargs))
        return future


def test_lost_calls_are_repeated_and_what_stays_lost_is_reported(
    serial: dict[str, Any], tmp_path: Path
) -> None:
    assert table_by(Losing(LOSSES - 1), tmp_path / "a") == serial
    match = f"burgers.fno.base.seed0: lost its worker {LOSSES} times, at last by OSError: the node is down"
    with pytest.raises(FailedRunsError, match=match):
        table_by(Losing(LOSSES), tmp_path / "b")
    with pytest.raises(FailedRunsError, match="BrokenProcessPool: no process is left"):
        table_by(Losing(0, broken=True), tmp_path / "b")
    assert table_by(None, tmp_path / "b") == serial


def test_a_run_that_fails_stops_no_other(
    serial: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What stands on a base that fails is not begun; with the cause gone, the command does the rest."""
    folder = tmp_path / "out"
    file = written(tmp_path, {**PLAN, "seeds": [0, 1]})
    assert main(["study", str(file), "--folder", str(folder), "--json"]) == 0
    for path in folder.glob("runs/*.seed1.json"):
        path.unlink()
    (damaged,) = folder.glob("trained/*.base.seed1.*/model.safetensors")
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    (folder / f"runs/{REFINED}.json").unlink()
    capsys.readouterr()
    assert main(["study", str(file), "--folder", str(folder), "--json"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "expected 4 finished runs, got 2 that failed: burgers.fno.base.seed1: ValueError:" in error
    assert "burgers.fno.refined.seed1: needs burgers.fno.base.seed1" in error
    assert timeless(json.loads((folder / "table.json").read_text())) == serial
    damaged.write_bytes(whole)
    assert main(["study", str(file), "--folder", str(folder), "--json"]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--executor", "pbs"], "expected an executor, got 'pbs'; try slurm"),
        (["--executor", "slurm"], "expected the longest time of a job, in minutes, got none"),
        (["--executor", "slurm", "--slurm", "time=1"], "expected a cluster 'slurm' on this host"),
        (["--slurm", "time=1"], "expected --executor slurm with --slurm"),
        (["--executor", "submitit-local", "--workers", "0"], "expected workers >= 1, got 0"),
        (["--search", "none.yaml"], "expected a study or a search"),
    ],
)
def test_wrong_options(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["study", str(written(tmp_path, PLAN)), "--folder", str(tmp_path / "out")]
    assert main([*command, *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("package", "options", "extra"),
    [
        ("submitit", ["--executor", "submitit-local"], "slurm"),
        ("distributed", ["--executor", "dask://localhost:1"], "dask"),
        ("optuna", ["--search"], "optuna"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    package: str,
    options: list[str],
    extra: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    content = PLAN
    if package == "optuna":
        problem = {name: part for name, part in one_base()["burgers"].items() if name != "bases"}
        model = {**problem["model"], "base": one_base()["burgers"]["bases"]["fno"]}
        content = {**problem, "model": model, "search": {"model.steps": {"range": [1, 2]}}}
    command = ["study", *options, str(written(tmp_path, content)), "--folder", str(tmp_path / "out")]
    assert main(command) == 2
    assert f"try pip install 'neuralop_irno[{extra}]'" in capsys.readouterr().err


def test_workers_take_the_gpus_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    found = [environment["CUDA_VISIBLE_DEVICES"] for environment, _ in executors.settings(3, "cuda")]
    assert found == ["3", "5", "3"]
    with pytest.raises(ValueError, match="expected a device without a number for several workers"):
        LocalWorkers(2, "cuda:1")
