"""Any number of processes makes the same training: batches, draws, losses, scores and weights."""

from __future__ import annotations

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
