"""A model divided between two processes is the model: the same losses, weights, answers and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from named_cases import CORRECTED, PYG
from processes import together
from sharded_runs import IN_FLOAT, crosses, in_folder
from sharded_trainings import trainings
from sharded_uses import uses

from neuralop_irno import IterativeRefiner

TRAINED = ("fno", "tfno", "uno", "points", "graphs")
PYG_NAMES = {f"pyg:{name}" for name in PYG} - {"pyg:GCN", "pyg:GAT"}
"""Of PyTorch Geometric's networks two are enough: they are the same to FSDP2."""
CASES = [
    *(("base", name, False) for name in TRAINED),
    ("base", "graphs", True),
    *(
        ("correction", name, True)
        for name, case in CORRECTED.items()
        if name not in PYG_NAMES and case.refused is None
    ),
]
BOUNDS = {"implicit": 1e-5, "plain": 1e-6}  # solved to a tolerance; in single precision


@pytest.fixture(scope="module")
def trained() -> dict[tuple[str, str, bool], list[Any]]:
    """What both processes found for each case."""
    return dict(zip(CASES, zip(*together(crosses, 2, CASES), strict=True), strict=True))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What both processes found for each training by the trainer."""
    return together(trainings, 2, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What both processes found for each use."""
    return together(uses, 2, tmp_path_factory.mktemp("files"))


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{'frozen' if case[2] else 'trained'}"
)
def test_every_name_trains_as_in_one_process(case: Any, trained: dict[Any, list[Any]]) -> None:
    for found in trained[case]:
        if case[1] == "sfno":
            assert (
                "expected weights that are read as they are registered, got tensor of ComplexDense" in found
            )
            continue
        assert isinstance(found, dict), found
        bound = 1e-5 if case[1] in IN_FLOAT else 1e-12
        assert all(found[name] < bound for name in ("loss", "weights", "answer")), found
        assert found["moved"] > 1e-3


@pytest.mark.parametrize(
    "name",
    [
        "unrolled",
        "checkpointed",
        "last",
        "one_step",
        "implicit",
        "neumann",
        "contraction",
        "blocks",
        "plain",
        "rollout",
    ],
)
def test_rules_losses_and_models_train_as_in_one_process(name: str, used: list[dict[str, Any]]) -> None:
    for found in used:
        assert isinstance(found[name], float), found[name]
        assert found[name] < BOUNDS.get(name, 1e-12)


def test_solves_iterates_and_averages_are_those_of_one_process(used: list[dict[str, Any]]) -> None:
    for found in used:
        assert isinstance(found["solved"], dict), found["solved"]
        assert max(found["solved"].values()) < 1e-12


def test_processes_may_take_other_numbers_of_steps(used: list[dict[str, Any]]) -> None:
    assert [found["different steps"] for found in used] == [True, True]


def test_files_have_whole_weights_to_the_bit_and_are_read_into_parts(used: list[dict[str, Any]]) -> None:
    for found in used:
        assert isinstance(found["files"], dict), found["files"]
        assert [name for name, same in found["files"].items() if not same] == []


def test_a_process_holds_half_of_weights_gradients_and_moments(used: list[dict[str, Any]]) -> None:
    for name in ("weights", "gradients", "moments"):
        own, numbers = zip(*(found["numbers"][name] for found in used), strict=True)
        assert sum(own) == numbers[0] == numbers[1]
        assert all(abs(part / numbers[0] - 0.5) < 0.02 for part in own)


def test_what_cannot_be_divided_or_read_is_refused(used: list[dict[str, Any]]) -> None:
    for found in used:
        wanted = [line.partition("expected ")[2].partition(", got")[0] for line in found["refusals"]]
        assert wanted == [
            "a DeviceMesh with one axis",
            "a model with whole weights",
            "weights with an axis to divide",
            "blocks that are layers of the base",
            "whole weights for phi",
            "whole weights for with_base",
            "a move before shard",
            "a model in one process to copy or pickle",
            "a backward pass through the model's answer",
        ]


def test_a_call_that_fails_leaves_a_model_that_can_be_trained(used: list[dict[str, Any]]) -> None:
    assert all(found["after an error"] > 0 for found in used)


@pytest.mark.parametrize("name", ["frozen=False", "frozen=True", "last weights", "plain", "sgd"])
def test_the_trainer_trains_as_with_whole_weights(name: str, fitted: list[dict[str, Any]]) -> None:
    for found in fitted:
        assert isinstance(found[name], float), found[name]
        assert found[name] < 1e-12


@pytest.mark.parametrize("name", ["parts", "whole", "frozen"])
def test_a_training_that_was_ended_goes_on(name: str, fitted: list[dict[str, Any]]) -> None:
    """To the same bits in parts; with whole weights gradients are added in another order."""
    for found in (each[f"resumed {name}"] for each in fitted):
        assert isinstance(found, dict), found
        assert found["file"] == 0
        assert max(found.values()) <= (1e-5 if name == "whole" else 0)


def test_muon_is_refused(fitted: list[dict[str, Any]]) -> None:
    for found in fitted:
        assert found["muon"].startswith("expected an optimizer for weights in parts, got muon")
        assert found["muon"].endswith("try optimizer: adamw")


def test_the_example_runs_as_documented(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples/sharded_training.py"
    assert together(in_folder, 2, tmp_path, str(example)) == [(0, ""), (0, "")]
    assert IterativeRefiner.from_pretrained(tmp_path / "sharded").steps == 4
    page = (example.parents[1] / "docs/parallel.md").read_text()
    block = page.partition("```py\n")[2].partition("```")[0]
    assert block in example.read_text()
