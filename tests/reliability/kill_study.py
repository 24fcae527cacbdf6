"""Kill processes of `irno study` with SIGKILL at random moments, and compare the tables.

    python tests/reliability/kill_study.py 10

For each way to do a study (workers, commands, submitit, dask by `LocalCluster` and by `dask worker`, and a
search by commands) so many processes are killed, each while it holds a run, by the number in its claim. No
run is killed more than twice in one study.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import yaml

from irno_cli.main import main as irno
from neuralop_irno.study import executors
from neuralop_irno.study.claims import is_claimed
from neuralop_irno.study.executors import LocalWorkers, SubmititJobs, closing, dask_workers
from neuralop_irno.study.plan import study_from
from neuralop_irno.study.runner import StudyRunner
from neuralop_irno.study.schedule import LOSSES

BASE = {"model_arch": "fno", "n_modes": [4], "hidden_channels": 4, "n_layers": 1}
SECTIONS = {
    "data": {"name": "burgers", "trajectories": [4, 2, 2], "frames": 4, "size": 8},
    "base_training": {"epochs": 8, "batch_size": 4},
    "training": {"epochs": 24, "batch_size": 4, "replay": 4, "save_every": 1},
}
MODEL = {"correction": {"name": "unet", "width": 4, "depth": 0}, "steps": 2}
STUDY = {
    "name": "killed",
    "kind": "main",
    "about": "Killed.",
    "seeds": [0, 1],
    "problems": {"burgers": {**SECTIONS, "bases": {"fno": BASE}, "model": MODEL}},
    "variants": {"refined": {}},
}
SEARCH = {
    **SECTIONS,
    "model": {**MODEL, "base": BASE},
    "search": {"training.learning_rate": {"log": [1e-3, 1e-2]}},
    "trials": 4,
    "pruner": "none",
}
MEASURED = ("seconds", "training MiB", "answer MiB")


def table(folder: Path) -> Any:
    """The table of a study without times and memory, or that of a search."""
    found = json.loads((folder / "table.json").read_text())
    if "trials" in found:
        return found
    costs = [{name: v for name, v in row.items() if name not in MEASURED} for row in found["costs"]]
    return [found["results"], costs, found["notes"]]


def kill_some(folder: Path, kills: list[int], ended: threading.Event, draw: random.Random) -> None:
    """Kill one of the processes that hold a run, every now and then."""
    while not ended.wait(draw.uniform(0.0, 0.6)):
        for run in folder.glob("claims/*"):
            files = sorted(run.glob("*.claim"), key=lambda file: int(file.stem))
            if run.name in ("choice", "base.seed0") or not files or len(files) >= LOSSES:
                continue
            with contextlib.suppress(OSError, ValueError):  # it has just ended
                pid = json.loads(files[-1].read_bytes())["pid"]
                if is_claimed(run) and pid != os.getpid():
                    os.kill(pid, signal.SIGKILL)
                    kills.append(pid)
                    break


def by(opened: Callable[[Path], Any]) -> Callable[[Path], None]:
    """A study by an executor."""

    def run(folder: Path) -> None:
        with opened(folder) as executor:
            StudyRunner(study_from(STUDY), folder, "cpu", lambda text: None, False).run(executor)

    return run


def commands(folder: Path, search: bool = False) -> None:
    """Two commands at once, started again when they are killed, until both have ended."""
    file = folder.with_suffix(".yaml")
    content = SEARCH if search else {name: part for name, part in STUDY.items() if name != "name"}
    file.write_text(yaml.safe_dump(content))
    words = ["study", *(["--search"] if search else []), str(file), "--folder", str(folder), "--json"]
    context = get_context("fork")
    running = [None, None]
    codes = [-signal.SIGKILL, -signal.SIGKILL]
    while any(code != 0 for code in codes):
        for place in (0, 1):
            if codes[place] == -signal.SIGKILL:
                running[place] = context.Process(target=quiet, args=(words,))
                running[place].start()
                codes[place] = None
            elif codes[place] is None and not running[place].is_alive():
                codes[place] = running[place].exitcode
                assert codes[place] in (0, -signal.SIGKILL), codes[place]
        time.sleep(0.01)


def quiet(words: list[str]) -> None:
    """A command whose messages are shown if it fails."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as messages:
        code = irno(words)
    if code:
        sys.stderr.write(messages.getvalue())
    sys.exit(code)


@contextlib.contextmanager
def local(folder: Path) -> Iterator[Any]:
    with closing(LocalWorkers(2)) as workers:
        yield workers


@contextlib.contextmanager
def submitted(folder: Path) -> Iterator[Any]:
    with closing(SubmititJobs(folder / "jobs", "local", at_once=2)) as jobs:
        yield jobs


@contextlib.contextmanager
def dask(folder: Path) -> Iterator[Any]:
    import dask as of_dask
    from distributed import LocalCluster

    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with (
        # 15 s after a kill LocalCluster gives up the worker if it is absent then, also by a later kill.
        of_dask.config.set({"distributed.deploy.lost-worker-timeout": "1h"}),
        LocalCluster(**options, local_directory=str(folder / "dask")) as cluster,
        dask_workers(cluster.scheduler_address) as workers,
    ):
        yield workers


def by_dask_command(folder: Path) -> None:
    """The command with `dask scheduler` and two `dask worker`, whose nannies replace what is killed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    scheduler = ["scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]
    worker = ["worker", f"tcp://127.0.0.1:{port}", "--nthreads", "1", "--local-directory"]
    file = folder.with_suffix(".yaml")
    file.write_text(yaml.safe_dump({name: part for name, part in STUDY.items() if name != "name"}))
    with contextlib.ExitStack() as ends:
        for words in (scheduler, *([*worker, f"{folder}.{place}"] for place in (0, 1))):
            process = subprocess.Popen([sys.executable, "-m", "dask", *words], stderr=subprocess.DEVNULL)
            ends.callback(process.wait)
            ends.callback(process.terminate)
        words = [
            "study",
            str(file),
            "--folder",
            str(folder),
            "--json",
            "--executor",
            f"dask://127.0.0.1:{port}",
        ]
        running = get_context("fork").Process(target=quiet, args=(words,))
        running.start()
        running.join()
        assert running.exitcode == 0


WAYS: dict[str, Callable[[Path], None]] = {
    "workers": by(local),
    "commands": commands,
    "submitit": by(submitted),
    "dask": by(dask),
    "dask-command": by_dask_command,
    "search": lambda folder: commands(folder, search=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("kills", type=int, nargs="?", default=10)
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    executors.START = "forkserver"
    get_context("forkserver").set_forkserver_preload(["neuralop_irno.study.runner", "neuralop.models"])
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place) / "study", Path(place) / "search"
        StudyRunner(study_from(STUDY), whole[0], "cpu", lambda text: None, False).run()
        file = Path(place) / "search.yaml"
        file.write_text(yaml.safe_dump(SEARCH))
        assert irno(["study", "--search", str(file), "--folder", str(whole[1]), "--json"]) == 0
        for way in options.ways:
            kills, rounds = list[int](), 0
            while len(kills) < options.kills:
                folder, ended = Path(place) / f"{way}{rounds}", threading.Event()
                killer = threading.Thread(target=kill_some, args=(folder, kills, ended, draw))
                killer.start()
                try:
                    WAYS[way](folder)
                finally:
                    ended.set()
                    killer.join()
                expected = table(whole[way == "search"])
                assert table(folder) == expected, f"{way}: another table in {folder}"
                rounds += 1
            sys.stdout.write(f"{way}: {len(kills)} kills in {rounds} rounds, the same table each time\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
