"""What a study's file may say, and what it is taken to say."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import words, written

from neuralop_irno._neuralop import build_model
from neuralop_irno.correction.stepwise import Stepwise
from neuralop_irno.study import catalogue
from neuralop_irno.study.kinds import KINDS, check_kind
from neuralop_irno.study.plan import Run, Variant, study_from


def study(**changes: Any) -> Any:
    return study_from({"name": "tiny", **words(**changes)})


def test_bases_come_before_what_stands_on_them() -> None:
    runs = study().runs()
    assert len(runs) == 2 * (2 + 2 * 2)  # seeds x (bases + bases x variants)
    assert len(set(runs)) == len({run.name for run in runs}) == len(runs)
    for seed in (0, 1):
        names = [(run.base, run.variant) for run in runs if run.seed == seed]
        assert names[:2] == [("fno", "base"), ("other", "base")]


def test_a_run_has_a_name_for_files() -> None:
    assert Run("a", "b", "K = 2", 3).name == "a.b.K2.seed3"
    assert "/" not in Run("a/b", "c", "../d", 0).name


def test_a_variant_changes_the_words_of_its_problem_and_nothing_else() -> None:
    found = study(variants={"wide": {"model": {"correction": {"width": 8}}, "training": {"epochs": 5}}})
    problem = found.problems["burgers"]
    plain, wide = (problem.experiment("fno", v, seed=7) for v in (Variant(), found.variants["wide"]))
    assert wide.model.options["correction"] == {"name": "unet", "width": 8, "depth": 0}
    assert plain.model.options["correction"]["width"] == 4
    assert (wide.training.epochs, plain.training.epochs) == (5, 2)
    assert wide.training.seed == wide.base_training.seed == 7
    assert (wide.data, wide.loss) == (plain.data, plain.loss)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "mian"}, "a kind of study, got 'mian'; try 'main'"),
        ({"kind": ["main", "trasnfer"]}, "a kind of study, got 'trasnfer'; try 'transfer'"),
        ({"kind": []}, "at least one kind, got none"),
        (
            {"kind": ["main", "extrapolation"], "options": {"tims": 3}},
            "an option of the study kind 'main', got 'tims'",
        ),
        ({"options": {"tims": 3}, "kind": "dynamics"}, "an option of the study kind 'dynamics', got 'tims'"),
        ({"options": {"trained": 3}}, "an option of the study kind 'main', got 'trained'"),
        ({"sedes": [0]}, "an option of the study, got 'sedes'; try 'seeds'"),
        ({"seeds": ()}, "at least one seed, got none"),
        ({"seeds": (1, 1)}, "different seeds >= 0, got [1, 1]; try seeds"),
        ({"seeds": (0, -1)}, "different seeds >= 0, got [0, -1]"),
        ({"variants": {"base": {}}}, "variants other than 'base', got 'base'"),
        ({"variants": {"a": {"role": "refind"}}}, "a role, got 'refind'; try 'refined'"),
        ({"variants": {"a": {"modle": {}}}}, "an option of the variant 'a', got 'modle'; try 'model'"),
        ({"variants": {"a": {"role": "alone"}}}, "a network for the role 'alone' or 'rebuilt', and for no"),
        ({"variants": {"a": {"training": {"epoch": 1}}}}, "an option of the training, got 'epoch'"),
        ({"variants": {"a": {"loss": {"spectrall": 1}}}}, "an option of the loss, got 'spectrall'"),
        (
            {"variants": {"a": {"role": "alone", "network": {"model_arch": "fnoo"}}}},
            "the name of a model, got 'fnoo'; try 'fno'",
        ),
    ],
)
def test_mistakes_are_named_before_anything_is_trained(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=r"^expected ") as caught:
        check_kind(study(**changes))
    assert message in str(caught.value)


def test_mistakes_of_type() -> None:
    for changes in ({"variants": ["refined"]}, {"problems": None}, {"seeds": (0.5,)}):
        with pytest.raises(TypeError, match=r"^expected "):
            study(**changes)


@pytest.mark.parametrize("scale", catalogue.SCALES)
@pytest.mark.parametrize("name", catalogue.names())
def test_studies_of_the_package_are_whole(name: str, scale: str) -> None:
    """Every file is read, its kind is known, and every refiner in it can be built around its base."""
    found = catalogue.read_study(name, scale)
    check_kind(found)
    assert found.about.endswith(".")
    assert len(found.seeds) >= 3
    channels = {"turbulence": (2, 4), "heat": (4, 1), "waves": (2, 1)}
    channels |= {"patches": (2, 4), "space_time": (2, 4), "heads_and_blocks": (2, 4)}
    channels |= {"four_transformers": (2, 4), "masked_textures": (1, 1)}
    channels |= {f"citations_{noise}": (9, 7) for noise in ("00", 10, 20, 30, 40, 50)}
    channels |= {f"second_graph_{noise}": (9, 7) for noise in ("00", 50)}
    fields = ("burgers", "resolved_burgers", "super_resolution", "darcy", "kuramoto_sivashinsky")
    channels |= dict.fromkeys(fields, (1, 1))
    channels |= {"potentials": (2, 1)}
    for problem_name, problem in found.problems.items():
        assert problem.bases
        for variant in found.variants.values():
            if scale == "medium" and variant.role != "refined":
                continue
            base = next(iter(problem.bases))
            experiment = problem.experiment(base, variant, seed=0)
            torch.manual_seed(0)
            refiner = experiment.build_refiner(
                build_model(experiment.content["model"]["base"], *channels[problem_name])
            )
            assert refiner.steps >= 1
            if isinstance(refiner.correction, Stepwise):
                assert not experiment.training.replay  # an old state belongs to another step


def test_every_kind_has_a_study() -> None:
    assert {catalogue.read_study(name).kind for name in catalogue.names()} == set(KINDS)


def test_studies_by_name_and_by_path(tmp_path: Path) -> None:
    assert catalogue.read_study(str(written(tmp_path, words()))).name == "tiny-small"
    by_scale = words(seeds=(0,), minutes={"small": 1, "medium": 2})
    path = str(written(tmp_path, by_scale))
    assert [catalogue.read_study(path, scale).minutes for scale in catalogue.SCALES] == [1, 2]
    with pytest.raises(
        ValueError, match="expected a study, or the path of a YAML file, got 'mian'; try 'main'"
    ):
        catalogue.read_study("mian")
    with pytest.raises(ValueError, match="expected a scale, got 'large'"):
        catalogue.read_study("main", "large")
    with pytest.raises(ValueError, match="expected a problem of this scale, got 'burger'; try 'burgers'"):
        catalogue.read_study(str(written(tmp_path, words(problems=["burger"]))))
    with pytest.raises(FileNotFoundError, match="expected a config file"):
        catalogue.read_study(str(tmp_path / "none.yaml"))
