"""Any number of processes makes the same training: batches, draws, losses, scores and weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joint_runs
import pytest
from processes import together


@pytest.fixture(scope="module")
def alone() -> list[dict[str, Any]]:
    return joint_runs.every_case()


def assert_close(ours: dict[str, Any], theirs: dict[str, Any], rel: float) -> None:
    assert ours["weights"] == pytest.approx(theirs["weights"], rel=rel, abs=rel)
    for own, other in zip(ours["history"], theirs["history"], strict=True):
        assert {key: value for key, value in own.items() if key not in ("loss", "valid")} == {
            key: value for key, value in other.items() if key not in ("loss", "valid")
        }
        assert own["loss"] == pytest.approx(other["loss"], rel=rel)
        assert own["valid"] == pytest.approx(other["valid"], rel=rel)


def test_several_processes_are_one(alone: list[dict[str, Any]]) -> None:
    for own in together(joint_runs.every_case, 4):
        for place, (ours, theirs) in enumerate(zip(own, alone, strict=True)):
            assert_close(ours, theirs, 1e-12 if place % 2 else 1e-5)


def test_a_run_goes_on_with_any_number_of_processes(alone: list[dict[str, Any]], tmp_path: Path) -> None:
    assert together(joint_runs.cut_at, 4, tmp_path, 7) == [[None] * 4] * 4
    assert together(joint_runs.cut_at, 2, tmp_path, 13) == [[None] * 4] * 2
    found = joint_runs.cut_at(tmp_path, -1)
    cases = list(joint_runs.CASES)
    for (case, _), ours in zip(joint_runs.REPLAYED, found, strict=True):
        assert_close(ours, alone[2 * cases.index(case) + 1], 1e-12)
    for folder in tmp_path.iterdir():
        assert len(list(folder.glob(".snapshot-*"))) == 2
        assert len(list(folder.glob(".states-*"))) == ("disk" in joint_runs.REPLAYED[int(folder.name)])
        assert not list(folder.glob(".starts-*"))


@pytest.mark.parametrize("case", ["replay, shifts", "graphs, replay", "several grids"])
def test_states_are_the_same_in_any_memory(case: str, tmp_path: Path) -> None:
    device, host, disk = (
        joint_runs.trained(case, False, tmp_path / states, states=states)
        for states in ("device", "host", "disk")
    )
    assert device == host == disk
