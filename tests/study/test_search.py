"""Searches with Optuna: the same trials in one process and in several, pruned, killed and continued."""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.samplers import RandomSampler
from processes import PATIENCE, children
from tiny import words

from irno_cli.main import main
from neuralop_irno.study.executors import LocalWorkers, closing
from neuralop_irno.study.schedule import FailedRunsError
from neuralop_irno.study.search_runner import SearchRunner, TrialTable
from neuralop_irno.study.space import search_of
from neuralop_irno.study.worker import Worker
from neuralop_irno.training.run import read_run

Capsys = pytest.CaptureFixture[str]

SPACE = {
    "training.learning_rate": {"log": [1e-4, 1e-2]},
    "model.correction": {"choice": [{"name": "unet", "width": 4, "depth": 0}, "unet"]},
    "model.steps": {"range": [1, 3]},
    "loss.spectral": {"range": [0.0, 1.0]},
}


def plan(**changes: Any) -> dict[str, Any]:
    """A search of a few seconds; the model's own correction is there for the trials to replace."""
    problem = words()["problems"]["burgers"]
    bases = problem.pop("bases")
    problem["model"]["base"] = bases["fno"]
    return {**problem, "search": SPACE, "trials": 3, "pruner": "none", **changes}


def found(folder: Path, **changes: Any) -> TrialTable:
    return SearchRunner(search_of(plan(**changes)), folder, "cpu", lambda text: None, False).run()


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search in one process."""
    folder = tmp_path_factory.mktemp("serial")
    found(folder)
    return folder


def test_the_table_and_the_best_config(serial: Path, capsys: Capsys) -> None:
    table = json.loads((serial / "table.json").read_text())
    assert [row["trial"] for row in table["trials"]] == [0, 1, 2]
    assert {row["state"] for row in table["trials"]} == {"complete"}
    best = table["best"]
    assert best["score"] == min(row["score"] for row in table["trials"])
    assert len((serial / "table.txt").read_text().splitlines()) == 4
    assert (
        (serial / "table.md")
        .read_text()
        .startswith("| trial | state | epochs | score | training.learning_rate |")
    )
    scores = [line.split(",")[3] for line in (serial / "table.csv").read_text().splitlines()]
    assert scores == ["score", *(repr(row["score"]) for row in table["trials"])]
    assert main(["train", str(serial / "best.yaml"), "--folder", str(serial / "best"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["best"] == pytest.approx(best["score"])
    experiment, refiner = read_run(serial / "best")
    assert refiner.steps == best["model.steps"]
    assert experiment.training.peak == best["training.learning_rate"]


def test_two_workers_find_the_same(serial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuralop_irno.study.executors.START", "forkserver")
    search = search_of(plan())
    with closing(LocalWorkers(2)) as workers:
        SearchRunner(search, tmp_path, "cpu", lambda text: None, False).run(workers)
    for name in ("table.json", "table.txt", "best.yaml"):
        assert (tmp_path / name).read_bytes() == (serial / name).read_bytes()


@pytest.mark.parametrize("kind", [LocalWorkers, ProcessPoolExecutor])
def test_the_trial_of_a_killed_worker_is_taken_up_again(
    kind: Any, serial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once by workers that are replaced, and by the next call if the executor is broken by the kill."""
    monkeypatch.setattr("neuralop_irno.study.executors.START", "forkserver")
    options = {"mp_context": get_context("forkserver")} if kind is ProcessPoolExecutor else {}
    runner = SearchRunner(search_of(plan()), tmp_path, "cpu", lambda text: None, False)
    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(kill_in_training, tmp_path)
        with kind(2, **options) as executor:
            if options:
                with pytest.raises(
                    FailedRunsError, match=r"workers: BrokenProcessPool: .* try the same command"
                ):
                    runner.run(executor)
                runner.run()
            else:
                runner.run(executor)
        assert killed.result(PATIENCE)
    assert (tmp_path / "table.json").read_bytes() == (serial / "table.json").read_bytes()
    assert not list((tmp_path / "claims").glob("trial*"))


def kill_in_training(folder: Path) -> int:
    """Kill the process that trains the first trial, after a snapshot, by the number in its claim."""
    deadline = time.monotonic() + PATIENCE
    while not (found := list(folder.glob("trained/*.refined.*/snapshot.safetensors"))):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    claims = [json.loads(file.read_bytes()) for file in folder.glob("claims/trial*/1.claim")]
    pid: int = claims[0]["pid"]
    assert found
    assert pid != os.getpid()
    os.kill(pid, signal.SIGKILL)
    return pid


def test_a_killed_search_goes_on_with_its_trial_and_may_grow(serial: Path, tmp_path: Path) -> None:
    file, folder = tmp_path / "search.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(plan(trials=1), sort_keys=False))
    command = ["study", "--search", str(file), "--folder", str(folder), "--json"]
    deadline = time.monotonic() + PATIENCE
    with children() as start:
        victim = start(main, command)
        while not list(folder.glob("trained/*.refined.*/snapshot.safetensors")):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        victim.process.kill()
        assert victim.code() == -signal.SIGKILL
    assert main(command) == 0
    file.write_text(yaml.safe_dump(plan(), sort_keys=False))
    assert main(command) == 0
    assert (folder / "table.json").read_bytes() == (serial / "table.json").read_bytes()
    assert not list((folder / "claims").glob("trial*"))
    file.write_text(yaml.safe_dump(plan(seeds=[1])))
    assert main(command) == 2  # another search


def test_the_score_is_the_mean_over_the_seeds_of_the_best_epoch(serial: Path, tmp_path: Path) -> None:
    both = found(tmp_path / "both", trials=1, seeds=[0, 1]).trials[0]["score"]
    other = found(tmp_path / "other", trials=1, seeds=[1]).trials[0]["score"]
    first = json.loads((serial / "table.json").read_text())["trials"][0]["score"]
    assert first != other
    assert both == pytest.approx((first + other) / 2, rel=1e-12)
    histories = (tmp_path / "both").glob("trained/*.refined.*/history.json")
    scores = [min(record["valid"][-1] for record in json.loads(h.read_text())) for h in histories]
    assert both == pytest.approx(sum(scores) / 2, rel=1e-12)


def test_trials_above_the_median_are_pruned_by_the_validation_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optuna prunes none of the first five; a rate near zero is then worse than theirs after one epoch."""
    monkeypatch.setattr("optuna.samplers.TPESampler", Downwards)
    space = {"training.learning_rate": {"log": [1e-9, 1e-2]}}
    table = found(tmp_path, trials=6, pruner="median", search=space)
    assert [row["state"] for row in table.trials] == ["complete"] * 5 + ["pruned"]
    (stopped,) = [
        history
        for path in tmp_path.glob("trained/*.refined.*/history.json")
        if "stopped" in (history := json.loads(path.read_text()))[-1]
    ]
    assert len(stopped) == 1
    assert stopped[0]["valid"][-1] == table.trials[-1]["score"]
    assert table.trials[-1]["epochs"] == len(stopped) < table.trials[0]["epochs"]


def test_halving_keeps_the_better_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first trial has no others to compare with; a rate near zero is the worst of six after one epoch."""
    monkeypatch.setattr("optuna.samplers.TPESampler", Downwards)
    space = {"training.learning_rate": {"log": [1e-9, 1e-2]}}
    table = found(tmp_path, trials=6, pruner="halving", search=space)
    states = [row["state"] for row in table.trials]
    assert (states[0], states[-1]) == ("complete", "pruned")
    assert set(states) == {"complete", "pruned"}


class Downwards(RandomSampler):
    """Stands for Optuna's sampler: the last rate is next to nothing."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.rate = (1e-2, 9e-3, 8e-3, 7e-3, 6e-3, 1e-9)[seed]

    def sample_independent(self, *_: Any) -> float:
        return self.rate


def test_what_diverges_is_pruned_with_a_note_and_what_fails_is_reported_and_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    loud = {"training.learning_rate": {"choice": [1e30]}}
    training = {**plan()["training"], "clip": 1e30, "replay": 0, "weight_decay": 0}
    (row,) = found(tmp_path / "loud", trials=1, search=loud, training=training).trials
    assert row["state"] == "pruned"
    assert "training diverged" in row["note"]

    file, folder = tmp_path / "search.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(plan(trials=2)))
    command = ["study", "--search", str(file), "--folder", str(folder), "--json"]
    whole = Worker.history

    def breaks_once(worker: Worker, *arguments: Any) -> Any:
        monkeypatch.setattr(Worker, "history", whole)
        raise MemoryError("no memory is left")

    monkeypatch.setattr(Worker, "history", breaks_once)
    assert main(command) == 1
    assert "trial 0: MemoryError: no memory is left" in capsys.readouterr().err
    states = [row["state"] for row in json.loads((folder / "table.json").read_text())["trials"]]
    assert states == ["fail", "complete"]
    assert main(command) == 0
    states = [row["state"] for row in json.loads((folder / "table.json").read_text())["trials"]]
    assert states == ["fail", "complete", "complete"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": {}}, "expected a space to search"),
        ({"search": {"data.size": {"choice": [8]}}}, "expected an option of model, loss, training"),
        ({"search": {"model.base.n_modes": {"choice": [[8]]}}}, "but not of the base"),
        ({"search": {"training.learning_rate": {"log": [0, 1]}}}, "expected a range of numbers or choices"),
        ({"search": {"training.learning_rate": {"range": [2, 1]}}}, "expected a range of numbers or choices"),
        ({"search": {"training.learning_rate": [1, 2]}}, "expected a range of numbers or choices"),
        ({"search": {"model.correction": {"choice": [{"width": 4}]}}}, "expected mappings with a name"),
        ({"search": {"training.learning": {"choice": [1]}}}, "learning_rate"),
        ({"trials": 0}, "expected trials >= 1, got 0"),
        ({"pruner": "mean"}, "expected a pruner, got 'mean'"),
        ({"seeds": []}, "expected seeds as a list"),
        ({"seeds": [1, 1]}, "expected different seeds"),
        ({"search": {"training.seed": {"choice": [1, 2]}}}, "expected an option that seeds do not set"),
        ({"search": {"model.steps": {"choice": [2, "three"]}}}, "expected steps of the model as int"),
        ({"search": {"loss.spectral": {"range": [-1.0, 1.0]}}}, "expected a weight spectral >= 0"),
        ({"trial": 3}, "trial"),
    ],
)
def test_wrong_searches(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        search_of(plan(**changes))


def test_a_part_of_an_option_replaces_that_of_its_whole_in_any_order() -> None:
    part = {"model.correction.width": {"choice": [8]}}
    whole = {"model.correction": {"choice": [{"name": "unet", "width": 4}]}}
    for space in ({**part, **whole}, {**whole, **part}):
        search = search_of(plan(search=space))
        options = {name: values["choice"][0] for name, values in space.items()}
        assert search.experiment(options).content["model"]["correction"]["width"] == 8
