"""The studies of published data, at full size, on files in their layout: all that is missing is the data."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from layouts import write_superbench, write_well

from neuralop_irno._neuralop import build_model
from neuralop_irno.study.plan import study_from
from neuralop_irno.study.runner import StudyRunner

STUDIES = Path(__file__).parents[2] / "examples" / "studies"


SMALL = {
    "well_fno": {"modes": 4, "width": 4},
    "well_tfno": {"modes": 4, "width": 4},
    "fno2d_sr": {"modes": 2, "width": 4, "layers": 1},
    "wdsr": {"width": 4, "blocks": 1},
    "hinote": {"features": 4, "width": 4, "heads": 2},
}
"""Options that make the bases small; their sizes as the studies have them are tested below."""


@pytest.mark.parametrize("name", ["radiative_layer", "active_matter", "era5"])
def test_it_runs_on_files_in_the_layout(name: str, tmp_path: Path) -> None:
    content: dict[str, Any] = yaml.safe_load((STUDIES / f"{name}.yaml").read_text())
    problem = content["problems"][name]
    data = problem["data"]
    if data["name"] == "the_well":
        folder = write_well(tmp_path / "data", grid=(16, 16), trajectories=1)
    else:
        folder = write_superbench(tmp_path / "data", (33, 32), (1,))
        data |= {"crop": 32, "crops": 1}
    data["folder"] = str(folder)
    for base in problem["bases"].values():
        base |= SMALL[base["model_arch"]]
    problem["model"]["correction"] |= {"width": 4, "depth": 0}
    for training in ("base_training", "training"):
        problem[training] |= {"epochs": 1, "batch_size": 2, "replay": 0}
    study = study_from({"name": name, **content, "seeds": [0], "variants": {"refined": {}}})
    table = StudyRunner(study, tmp_path / "run", "cpu", lambda text: None, False).run()
    assert len(table.results) == 2 * len(problem["bases"])
    assert all(row["error"].mean > 0 for row in table.results)


@pytest.mark.parametrize(
    ("name", "base", "channels", "parameters"),
    [
        ("active_matter", "fno", (44, 11), 19_020_683),  # 11 fields, of which four frames are known
        ("radiative_layer", "tfno", (44, 11), 19_285_523),
        ("era5", "wdsr", (3, 3), 1_615_648),
        ("era5", "fno", (3, 3), 4_752_259),
    ],
)
def test_the_bases_are_of_the_size_that_is_stated(
    name: str, base: str, channels: tuple[int, int], parameters: int
) -> None:
    words = yaml.safe_load((STUDIES / f"{name}.yaml").read_text())["problems"][name]["bases"][base]
    model = build_model(words, *channels)
    count = sum(p.numel() * (1 + p.is_complex()) for p in model.parameters())
    assert parameters in (count, sum(p.numel() for p in model.parameters()))
