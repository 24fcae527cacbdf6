"""The studies of published data, at full size, on files in their layout: all that is missing is the data."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from layouts import write_superbench, write_well

from neuralop_irno import PublicUNet
from neuralop_irno._neuralop import build_model
from neuralop_irno.study.forecast import phases_of_study, stand_in
from neuralop_irno.study.plan import Study, study_from
from neuralop_irno.study.runner import StudyRunner

STUDIES = Path(__file__).parents[2] / "examples" / "studies"
NAMES = ("radiative_layer", "active_matter", "era5", "era5_interpolated")

SMALL: dict[str, dict[str, Any]] = {
    "well_fno": {"modes": 4, "width": 4},
    "well_tfno": {"modes": 4, "width": 4},
    "resunet_hfs": {"features": [4, 4], "bottleneck": 4},
    "fno2d_sr": {"modes": 2, "width": 4, "layers": 1},
    "wdsr": {"width": 4, "blocks": 1},
    "hinote": {"features": 4, "width": 4, "heads": 2},
}
"""Options that make the bases small; their sizes as the studies have them are tested below."""


def content_of(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((STUDIES / f"{name}.yaml").read_text())
    return {"name": name, **content}


def small(name: str, folder: str = "nowhere") -> Study:
    """A study with small networks and short trainings: the refiner in our way, and in the paper's."""
    content = content_of(name)
    for problem in content["problems"].values():
        data = problem["data"] = {**problem["data"], "folder": folder}
        data |= {"crop": 32, "crops": 1} if data["name"] == "superbench" else {}
        for base in problem["bases"].values():
            base |= SMALL[base["model_arch"]]
        problem["model"]["correction"] |= {"width": 4, "depth": 0}
        for training in ("base_training", "training"):
            problem[training] |= {"epochs": 1, "batch_size": 2, "replay": 0}
    steps = content["variants"]["paper"].get("model", {}).get("steps", 6)
    paper: dict[str, Any] = {"model": {"correction": {"width": 4, "depth": 1}, "steps": steps}}
    paper |= {"recipe": "paper", "training": {"epochs": 1, "batch_size": 2}}
    return study_from({**content, "seeds": [0], "variants": {"refined": {}, "paper": paper}})


@pytest.mark.parametrize("name", NAMES)
def test_it_is_planned_without_its_data(name: str) -> None:
    study = small(name)
    y = (3, 32, 32) if name.startswith("era5") else (2, 16, 16)
    x = {"era5": (3, 2, 2), "era5_interpolated": y}.get(name, (8, 16, 16))
    phases = list(phases_of_study(study, stand_in(x, y, samples=(4, 2))))
    trained = [f"{problem}, {base}, {variant}" for problem, base, variant, _ in study.runs()]
    assert sorted(phase.name for phase in phases) == sorted(trained)
    assert all(cost.update > 0 for phase in phases for cost in phase.costs)


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_on_files_in_the_layout(name: str, tmp_path: Path) -> None:
    if name.startswith("era5"):
        folder = write_superbench(tmp_path / "data", (33, 32), (2,))
    else:
        folder = write_well(tmp_path / "data", grid=(16, 16), trajectories=1)
    study = small(name, str(folder))
    table = StudyRunner(study, tmp_path / "run", "cpu", lambda text: None, False).run()
    for problem_name, problem in study.problems.items():
        for base in problem.bases:
            for variant in ("base", "refined", "paper"):
                key = {"problem": problem_name, "base": base, "variant": variant}
                rows = {row["at"]: row for row in table.results if key.items() <= row.items()}
                assert rows[""]["error"].mean > 0
                assert "ACC" not in rows[""] or -1 <= rows[""]["ACC"].mean <= 1
                assert ("ACC" in rows[""]) == name.startswith("era5")
                if variant == "base":
                    continue
                steps = problem.experiment(base, study.variants[variant], 0).model.options["steps"]
                if len(problem.bases) > 1:
                    assert {f"on {other}" for other in problem.bases} <= rows.keys()
                looked = (0, steps, 2 * steps, *study.options.get("also", ()))
                assert {f"k = {k}" for k in looked} <= rows.keys()
                assert rows[f"k = {steps}"]["error"] == rows[""]["error"]
                assert rows.get(f"on {base}", rows[""])["error"] == rows[""]["error"]


SIZES = [
    ("active_matter", "fno", (44, 11), 19_020_683),  # 11 fields, of which four frames are known
    ("active_matter", "tfno", (44, 11), 19_285_523),
    ("active_matter", "hfs", (44, 11), 3_100_875),
    ("radiative_layer", "fno", (16, 4), 19_011_716),  # 4 fields
    ("radiative_layer", "tfno", (16, 4), 19_276_556),
    ("era5", "wdsr", (3, 3), 1_615_648),
    ("era5", "fno", (3, 3), 9_470_851),  # 4,752,259 weights, of which the complex ones are two numbers each
    ("era5", "hinote", (3, 3), 2_970_755),
    ("era5_interpolated", "hfs", (3, 3), 2_232_579),
]


def numbers_in(model: torch.nn.Module) -> int:
    return sum(p.numel() * (1 + p.is_complex()) for p in model.parameters())


@pytest.mark.parametrize(("problem", "base", "channels", "parameters"), SIZES)
def test_the_bases_are_of_the_size_that_is_stated(
    problem: str, base: str, channels: tuple[int, int], parameters: int
) -> None:
    options = content_of(problem)["problems"][problem]["bases"][base]
    assert numbers_in(build_model(options, *channels)) == parameters


def test_every_base_has_a_size() -> None:
    every = {
        (name, base)
        for file in NAMES
        for name, problem in content_of(file)["problems"].items()
        for base in problem["bases"]
    }
    assert {(problem, base) for problem, base, _, _ in SIZES} == every


@pytest.mark.parametrize("name", NAMES)
def test_the_paper_s_recipe_is_a_variant_beside_ours(name: str) -> None:
    study = study_from(content_of(name))
    for problem in study.problems.values():
        base = next(iter(problem.bases))
        paper, same, ours = (
            problem.experiment(base, study.variants[variant], 0)
            for variant in ("paper", "paper, unet", "refined")
        )
        assert paper.training == same.training
        assert (paper.training.optimizer, ours.training.replay) == ("adam", 24)
        assert paper.model.options["steps"] == ours.model.options["steps"]
        assert paper.model.options["alpha"] == ours.model.options["alpha"] == 0.2
        assert same.model.options["correction"] == ours.model.options["correction"]
        options = paper.model.options["correction"]
        assert options.pop("name") == "public_unet"
        assert numbers_in(PublicUNet(44, 11, **options)) == 2_169_307
