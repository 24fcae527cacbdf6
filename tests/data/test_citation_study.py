"""Cora and CiteSeer in the study of table 5 of the Picard paper: its settings, and a run on small files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pickled_layouts import planetoid_files

from neuralop_irno.data.solvers.citations import citation_graph
from neuralop_irno.study.catalogue import read_study
from neuralop_irno.study.plan import Study
from neuralop_irno.study.runner import StudyRunner
from neuralop_irno.study.schedule import FailedRunsError

FILE = str(Path(__file__).parents[2] / "examples" / "studies" / "citations.yaml")
GRAPHS = ("Cora", "CiteSeer")


def small(folder: Path) -> Study:
    """The study with one seed and two epochs, on files in a folder."""
    study = read_study(FILE)
    problems = {
        name: replace(
            problem,
            data={**problem.data, "folder": str(folder)},
            base_training={**(problem.base_training or {}), "epochs": 2},
        )
        for name, problem in study.problems.items()
    }
    return replace(study, problems=problems, seeds=(0,))


def test_the_settings_are_those_of_the_paper() -> None:
    study = read_study(FILE)
    data = {name: problem.data for name, problem in study.problems.items()}
    assert {(part["graph"], part.get("noise", 0.0)) for part in data.values()} == {
        (graph, noise) for graph in GRAPHS for noise in (0.0, 0.5)
    }
    assert study.seeds == tuple(range(100))
    for problem in study.problems.values():
        assert sorted(base["conv"] for base in problem.bases.values()) == ["gat", "gcn"]
        for base in problem.bases.values():
            assert (base["model_arch"], base["layers"], base["width"]) == ("gnn_stack", 2, 64)
        assert problem.base_training is not None
        assert problem.base_training["epochs"] == 200
    networks = {name: variant.network for name, variant in study.variants.items() if name != "base"}
    assert {name: network["steps"] for name, network in networks.items()} == {"itergnn": 8, "pign": 8}
    assert not networks["pign"].get("inject")  # algorithm 1 has no f


def test_it_says_which_files_are_missing_and_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(FailedRunsError) as caught:
        StudyRunner(small(tmp_path / "none"), tmp_path / "run", "cpu", lambda text: None, False).run()
    text = str(caught.value)
    for graph in GRAPHS:
        assert f"expected the files ind.{graph.lower()}.* in " in text
        assert f"torch_geometric.datasets.Planetoid('{tmp_path / 'none'}', '{graph}')" in text


def test_it_runs_on_files_in_the_layout(tmp_path: Path) -> None:
    for seed, (graph, like) in enumerate(zip(GRAPHS, ("cora", "citeseer"), strict=True)):
        planetoid_files(tmp_path, citation_graph(like, scale=0.35, labels=5, seed=seed), graph)
    table = StudyRunner(small(tmp_path), tmp_path / "run", "cpu", lambda text: None, False).run()
    rows: dict[Any, Any] = {(row["problem"], row["base"], row["variant"]): row for row in table.results}
    assert len(rows) == 4 * 2 * 3
    assert all(0 < row["error"].mean < 1 for row in rows.values())
    sizes = {(row["problem"], row["base"], row["variant"]): row["parameters"] for row in table.costs}
    for (problem, base, _), size in sizes.items():
        assert abs(size / sizes[problem, base, "base"] - 1) < 0.02
