"""The studies of published data, at full size, on files in their layout: all that is missing is the data."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from layouts import write_superbench, write_well

from neuralop_irno.host import build_model
from neuralop_irno.study.plan import study_from
from neuralop_irno.study.runner import StudyRunner

STUDIES = Path(__file__).parents[2] / "examples" / "studies"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("radiative_layer", {}), ("active_matter", {}), ("era5", {"wdsr": 1_615_648, "fno": 4_752_259})],
)
def test_it_runs_on_files_in_the_layout(name: str, parameters: dict[str, int], tmp_path: Path) -> None:
    content: dict[str, Any] = yaml.safe_load((STUDIES / f"{name}.yaml").read_text())
    problem = content["problems"][name]
    data = problem["data"]
    if data["name"] == "the_well":
        folder = write_well(tmp_path / "data", grid=(16, 16), trajectories=1)
        for base in problem["bases"].values():  # their sizes are tested below
            base |= {"modes": 4, "width": 8}
    else:
        folder = write_superbench(tmp_path / "data", (33, 32), (1,))
        data |= {"crop": 32, "crops": 1}
    data["folder"] = str(folder)
    for training in ("base_training", "training"):
        problem[training] |= {"epochs": 1, "batch_size": 2, "replay": 0}
    study = study_from({"name": name, **content, "seeds": [0], "variants": {"refined": {}}})
    table = StudyRunner(study, tmp_path / "run", "cpu", lambda text: None, False).run()
    assert len(table.results) == 2 * len(problem["bases"])
    assert all(row["error"].mean > 0 for row in table.results)
    counted = {row["base"]: row["parameters"] for row in table.costs if row["variant"] == "base"}
    assert parameters.items() <= counted.items()


@pytest.mark.parametrize(
    ("name", "base", "parameters"),
    [
        ("active_matter", "fno", 19_020_683),
        ("radiative_layer", "fno", None),
        ("radiative_layer", "tfno", None),
    ],
)
def test_the_bases_are_of_the_size_that_is_stated(name: str, base: str, parameters: int | None) -> None:
    content = yaml.safe_load((STUDIES / f"{name}.yaml").read_text())
    words = content["problems"][name]["bases"][base]
    assert words == {"model_arch": f"well_{base}"}
    if parameters is not None:  # 11 fields, of which 4 frames are known
        model = build_model(words, 44, 11)
        assert sum(p.numel() * (1 + p.is_complex()) for p in model.parameters()) == parameters
