"""The studies of Picard networks: what the paper's tables have is in them, and they run on a few samples."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import memory_not_measured  # noqa: F401 - a fixture

from neuralop_irno.study import catalogue
from neuralop_irno.study.plan import Study
from neuralop_irno.study.runner import StudyRunner

FLOWS = {
    "name": "turbulence",
    "trajectories": [2, 1, 1],
    "frames": 5,
    "size": 16,
    "resolution": 16,
    "warmup": 0.1,
}


def cut(name: str, data: dict[str, Any], variants: tuple[str, ...], **training: Any) -> Study:
    """A study of the package on small data, one epoch, one seed, with some of its variants."""
    study = catalogue.read_study(name)
    recipe = {"epochs": 1, "batch_size": 2, **training}
    problems = {
        key: replace(
            problem,
            data=data,
            base_training={**(problem.base_training or {}), **recipe},
            training={**problem.training, **recipe},
        )
        for key, problem in study.problems.items()
    }
    kept = {key: study.variants[key] for key in ("base", *variants)}
    return replace(study, problems=problems, variants=kept, seeds=(0,))


def errors(study: Study, folder: Path) -> dict[tuple[str, str], float]:
    """The errors of a finished study, by base and variant."""
    table = StudyRunner(study, folder, "cpu", lambda text: None, False).run()
    assert not any("diverged" in note for note in table.notes)
    return {(row["base"], row["variant"]): row["error"].mean for row in table.results}


def test_the_integral_equation_has_every_cell_of_the_paper_s_table_4() -> None:
    study = catalogue.read_study("picard_integral_grid")
    cells = {
        (network["heads"], network["layers"], network["steps"])
        for network in (
            *(variant.network for variant in study.variants.values() if variant.network),
            study.problems["heads_and_blocks"].bases["anie"],
        )
    }
    rows = ((1, 1), (4, 1), (2, 2), (4, 4))
    assert cells == {(*row, steps) for row in rows for steps in (1, 2, 4, 6, 8)}
    assert len(study.variants) == 20
    assert len(study.seeds) == 5
    for name, variant in study.variants.items():
        if variant.network:
            network = variant.network
            assert name.startswith(f"{network['heads']}H {network['layers']}B, {network['steps']} step")
            assert variant.role == "alone"


@pytest.mark.usefixtures("memory_not_measured")
def test_the_integral_equation_is_trained(tmp_path: Path) -> None:
    study = cut("picard_integral_grid", FLOWS, ("1H 1B, 2 steps", "4H 4B, 2 steps"))
    assert all(0 < error < 2 for error in errors(study, tmp_path).values())


def test_the_four_transformers_have_every_cell_of_the_paper_s_table_2() -> None:
    study = catalogue.read_study("picard_four_transformers")
    problem = study.problems["four_transformers"]
    assert sorted(problem.bases) == ["vit", "vit_3d", "vit_parallel", "vit_small"]
    assert {base["steps"] for base in problem.bases.values()} == {1}
    assert [study.variants[f"{steps} steps"].network["steps"] for steps in (2, 3)] == [2, 3]
    assert len(study.seeds) == 5


@pytest.mark.usefixtures("memory_not_measured")
def test_the_four_transformers_are_trained_with_as_many_parameters(tmp_path: Path) -> None:
    study = cut("picard_four_transformers", FLOWS, ("3 steps",))
    assert all(0 < error < 2 for error in errors(study, tmp_path).values())
    sizes: dict[str, set[int]] = {}
    for path in (tmp_path / "runs").glob("*.json"):
        record = json.loads(path.read_text())
        sizes.setdefault(record["base"], set()).add(record["parameters"])
    assert len(sizes) == 4
    assert all(len(each) == 1 for each in sizes.values())
