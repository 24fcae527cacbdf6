"""Every contender is searched alike: its trials are trained, and the best on validation data is taken."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import memory_not_measured, one_base, words  # noqa: F401 - a fixture

from neuralop_irno import IterativeRefiner
from neuralop_irno.base.adapters import adapters_of
from neuralop_irno.study import catalogue
from neuralop_irno.study.contenders import Contender, Setting, contender, digest
from neuralop_irno.study.cost import megaflops
from neuralop_irno.study.forecast import phases_of_study
from neuralop_irno.study.plan import Run, Study, Trial, Variant, plain_of, study_from, study_of
from neuralop_irno.study.runner import StudyRunner


def study(**variants: Any) -> Study:
    content = words(seeds=(0,), problems=one_base(depth=1), variants={"refined": {}, **variants})
    return study_from({"name": "tiny", **content})


def setting(of: Study, variant: str, trial: Trial = Trial()) -> Setting:  # noqa: B008 - immutable
    problem = of.problems["burgers"]
    splits = problem.experiment("fno", Variant("base"), 0).splits()
    base = contender(Setting(problem.experiment("fno", Variant("base"), 0), Variant("base"), None, splits, 0))
    own = of.variants[variant]
    return Setting(problem.experiment("fno", own, 0), own, base.model, splits, 0, trial)


def size(built: Contender) -> int:
    return sum(weight.numel() for weight in built.counted.parameters())


@pytest.mark.parametrize("deeper", [0, 1])
def test_the_capacity_matched_control_has_all_epochs_and_no_less_of_anything(deeper: int) -> None:
    of = study(matched={"role": "capacity_matched", "deeper": [0, 1]})
    refined, own = contender(setting(of, "refined")), setting(of, "matched", Trial(deeper))
    matched, test = contender(own), own.splits["test"]
    assert size(matched) >= size(refined)
    assert megaflops(matched.model, test) >= megaflops(refined.model, test)
    assert matched.recipe == replace(refined.recipe, replay=0)
    assert matched.model.steps == 1


@pytest.mark.parametrize(
    "role", ["refined", "same_parameters", "same_compute", "capacity_matched", "lora", "last_layer", "alone"]
)
def test_a_loss_is_balanced_where_there_is_a_base_whose_errors_it_measures(role: str) -> None:
    balanced: dict[str, Any] = {"role": role, "loss": {"balance": 0.5}}
    if role == "alone":
        balanced["network"] = {"model_arch": "fno", "n_modes": [2], "hidden_channels": 4, "n_layers": 1}
    built = contender(setting(study(balanced=balanced), "balanced"))
    assert built.loss.measures == isinstance(built.model, IterativeRefiner)


@pytest.mark.parametrize("role", ["lora", "frequency_adapters"])
def test_adapters_have_as_many_parameters_as_phi_and_leave_the_base(role: str) -> None:
    of = study(adapted={"role": role})
    refined, own = contender(setting(of, "refined")), setting(of, "adapted")
    before = [name for name, _ in own.base.named_parameters()]
    adapted = contender(own)
    assert size(adapted) == pytest.approx(size(refined), rel=0.1)
    trains = {id(weight) for weight in adapted.model.parameters() if weight.requires_grad}
    assert trains == {id(weight) for weight in adapters_of(adapted.model).parameters()}
    assert adapted.recipe == replace(refined.recipe, replay=0)
    assert [name for name, _ in own.base.named_parameters()] == before  # it is a copy that has them
    call = {"x": own.splits["test"][0]["x"][None]}
    assert (adapted.model(**call) == own.base(**call)).all()


def test_trials_are_of_one_recipe_and_told_apart() -> None:
    of = study(matched={"role": "capacity_matched", "deeper": [0, 1], "rates": [1, 0.5]})
    trials = of.variants["matched"].trials
    assert trials == [(0, 1), (0, 0.5), (1, 1), (1, 0.5)]
    settings = [setting(of, "matched", trial) for trial in trials]
    assert len({*map(digest, settings)}) == 4
    as_it_is = study(matched={"role": "capacity_matched"})
    assert digest(settings[0]) == digest(setting(as_it_is, "matched"))
    first, *others = (contender(own) for own in settings)
    for trial, built in zip(trials[1:], others, strict=True):
        assert built.recipe.peak == trial.rate * first.recipe.peak
        assert replace(built.recipe, learning_rate=first.recipe.learning_rate) == first.recipe
    assert study_of(plain_of(of)) == of


@pytest.mark.usefixtures("memory_not_measured")
def test_the_best_on_validation_data_is_taken_and_the_record_names_it(tmp_path: Path) -> None:
    """Beside trials that cannot learn. The first seed decides for all."""
    rates = [1e-9, 1.0, 1e-8]
    changes: dict[str, Any] = {"seeds": (0, 1), "problems": one_base(depth=1)}
    once = {"once": {"role": "same_parameters"}}
    searched = {"once": {"role": "same_parameters", "deeper": [1, 0], "rates": rates}}
    records = []
    for place, variants in (("plain", once), ("searched", searched)):
        of = study_from({"name": "tiny", **words(**changes, variants=variants)})
        StudyRunner(of, tmp_path / place, "cpu", lambda text: None, False, tmp_path / "trained").run()
        for seed in (0, 1):
            name = f"{Run('burgers', 'fno', 'once', seed).name}.json"
            records.append(json.loads((tmp_path / place / "runs" / name).read_text()))
    assert records[2]["notes"][0].split(":")[0] == records[3]["notes"][0].split(":")[0]
    for seed, (plain, best) in enumerate(zip(records[:2], records[2:], strict=True)):
        (note,) = best["notes"]
        whose = " with seed 0" if seed else ""
        assert f"the best of 6 on validation data{whose} (deeper by 1, 1e-09 of the rate: " in note
        scores = [float(part.rsplit(" ", 1)[1].strip(")")) for part in note.split("(")[1].split("; ")]
        chosen = note.split(":")[0]
        assert note.split("(")[1].split("; ")[scores.index(min(scores))].startswith(f"{chosen}: ")
        if chosen == "deeper by 0, 1 of the rate":
            assert best["measured"] == plain["measured"]
        assert chosen.endswith("1 of the rate")
    folders = list((tmp_path / "trained").glob("burgers.fno.same_parameters.*"))
    taken = records[3]["notes"][0].startswith("deeper by 0, 1 of the rate")
    assert len(folders) == 6 + 2 - taken  # all with seed 0, with seed 1 the plain one and the best


@pytest.mark.usefixtures("memory_not_measured")
def test_a_later_seed_reads_the_choice_in_the_record_of_the_first(tmp_path: Path) -> None:
    """So records alone continue a study, whose models may be gone."""
    content = words(problems=one_base(), variants={"refined": {"rates": [1e-9, 1.0, 1e-8]}})
    found = []
    for seeds in ((0,), (0, 1)):
        of = study_from({"name": "tiny", **content, "seeds": seeds})
        StudyRunner(of, tmp_path / "study", "cpu", lambda text: None, False).run()
        records = (
            tmp_path / "study/runs" / f"{Run('burgers', 'fno', 'refined', seed).name}.json" for seed in seeds
        )
        found = [json.loads(record.read_text())["notes"] for record in records]
        if len(seeds) == 1:
            shutil.rmtree(tmp_path / "study/trained")
    assert found[1] == [
        note.replace("on validation data", "on validation data with seed 0") for note in found[0]
    ]
    trained = [folder.name.split(".")[2:4] for folder in (tmp_path / "study/trained").iterdir()]
    assert sorted(trained) == [["base", "seed1"], ["refined", "seed1"]]


def test_every_depth_is_planned_and_a_rate_for_all() -> None:
    of = study(matched={"role": "capacity_matched", "deeper": [0, 1], "rates": [1, 0.5]})
    splits = setting(of, "refined").splits
    phases = list(phases_of_study(of, splits))
    assert [phase.name for phase in phases] == [
        "burgers, fno, base",
        "burgers, fno, refined",
        "burgers, fno, matched, deeper by 0",
        "burgers, fno, matched, deeper by 1",
    ]
    refined, *matched = phases[1:]
    assert all(phase.megaflops >= refined.megaflops for phase in matched)


@pytest.mark.parametrize("scale", catalogue.SCALES)
@pytest.mark.parametrize("name", ["main", "rivals"])
def test_in_the_tables_of_controls_all_are_searched_alike_with_one_optimiser(name: str, scale: str) -> None:
    of = catalogue.read_study(name, scale)
    searched = {variant: len(own.trials) for variant, own in of.variants.items() if variant != "base"}
    assert len({*searched.values()}) == 1, searched
    assert {"capacity_matched", "same_parameters"} <= {own.role for own in of.variants.values()}
    for problem in of.problems.values():
        base = next(iter(problem.bases))
        recipes = [problem.experiment(base, own, 0).training for own in of.variants.values()]
        same = {
            (recipe.optimizer, recipe.schedule, recipe.batch_size, recipe.weight_decay) for recipe in recipes
        }
        assert len(same) == 1


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ({"deeper": [1]}, "expected deeper for the roles same_parameters, .* alone, got refined; try"),
        ({"rates": []}, r"expected rates as different numbers > 0, got \[\]; try rates: "),
        ({"rates": [1, 0]}, r"expected rates as different numbers > 0"),
        ({"role": "same_compute", "deeper": [0, 0]}, "expected deeper as different numbers >= 0"),
        ({"role": "same_compute", "deeper": [-1]}, "expected deeper as different numbers >= 0"),
    ],
)
def test_what_is_no_search_teaches(variant: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        study(own=variant)
