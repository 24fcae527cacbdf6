"""Pressure on surfaces, from a small folder in the layout of Car-CFD."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from layouts import ball, folder_of_balls
from torch_geometric.data import Batch
from torch_geometric.nn import GraphSAGE

from neuralop_irno import IterativeRefiner
from neuralop_irno.data.readers.car_cfd import car_cfd, read_car, vertex_normals
from neuralop_irno.data.readers.mesh_files import read_mesh
from neuralop_irno.data.splits import load_splits


def test_normals_of_a_ball_point_away_from_its_middle() -> None:
    pos, cells = (torch.from_numpy(part) for part in ball(16, 24))
    normals = vertex_normals(pos, cells)
    torch.testing.assert_close(normals.norm(dim=1), torch.ones(len(pos), dtype=torch.float64))
    assert ((normals * pos).sum(1) > 0.99).all()


@pytest.mark.parametrize("extra", [0, 96])
def test_a_car_is_a_surface_with_its_pressure(extra: int, tmp_path: Path) -> None:
    car = read_car(folder_of_balls(tmp_path, extra), "002")
    pos, cells = ball()
    np.testing.assert_allclose(car.pos, 1.5 * pos, atol=1e-6)
    assert np.array_equal(car.face.T, cells)
    np.testing.assert_allclose(car.y[:, 0], 1 - 2.25 * (1 - pos[:, 0] ** 2), atol=1e-6)
    assert car.measure.sum().item() == pytest.approx(4 * np.pi * 1.5**2, rel=0.05)
    assert len(pos) - car.edge_index.shape[1] // 2 + len(cells) == 2  # Euler's formula: it has no holes


def test_the_whole_set_has_one_folder_more(tmp_path: Path) -> None:
    folder = folder_of_balls(tmp_path / "mini")
    (tmp_path / "whole").mkdir()
    (folder / "data").rename(tmp_path / "whole/data")
    (tmp_path / "whole").rename(folder / "data")
    assert read_car(folder, "001").y.shape == (86, 1)


def test_splits_are_scaled_by_the_training_cars(tmp_path: Path) -> None:
    splits = load_splits({"name": "car_cfd", "folder": str(folder_of_balls(tmp_path))})
    assert {name: len(split) for name, split in splits.items()} == {"train": 2, "valid": 1, "test": 1}
    train = Batch.from_data_list(list(splits["train"]))
    assert train.y.mean().item() == pytest.approx(0, abs=1e-6)
    assert train.y.std().item() == pytest.approx(1, rel=1e-5)
    assert train.x[:, :3].amin(0).tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    assert train.x[:, :3].amax(0).tolist() == pytest.approx([1, 1, 1], abs=1e-6)
    (test,) = splits["test"]
    assert test.x[:, :3].amax() > 1  # a larger ball than all of them
    correction = {"name": "meshgraph", "dim": 3, "width": 8}
    model = IterativeRefiner(GraphSAGE(6, 8, 1, 1), correction, steps=2, in_channels=6, out_channels=1)
    assert model.eval()(test).shape == test.y.shape


def test_the_example_says_what_to_download_and_runs_where_the_data_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = Path(__file__).parents[2] / "examples/plot_car_surface.py"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(example)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(example))
    assert ended.value.code in (0, None)
    assert "mini_car" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [str(example), str(folder_of_balls(tmp_path / "balls"))])
    runpy.run_path(str(example))
    seen = read_mesh(tmp_path / "reports/car_surface.vtu")
    assert sorted(seen.fields) == ["base", "pressure", "refined"]
    assert (tmp_path / "reports/car_surface.png").stat().st_size > 10_000


def test_folders_that_are_not_whole_teach(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"^expected the folder of Car-CFD, got no train.txt in .*CarCFDDataset"
    ):
        car_cfd(str(tmp_path / "none"))
    folder = folder_of_balls(tmp_path)
    with pytest.raises(ValueError, match=r"^expected 1 to 2 cars for validation, got 3; try valid=1"):
        car_cfd(str(folder), valid=3)
    np.save(folder / "data/001/press.npy", np.ones(85))
    with pytest.raises(ValueError, match=r"^expected 86 pressures in press.npy, one a node, got 85; try"):
        read_car(folder, "001")
    (folder / "data/002/press.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"^expected the pressure on a car, got no file at"):
        read_car(folder, "002")
    with pytest.raises(FileNotFoundError, match=r"^expected a mesh file, got no file at .*009"):
        read_car(folder, "009")
    (folder / "test.txt").write_text(" ,\n")
    with pytest.raises(ValueError, match=r"^expected names of cars in test.txt, got none; try 001,002"):
        car_cfd(str(folder))
