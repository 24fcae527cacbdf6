"""Own mesh files from a config to answers in ParaView's formats, by commands alone."""

import json
from pathlib import Path
from typing import Any

import meshio
import numpy as np
import pytest
import yaml

from irno_cli.main import main
from neuralop_irno import load_splits, read_mesh
from neuralop_irno.data.mesh import random_holes, square_with_holes
from neuralop_irno.data.readers.mesh_series import series_of

BASE = {"model_arch": "gnn_stack", "width": 4, "layers": 2}
PHI = {"name": "meshgraph", "width": 4, "steps": 1}
MODEL: dict[str, Any] = {"base": BASE, "correction": PHI, "steps": 2}
TRAINING = {"epochs": 1, "batch_size": 4}


def in_box(count: int) -> tuple[Any, Any]:
    """A box of hexahedra, ``count`` along each side."""
    ticks = np.arange(count + 1)
    points = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), -1).reshape(-1, 3) / count
    at = lambda i, j, k: (i * (count + 1) + j) * (count + 1) + k  # noqa: E731
    corners = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
    cells = [[at(i + a, j + b, k + c) for a, b, c in corners] for i, j, k in np.ndindex(*[count] * 3)]
    return points, np.array(cells)


def holed_squares(folder: Path) -> None:
    """Heat that decays on triangles, a mesh for each run."""
    for run in range(4):
        mesh = square_with_holes(0.3, random_holes(run, run))
        points = np.pad(mesh.pos, ((0, 0), (0, 1)))
        for frame in range(4):
            heat = np.sin(points[:, 0] * (run + 1)) * 0.8**frame
            path = folder / f"runs/{run}/heat_{frame}.vtu"
            path.parent.mkdir(parents=True, exist_ok=True)
            meshio.Mesh(points, [("triangle", mesh.triangles)], {"T": heat}).write(path)


def tetrahedra(folder: Path) -> None:
    """Pairs of fields at the nodes of tetrahedra."""
    for number in range(4):
        points, boxes = in_box(1 + number % 2)
        cuts = [[0, 1, 3, 4], [1, 2, 3, 6], [1, 4, 5, 6], [3, 4, 6, 7], [1, 3, 4, 6]]
        cells = np.concatenate([boxes[:, cut] for cut in cuts])
        known = {"f": points[:, 0] + number, "flow": points, "p": points.sum(1)}
        meshio.Mesh(points, [("tetra", cells)], known).write(folder / f"body_{number}.vtu")


def finite_volumes(folder: Path) -> None:
    """Velocity and pressure on hexahedra, which also have both at the nodes, as foamToVTK writes them."""
    for number in range(4):
        points, boxes = in_box(2 + number % 2)
        middle = points[boxes].mean(1)
        cells, nodes = ({"U": where * number, "p": where[:, 0]} for where in (middle, points))
        mesh = meshio.Mesh(
            points, [("hexahedron", boxes)], nodes, {key: [part] for key, part in cells.items()}
        )
        mesh.write(folder / f"case_{number}.vtk")


def clouds(folder: Path) -> None:
    """Pairs of fields at points without cells."""
    for number in range(4):
        points = np.random.default_rng(number).random((9, 3))
        known = {"f": points[:, 0], "p": points.sum(1)}
        meshio.Mesh(points, [("vertex", np.arange(9)[:, None])], known).write(folder / f"cloud_{number}.vtu")


CASES: dict[str, tuple[Any, dict[str, Any], str, str]] = {
    "series": (
        holed_squares, {"train": "runs/*", "split": [2, 1, 1], "x": "T", "boundary": True},
        "runs/3/heat_0.vtu", "T",
    ),
    "tetrahedra": (
        tetrahedra,
        {"train": "body_[01].vtu", "valid": "body_2.vtu", "test": "body_3.vtu", "x": ["f", "flow"], "y": "p"},
        "body_3.vtu", "p",
    ),
    "finite volumes": (
        finite_volumes, {"train": "case_*.vtk", "split": [2, 1, 1], "x": ["U"], "y": ["p"], "on": "cells"},
        "case_3.vtk", "p",
    ),
    "points": (
        clouds, {"train": "cloud_*.vtu", "split": [2, 1, 1], "x": "f", "y": "p", "neighbours": 3},
        "cloud_3.vtu", "p",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_config_and_commands_train_check_evaluate_and_predict(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make, data, new, name = CASES[case]
    make(tmp_path)
    config = {
        "data": {"name": "mesh_files", **data}, "model": MODEL, "base_training": {"epochs": 1},
        "training": TRAINING, "folder": "run",
    }  # fmt: skip
    if case != "series":
        config["model"] = {**MODEL, "resolution": {"extent": "fixed"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["train", "config.yaml"]) == 0
    said = capsys.readouterr().err
    assert ("trajectories: 2 of 4 frames" if case == "series" else "pairs: 2, x ") in said
    for command in ("check", "evaluate"):
        assert main([command, "run", "--json"]) == 0, command
        json.loads(capsys.readouterr().out)
    on = data.get("on")
    for target in ("out.vtu", "out.vtkhdf"):
        assert main(["predict", "run", new, "--to", target]) == 0
        found = meshio.read(target) if target.endswith("vtu") else None
        known, answer = read_mesh(new), read_mesh(target)
        fields = answer.cell_fields if on == "cells" else answer.fields
        other = answer.fields if on == "cells" else answer.cell_fields
        assert sorted(fields) == [name]
        assert not other
        assert fields[name].isfinite().all()
        assert np.array_equal(answer.shape.corners, known.shape.corners)
        assert found is None or found.cells[0].type == meshio.read(new).cells[0].type
    capsys.readouterr()


def test_each_frame_of_a_series_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    holed_squares(tmp_path)
    config = {
        "data": {"name": "mesh_files", "train": "runs/*", "split": [2, 1, 1], "x": "T"},
        "model": MODEL, "training": TRAINING, "folder": "run",
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["train", "config.yaml", "--json"]) == 0
    lines = "".join(f'<DataSet timestep="{0.5 * i}" file="runs/3/heat_{i}.vtu"/>' for i in range(4))
    (tmp_path / "new.pvd").write_text(f"<VTKFile><Collection>{lines}</Collection></VTKFile>")
    assert main(["predict", "run", "new.pvd", "--to", "out.vtkhdf"]) == 0
    assert main(["predict", "run", "out.vtkhdf", "--to", "again.vtkhdf"]) == 0  # as an input, too
    assert main(["predict", "run", "runs/3", "--to", "out"]) == 0
    series = series_of(tmp_path / "out.vtkhdf")
    assert series is not None
    assert series.times == [0.0, 0.5, 1.0, 1.5]
    for place, frame in enumerate(series.read(range(4))):
        alone = read_mesh(tmp_path / f"out/heat_{place}.vtu").fields["T"][:, 0]
        np.testing.assert_allclose(frame.point_data["T"], alone, rtol=1e-5, atol=1e-6)
    assert main(["predict", "run", "new.pvd", "--to", "out.vtu"]) == 2
    assert "expected a .vtkhdf file for the answers to the series new.pvd" in capsys.readouterr().err


def cell_series(folder: Path) -> None:
    """Heat that decays on hexahedra, as finite volumes have it."""
    points, boxes = in_box(2)
    for run in range(3):
        for frame in range(4):
            heat = np.sin(points[boxes].mean(1)[:, 0] + run) * 0.8**frame
            path = folder / f"runs/{run}/heat_{frame}.vtu"
            path.parent.mkdir(parents=True, exist_ok=True)
            meshio.Mesh(points, [("hexahedron", boxes)], cell_data={"T": [heat]}).write(path)


@pytest.mark.parametrize("ending", ["vtkhdf", "pvd"])
def test_rollouts_on_cells_are_files_that_are_data_again(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cell_series(tmp_path)
    config = {
        "data": {"name": "mesh_files", "train": "runs/*", "split": [1, 1, 1], "x": "T"},
        "model": MODEL, "training": TRAINING, "folder": "run",
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["train", "config.yaml"]) == 0
    assert "on 8 cells (hexahedron)" in capsys.readouterr().err
    words = ["rollout", "run", "--steps", "3", "--to", f"out.{ending}", "--video", "none", "--json"]
    assert main(words) == 0
    capsys.readouterr()
    path = f"out.{ending}"
    data = load_splits({"name": "mesh_files", "train": path, "valid": path, "x": "T"})["train"]
    graph: Any = data.trajectories[0]  # type: ignore[attr-defined]
    assert graph.x.shape == (8, 3, 1)
    assert graph.x.isfinite().all()
    assert graph.measure.sum().item() == pytest.approx(1)


ON_POINTS = {"model_arch": "rigno", "width": 4, "steps": 1, "time": False, "dim": 3, "subsample": 1.0}


@pytest.mark.parametrize("base", [BASE, ON_POINTS])
def test_points_without_edges_are_refused_with_the_option_that_makes_them(
    base: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    clouds(tmp_path)
    data = {"name": "mesh_files", "train": "cloud_*.vtu", "split": [2, 1, 1], "x": "f", "y": "p"}
    config = {"data": data, "model": {**MODEL, "base": base}, "training": TRAINING, "folder": "run"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["train", "config.yaml"]) == 2
    assert (
        "; try Data(edge_index=...), or neighbours: 8 of the data set mesh_files" in capsys.readouterr().err
    )
    assert main(["train", "config.yaml", "data.neighbours=3"]) == 0


def test_compiling_on_graphs_is_refused_before_the_base_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {
        "data": {"name": "potentials", "samples": [4, 2, 2], "nodes": [8, 9]},
        "model": {"base": BASE, "correction": {**PHI, "dim": 0}},
        "base_training": {"epochs": 1},
        "training": {**TRAINING, "compile": True},
    }
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(config))
    assert main(["train", str(path), "--folder", str(tmp_path / "run")]) == 2
    said = "expected a correction on a grid to compile, got MeshGraph on graphs or points; try compile: false"
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
