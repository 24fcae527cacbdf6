"""Networks in the place of a base: its words, its training, and as many parameters."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import written

from neuralop_irno.networks.graph_networks import GnnStack, Pign
from neuralop_irno.study import catalogue
from neuralop_irno.study.contenders import Contender, Setting, contender, digest
from neuralop_irno.study.plan import Run, study_from
from neuralop_irno.study.runner import StudyRunner

STACK = {"model_arch": "gnn_stack", "conv": "sage", "width": 16, "layers": 2, "dropout": 0.2}


def words(**changes: Any) -> dict[str, Any]:
    """A study of a few papers."""
    papers = {
        "data": {"name": "citations", "scale": 0.1, "labels": 5},
        "bases": {"sage": STACK},
        "base_training": {"epochs": 3, "learning_rate": 1e-2},
        "model": {},
    }
    network = {"model_arch": "pign", "steps": 3}
    variants = {"pign": {"role": "rebuilt", "network": network, "training": {"epochs": 2}}}
    return {
        "kind": "main",
        "about": "An example.",
        "seeds": [0],
        "problems": {"papers": papers},
        "variants": variants,
        **changes,
    }


def contenders(study: Any, problem: str) -> dict[tuple[str, str], Contender]:
    """Every model of a problem, untrained."""
    splits = (
        study.problems[problem]
        .experiment(next(iter(study.problems[problem].bases)), study.variants["base"], 0)
        .splits()
    )
    found: dict[tuple[str, str], Contender] = {}
    for base in study.problems[problem].bases:
        for name, variant in study.variants.items():
            own = study.problems[problem].experiment(base, variant, 0)
            standing = found[base, "base"].model if name != "base" else None
            found[base, name] = contender(Setting(own, variant, standing, splits, 0))
    return found


def size(built: Contender) -> int:
    return sum(weight.numel() for weight in built.counted.parameters())


def test_it_has_the_words_of_the_base_that_it_takes_and_its_own() -> None:
    found = contenders(study_from({"name": "tiny", **words()}), "papers")
    base, pign = found["sage", "base"], found["sage", "pign"]
    assert isinstance(base.model, GnnStack)
    assert isinstance(pign.model, Pign)
    assert pign.model.network.steps == 3
    assert pign.model.dropout == 0.2
    assert type(pign.model.network.block.conv).__name__ == "SAGEConv"
    assert pign.model.encoder.out_features > 16  # one block in place of two leaves room
    assert abs(size(pign) / size(base) - 1) < 0.03  # a step of the width is 5 %
    assert pign.recipe == replace(base.recipe, epochs=2)
    assert pign.loss.weights == base.loss.weights
    assert pign.loss.weights["cross_entropy"] == 1
    assert not pign.loss.weights["spatial"]


def test_a_network_of_neuraloperators_is_as_wide_as_the_base_allows() -> None:
    fno = {"model_arch": "fno", "n_modes": [4], "hidden_channels": 8, "n_layers": 2}
    waves = {
        "data": {"name": "burgers", "trajectories": [1, 1, 1], "frames": 2, "size": 8},
        "bases": {"fno": fno},
    }
    deeper = {"role": "rebuilt", "network": {"model_arch": "fno", "n_layers": 4}}
    changes = {"problems": {"waves": {**waves, "model": {}}}, "variants": {"deeper": deeper}}
    found = contenders(study_from({"name": "tiny", **words(**changes)}), "waves")
    model = found["fno", "deeper"].model
    assert model.n_layers == 4
    assert 4 <= model.hidden_channels < 8


def test_a_seed_is_a_network() -> None:
    study = study_from({"name": "tiny", **words()})
    twins = [contenders(study, "papers")["sage", "pign"].model.state_dict() for _ in range(2)]
    assert all(torch.equal(twins[0][name], tensor) for name, tensor in twins[1].items())


def test_what_it_is_trained_from_tells_it_apart() -> None:
    first = study_from({"name": "tiny", **words()})
    other = words()
    other["variants"]["pign"]["network"]["steps"] = 4
    second = study_from({"name": "tiny", **other})
    settings = []
    for study in (first, second):
        variant = study.variants["pign"]
        settings.append(
            Setting(study.problems["papers"].experiment("sage", variant, 0), variant, None, None, 0)
        )
    assert digest(settings[0]) != digest(settings[1])


def test_a_network_is_for_the_roles_that_have_one() -> None:
    with pytest.raises(ValueError, match="expected a network for the role 'alone' or 'rebuilt'"):
        study_from({"name": "tiny", **words(variants={"a": {"role": "rebuilt"}})})


def test_a_study_of_classes_runs(tmp_path: Path) -> None:
    study = catalogue.read_study(str(written(tmp_path, words())))
    table = StudyRunner(study, tmp_path / "study", "cpu", lambda text: None, False).run()
    rows = {row["variant"]: row for row in table.results}
    assert 0 < rows["base"]["error"].mean < 1
    assert rows["base"]["of the base's"].mean == 1
    record = json.loads(
        (tmp_path / "study/runs" / f"{Run('papers', 'sage', 'pign', 0).name}.json").read_text()
    )
    assert record["updates"] == 2
    assert table.notes == []  # a base of classes is no field to be probed


@pytest.mark.parametrize("name", ["picard_noise", "picard_second_graph", "picard_long_range"])
def test_rivals_on_graphs_have_as_many_parameters(name: str) -> None:
    study = catalogue.read_study(name)
    assert len(study.seeds) == 5
    problem = next(iter(study.problems))
    found = contenders(study, problem)
    assert {variant for _, variant in found} >= {"base", "pign", "itergnn"}
    assert len({base for base, _ in found}) == 3
    for (base, _), built in found.items():
        assert abs(size(built) / size(found[base, "base"]) - 1) < 0.02
