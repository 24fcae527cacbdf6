"""Several real processes train as one: the same weights whatever the last batch holds, and one end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import joint_runs
import pytest
import torch
import yaml
from processes import PATIENCE, together

from neuralop_irno.solution import Outcome
from neuralop_irno.training.distributed import local_device

BATCH = 4


def test_processes_are_one_for_every_remainder() -> None:
    alone = joint_runs.remainders(BATCH)
    for own in together(joint_runs.remainders, 2, BATCH):
        for ours, theirs in zip(own, alone, strict=True):
            assert ours["weights"] == pytest.approx(theirs["weights"], rel=1e-3, abs=1e-5)
            assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)


def test_parameters_may_be_unused() -> None:
    first, second = together(joint_runs.unused, 2)
    assert first == second


@pytest.mark.parametrize("world", [1, 2])
def test_a_run_that_ended_within_an_epoch_goes_on_as_if_it_had_not(tmp_path: Path, world: int) -> None:
    """Interrupted, or stopped by a signal to one of the processes: all stop, with a snapshot."""
    found = together(joint_runs.endings, world, tmp_path)
    for own in found:
        whole = own[""]
        assert (whole["code"], whole["restored"]) == (None, True)
        codes = {how: run["code"] for how, run in own.items() if how}
        assert codes == {"interrupt": "interrupted", "SIGTERM": 143, "SIGHUP": 143}
        for run in own.values():
            assert run["history"] == whole["history"] == found[0][""]["history"]
            assert run["weights"] == whole["weights"] == found[0][""]["weights"]
            assert run["restored"]


@pytest.mark.parametrize(("save_every", "when"), [(0, "epoch 1"), (1, "update 1")])
def test_a_reporter_of_the_first_process_stops_all(save_every: int, when: str) -> None:
    first, second = together(joint_runs.reported, 2, save_every)
    assert (first["logs"], second["logs"]) == (1, 0)
    assert first["history"] == second["history"]
    assert [record["stopped"] for record in first["history"]] == [f"Counter after {when}"]


@pytest.mark.parametrize(("samples", "shares"), [(5, [3, 2]), (1, [1, 0])])
def test_processes_share_the_solves_of_validation_samples(samples: int, shares: list[int]) -> None:
    alone, (first, *others) = joint_runs.solved(samples), together(joint_runs.solved, 2, samples)
    assert [own["samples"] for own in (first, *others)] == shares
    assert alone["samples"] == samples
    (wanted,), (found,) = alone["solves"], first["solves"]
    assert found == pytest.approx(wanted, rel=1e-9)
    assert sum(wanted[f"solve/{outcome.name.lower()}"] for outcome in Outcome) == samples


@pytest.mark.parametrize("rank", [0, 1])
def test_the_cause_of_an_end_is_printed_once(rank: int, tmp_path: Path) -> None:
    """The process that fails prints it; of the others the first one refers to it."""
    correction = {"name": "unet", "width": 2, "depth": 0, "dim": 1}
    config = {
        "data": {"name": "burgers", "dim": 1, "size": 8, "trajectories": [8, 2, 2]},
        "model": {"correction": correction, "steps": 1, "in_channels": 1, "out_channels": 1},
        "training": {"batch_size": 4, "cache_base": False},
        "folder": str(tmp_path / "run"),
    }
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    ended = together(joint_runs.broken, 2, str(file), rank)
    assert [code for code, _ in ended] == [2 if place == rank else 1 for place in range(2)]
    own = "irno: expected a base that works, got one that does not; try another"
    other = "irno: another process has ended; its message is the cause, or torchrun's if it was killed"
    lines = [[line for line in text.splitlines() if line.startswith("irno: ")] for _, text in ended]
    assert lines == ([[own], []] if rank == 0 else [[other], [own]])


def test_torchrun_starts_what_trains_as_one(tmp_path: Path) -> None:
    script = str(Path(__file__).with_name("small_run.py"))
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [sys.executable, *torchrun, script, str(tmp_path), "epochs=1", 'gradient="unrolled"']
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert first == second


def ranked(monkeypatch: pytest.MonkeyPatch, rank: int, processes: int, gpus: int) -> None:
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)


def test_each_process_gets_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert local_device("cuda") == torch.device("cuda")
    ranked(monkeypatch, rank=1, processes=2, gpus=2)
    assert local_device("cuda") == torch.device("cuda", 1)
    assert local_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("device", "gpus", "named"),
    [
        ("cuda", 1, "expected at most as many processes as GPUs, got 2 processes and 1 GPUs"),
        ("cuda:0", 2, "expected one GPU for each process, got cuda:0 for all 2; try the device cuda"),
    ],
)
def test_processes_that_would_share_a_gpu_are_refused(
    monkeypatch: pytest.MonkeyPatch, device: str, gpus: int, named: str
) -> None:
    ranked(monkeypatch, rank=0, processes=2, gpus=gpus)
    with pytest.raises(ValueError, match=named):
        local_device(device)
