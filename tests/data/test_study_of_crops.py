"""The study of crops and fields, in small: what is kept in a folder is what a study goes on with."""

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from layouts import write_superbench

from neuralop_irno.recipe import Recipe
from neuralop_irno.training import snapshot

EXAMPLES = Path(__file__).parents[2] / "examples/studies"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, at a scale of seconds."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import crops_and_fields

    short = Recipe(epochs=1, batch_size=4)
    bases: Any = {"wdsr": ({"width": 4, "blocks": 1}, short)}
    scale = crops_and_fields.Scale(4, 16, 2, 2, bases, {"width": 4, "depth": 0}, 2, short)
    monkeypatch.setitem(crops_and_fields.SCALES, "era5", scale)
    return crops_and_fields


def test_a_study_goes_on_with_the_models_that_are_there(
    study: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, kept = write_superbench(tmp_path / "data", (33, 32), (2,)), tmp_path / "kept"

    def scores(*options: object) -> Any:
        words = ["", "--scale", "era5", "--folder", data, "--threads", torch.get_num_threads(), *options]
        monkeypatch.setattr(sys, "argv", [*map(str, words), "--json", str(tmp_path / "scores.json")])
        study.main()
        return json.loads((tmp_path / "scores.json").read_text())["scores"]

    def written() -> dict[str, int]:
        """When the last snapshot of each model was written: a model that is not trained writes none."""
        folders = [path.parent for path in kept.rglob("history.json")]
        return {folder.name: snapshot.main_file(folder).stat().st_mtime_ns for folder in folders}

    before = set(tmp_path.iterdir())
    plain = scores()
    assert {path.name for path in set(tmp_path.iterdir()) - before} == {"scores.json"}
    assert scores("--work", kept) == plain
    first = written()
    assert set(first) == set(plain) - {"bicubic"}  # which has nothing to train

    lost = "wdsr, refined on crops"
    shutil.rmtree(kept / "era5, seed 0" / lost)  # as if it had not come to that yet
    assert scores("--work", kept) == plain
    assert {name for name, time in written().items() if time != first[name]} == {lost}

    assert scores("--work", kept, "--seed", 1) != plain
