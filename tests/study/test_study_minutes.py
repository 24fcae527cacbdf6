"""examples/benchmarks/study_minutes.py: it counts every training; every study has minutes."""

import runpy
from pathlib import Path

import pytest

from neuralop_irno.study import catalogue
from neuralop_irno.study.plan import study_from

SCRIPT = Path(__file__).parents[2] / "examples/benchmarks/study_minutes.py"
FNO = {"model_arch": "fno", "n_modes": [4], "hidden_channels": 4}
BURGERS = {"name": "burgers", "trajectories": [2, 1, 1], "size": 32, "frames": 2}


@pytest.mark.parametrize("name", catalogue.names())
def test_every_study_has_its_minutes(name: str) -> None:
    assert catalogue.read_study(name).minutes


def test_every_training_is_counted() -> None:
    """A base with each seed; of a variant all trials with the first seed, and one with each other seed."""
    study = study_from({
        "name": "tiny", "kind": "main", "about": "Two variants.", "seeds": [0, 1, 2],
        "problems": {"waves": {
            "data": BURGERS, "bases": {"fno": FNO}, "base_training": {"epochs": 1},
            "model": {"correction": {"name": "unet", "width": 4, "depth": 1}},
        }},
        "variants": {
            "refined": {"rates": [0.5, 1, 2]},
            "once": {"role": "same_parameters", "deeper": [0, 1], "rates": [0.5, 1]},
        },
    })  # fmt: skip
    found = list(runpy.run_path(str(SCRIPT))["settings_of"](study, {}))
    assert len(found) == 1 + 3 + 4
    assert sum(times for _, times in found) == pytest.approx(3 + (3 + 2) + (4 + 2))
