"""Rollouts of several models side by side: their single reports, in tables, files and pictures."""

import csv
import json
import math
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch_geometric.data import Batch, Data

from neuralop_irno import compare_rollouts, evaluate_rollout
from neuralop_irno.diagnostics.projection import projector_for
from neuralop_irno.diagnostics.rollout_report import RolloutComparison, RolloutReport

MODELS = {"base": 0.5, "refined": 0.1}


def rollouts(*shape: int) -> tuple[dict[str, Tensor], Tensor]:
    truth = torch.randn(shape, dtype=torch.float64)
    noise = {name: size * torch.randn(shape, dtype=torch.float64) for name, size in MODELS.items()}
    return {name: truth + error for name, error in noise.items()}, truth


def test_every_number_is_that_of_the_report_of_one_model(tmp_path: Path) -> None:
    frames, truth = rollouts(3, 4, 2, 8)
    both = compare_rollouts(frames, truth, fields=["u", "v"], step=0.5)
    alone = {name: evaluate_rollout(frames[name], truth, fields=["u", "v"], step=0.5) for name in frames}
    both.write(tmp_path)
    content = json.loads((tmp_path / "rollout.json").read_text())
    assert content == {name: report.to_plain() for name, report in alone.items()}
    rows = list(csv.DictReader((tmp_path / "rollout.csv").read_text().splitlines()))
    assert len(rows) == 2 * 4 * 2 * 4  # models, frames, fields, metrics
    for row in rows:
        place = ["u", "v"].index(row["field"])
        scores = alone[row["model"]].scores[row["metric"]][:, int(row["frame"]) - 1, place]
        assert math.isclose(float(row["mean"]), scores.mean().item(), rel_tol=1e-9)
        assert math.isclose(float(row["median"]), scores.quantile(0.5).item(), rel_tol=1e-9)
        assert (float(row["time"]), row["samples"]) == (int(row["frame"]) * 0.5, "3")
    text = str(both)
    for report in alone.values():
        numbers = [f"{report.scores['vrmse'][:, 3, place].mean():.4f}" for place in (0, 1)]
        assert all(number in text for number in numbers)
    with Image.open(tmp_path / "rollout.gif") as film:
        assert film.n_frames == 4
    assert set(both.film.predicted) == set(MODELS)


def test_a_report_in_parts_is_the_report_on_all() -> None:
    frames, truth = rollouts(5, 4, 1, 8)
    frames["base"][1, 2:] = torch.nan
    frames["base"][4, 1] *= 1e4
    whole = compare_rollouts(frames, truth)
    cuts = (slice(0, 2), slice(2, 5))
    parts = [compare_rollouts({n: f[cut] for n, f in frames.items()}, truth[cut]) for cut in cuts]
    joined = RolloutComparison.joined(parts)
    for name, report in whole.reports.items():
        other = joined.reports[name]
        assert isinstance(other, RolloutReport)
        assert torch.equal(other.sound, report.sound)
        for metric, scores in report.scores.items():
            torch.testing.assert_close(other.scores[metric], scores, equal_nan=True)
        for band, values in vars(report.spectra).items():
            torch.testing.assert_close(getattr(other.spectra, band), values)
    assert joined.film.error in [part.film.error for part in parts]


@pytest.mark.parametrize("on_graph", [False, True])
def test_the_spread_of_an_ensemble_is_a_score_in_units_of_the_vrmse(on_graph: bool) -> None:
    shape = (9, 3, 1) if on_graph else (1, 3, 1, 9)
    truth = torch.randn(shape, dtype=torch.float64)
    error = 0.2 * torch.ones_like(truth)
    graph = Data(num_nodes=9, edge_index=torch.zeros(2, 0, dtype=torch.long)) if on_graph else None
    report = evaluate_rollout(truth + error, truth, spread=error, graph=graph)
    torch.testing.assert_close(report.scores["spread"], report.scores["vrmse"])
    assert "spread" in str(report)


POS = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
SURFACE = torch.tensor([[0, 0, 1], [1, 2, 2], [2, 3, 4]])
SOLID = torch.tensor([[0, 1], [1, 2], [2, 3], [3, 4]])


@pytest.mark.parametrize("cells", [SURFACE, SOLID, None], ids=["surface", "solid", "cloud"])
def test_points_and_meshes_in_three_dimensions_can_be_drawn(cells: Tensor | None, tmp_path: Path) -> None:
    pytest.importorskip("pyvista")
    edges = torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 0]])
    graph = Batch.from_data_list([Data(pos=POS, edge_index=edges, face=cells)])
    frames, truth = rollouts(5, 2, 1)
    path = tmp_path / "rollout.gif"
    with Image.open(projector_for(path, compare_rollouts(frames, truth, graph=graph).film)()) as film:
        assert film.n_frames == 2
        assert len(set(film.convert("RGB").get_flattened_data())) > 10


def test_without_pyvista_three_dimensions_have_no_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyvista", None)  # as where it is not installed
    graph = Data(pos=POS, edge_index=torch.zeros(2, 0, dtype=torch.long))
    report = evaluate_rollout(*torch.randn(2, 5, 2, 1), graph=graph)
    with pytest.raises(
        ImportError, match=r"^expected PyVista for films .*; try pip install 'neuralop_irno\[pyvista\]'"
    ):
        report.write(tmp_path / "report")
    assert not list(tmp_path.iterdir())
    report.write(tmp_path / "report", video=None)
    assert not list((tmp_path / "report").glob("*.gif"))
