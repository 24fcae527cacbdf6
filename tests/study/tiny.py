"""A study that takes seconds, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from neuralop_irno.study import worker


@pytest.fixture
def memory_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies without the measurement of memory, half of the time of one this small."""
    for name in ("training_mib", "answer_mib"):
        monkeypatch.setattr(worker, name, lambda *_: 1.0)


def words(
    kind: str = "main", seeds: tuple[int, ...] = (0, 1), depth: int = 0, **changes: Any
) -> dict[str, Any]:
    """A study of waves on eight points."""
    fno = {"model_arch": "fno", "n_modes": [4], "hidden_channels": 4, "n_layers": 1}
    return {
        "kind": kind,
        "about": "An example.",
        "seeds": list(seeds),
        "problems": {
            "burgers": {
                "data": {"name": "burgers", "trajectories": [4, 2, 2], "frames": 4, "size": 8},
                "bases": {"fno": fno, "other": {**fno, "n_modes": [2]}},
                "base_training": {"epochs": 2, "batch_size": 4},
                "model": {
                    "correction": {"name": "unet", "width": 4, "depth": depth},
                    "alpha": 1.0,
                    "steps": 2,
                },
                "loss": {"spectral": 0.5},
                "training": {"epochs": 2, "batch_size": 4, "replay": 4},
            }
        },
        "variants": {"refined": {}, "same parameters": {"role": "same_parameters"}},
        **changes,
    }


def one_base(depth: int = 0) -> dict[str, Any]:
    """Its problem with the first of its two bases."""
    problems: dict[str, Any] = words(depth=depth)["problems"]
    del problems["burgers"]["bases"]["other"]
    return problems


def written(folder: Path, content: dict[str, Any]) -> Path:
    """The file that says so."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def timeless(table: dict[str, Any]) -> dict[str, Any]:
    """A table without what depends on the machine's speed and memory."""
    measured = ("seconds", "training MiB", "answer MiB")
    costs = [{k: v for k, v in row.items() if k not in measured} for row in table["costs"]]
    return {"results": table["results"], "costs": costs, "notes": table["notes"]}
