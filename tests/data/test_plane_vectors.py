"""A vector in a plane: its third component is rounding, and counts as constant."""

from __future__ import annotations

from pathlib import Path

import meshio
import numpy as np
import pytest
import torch

from neuralop_irno import GraphOperator, measured_units
from neuralop_irno.data.splits import load_splits
from neuralop_irno.metrics import vrmse
from neuralop_irno.training.evaluation import score

TRIANGLES = [("triangle", np.array([[0, 1, 2], [1, 3, 2]]))]
POINTS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], float)


def write(path: Path, sample: int, third: float) -> None:
    rng = np.random.default_rng(sample)
    fields = {name: rng.normal(size=(4, 3)) * [2.0, 0.5, third] for name in ("U", "U_next")}
    meshio.Mesh(POINTS, TRIANGLES, point_data={**fields, "T": rng.normal(size=4)}).write(path)


@pytest.mark.parametrize("third", [0.0, 1e-7, 0.1])
@pytest.mark.parametrize("kind", ["pairs", "series"])
def test_noise_beside_a_vector_has_the_deviation_of_the_vector(
    kind: str, third: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for sample in range(12):
        write(tmp_path / f"{sample:02}.vtu", sample, third)
    names = {"x": ["U", "T"], "y": ["U_next"]} if kind == "pairs" else {"x": ["T", "U"]}
    train = load_splits({"name": "mesh_files", "train": "*.vtu", **names, "split": [6, 3, 3]})["train"]
    base = GraphOperator(torch.nn.Linear(4, 3 if kind == "pairs" else 4))
    units = measured_units(base, train)
    first, second, last = units.y.std[-3:]
    assert (last == first) is (third < 0.1)
    assert first > second > 0.2
    sample = train[0]
    wrong = sample.y + 0.1 * torch.tensor([0.0] * (sample.y.shape[1] - 3) + [2.0, 0.5, third])
    scaled = score(
        lambda p, t: vrmse(p, t, scale=units.y.std), wrong, sample.y, torch.zeros(4, dtype=torch.long)
    )
    assert float(scaled) < 0.5  # not thousands
