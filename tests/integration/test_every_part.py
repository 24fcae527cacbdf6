"""Solvers, step sizes, gradients, losses, data, metrics by name: through `irno train`, `irno evaluate`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from conftest import own_names
from solver_names import OF_EQUATIONS

from irno_cli.main import main
from neuralop_irno.data import dataset  # noqa: F401 - fills the registers
from neuralop_irno.registry import DATASETS, GRADIENTS, METRICS, SOLVERS, STEP_SIZES
from neuralop_irno.yaml_files import written

Capsys = pytest.CaptureFixture[str]
BURGERS: dict[str, Any] = {"name": "burgers", "trajectories": [2, 1, 1], "frames": 3, "size": 8}
MODEL: dict[str, Any] = {
    "base": {"model_arch": "fno", "n_modes": [4], "hidden_channels": 4, "n_layers": 1},
    "correction": {"name": "unet", "width": 4, "depth": 0},
    "steps": 2,
}
GRAPHS: dict[str, Any] = {
    "base": {"model_arch": "rigno", "width": 4, "steps": 1, "levels": 1, "time": False},
    "correction": {"name": "meshgraph", "width": 4, "steps": 1},
    "steps": 2,
}
NO_POSITIONS: dict[str, Any] = {
    "base": {"model_arch": "pign", "width": 4, "steps": 2},
    "correction": {"name": "pyg:GCN", "hidden_channels": 4, "num_layers": 2},
    "steps": 2,
}
PLANE = {**MODEL, "base": {**MODEL["base"], "n_modes": [4, 4]}}


def run(folder: Path, capsys: Capsys, data: Any = BURGERS, model: Any = MODEL, **parts: Any) -> Any:
    """Train for an epoch, read the run back, and return what `irno evaluate` prints of it."""
    config = folder / "c.yaml"
    training = {"epochs": 1, "batch_size": 2}
    config.write_bytes(written({"data": data, "model": model, "training": training, **parts}))
    place = str(folder / "run")
    for arguments in (["train", str(config), "--folder", place], ["evaluate", place]):
        code = main([*arguments, "--json"])
        out, err = capsys.readouterr()
        assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    assert found["not_finite"] == [0] * len(found["per_step"])
    assert all(math.isfinite(score) for score in found["per_step"])
    return found


@pytest.mark.parametrize("name", sorted(own_names(SOLVERS) - {*OF_EQUATIONS}))
def test_every_solver(name: str, tmp_path: Path, capsys: Capsys) -> None:
    if name == "confidence":  # it reads states on graphs
        solver = {"name": name, "channels": 1, "alpha": 0.5}
        run(tmp_path, capsys, {"name": "waves", **DATA["waves"][0]}, {**GRAPHS, "solver": solver})
    else:
        run(tmp_path, capsys, model={**MODEL, "solver": name})


STEP_SIZE_OPTIONS = {
    "constant": {"value": 0.5},
    "scheduled": {"values": [0.5, 0.25]},
    "learned": {"value": 0.5, "steps": 2},
    "decaying": {"value": 0.5, "after": 1},
}


@pytest.mark.parametrize("name", sorted(own_names(STEP_SIZES)))
def test_every_step_size(name: str, tmp_path: Path, capsys: Capsys) -> None:
    run(tmp_path, capsys, model={**MODEL, "alpha": {"name": name, **STEP_SIZE_OPTIONS[name]}})


@pytest.mark.filterwarnings("ignore:implicit gradient")  # whose equation a correction at zero does not have
@pytest.mark.parametrize("name", sorted(own_names(GRADIENTS)))
def test_every_gradient_rule(name: str, tmp_path: Path, capsys: Capsys) -> None:
    options = {"n": 1} if name == "last" else {}
    taken = {"solver": "denoising"} if name == "from_truth" else {"alpha": 0.5}
    run(tmp_path, capsys, model={**MODEL, **taken, "gradient": {"name": name, **options}})


LOSSES: dict[str, dict[str, Any]] = {
    "spatial": {"spatial": 2.0},
    "spectral": {"spectral": 1.0},
    "amplitude": {"spectral": 1.0, "compare": "amplitude", "lambda_start": 0.0},
    "bands": {"spectral": 1.0, "compare": "bands", "lambda_end": 3.0},
    "fixed point": {"fixed_point": 0.1},
    "contraction": {"contraction": 0.1},
    "random": {"contraction": 0.1, "contraction_direction": "random", "contraction_target": 0.5},
    "error": {"contraction": 0.1, "contraction_direction": "error"},
    "monotone": {"monotone": 0.1, "monotone_margin": 0.3, "monotone_iterations": 2},
    "sobolev": {"sobolev": 0.1, "sobolev_order": -0.5},
    "warmup": {"spectral": 1.0, "warmup": 3, "reduction": "mean"},
    "warmup by epochs": {"fixed_point": 1.0, "fixed_point_epochs": 2},
    "balance": {"balance": 0.5},
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_every_part_of_the_loss(loss: dict[str, Any], tmp_path: Path, capsys: Capsys) -> None:
    run(tmp_path, capsys, loss=loss)


FLOWS = {"trajectories": [2, 1, 1], "frames": 3, "size": 8}
DATA: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "burgers": ({**FLOWS, "dim": 2}, PLANE),
    "kuramoto_sivashinsky": ({**FLOWS, "warmup": 1.0}, MODEL),
    "turbulence": ({**FLOWS, "resolution": 16, "warmup": 0.1, "outputs": 2}, PLANE),
    "coarse_turbulence": (
        {**FLOWS, "resolution": 16, "factor": 2, "stride": 1},
        {**PLANE, "base": {"model_arch": "wdsr", "factor": 2}},
    ),
    "shallow_water": (
        {"trajectories": [2, 1, 1], "frames": 3, "size": 8, "warmup": 0.0},
        {**PLANE, "base": {"model_arch": "sfno", "n_modes": [8, 8], "hidden_channels": 4, "n_layers": 1}},
    ),
    "darcy": ({"samples": [2, 1, 1], "size": 8, "resolution": 8}, PLANE),
    "advection_diffusion": ({"samples": [2, 1, 1], "spacing": 0.3, "holes": 1}, GRAPHS),
    "waves": ({"samples": [2, 1, 1], "spacing": 0.3, "holes": 1}, GRAPHS),
    "potentials": ({"samples": [2, 1, 1]}, NO_POSITIONS),
    "masked_textures": ({"samples": [2, 1, 1], "size": 8}, PLANE),
}
FROM_FILES = {
    "files", "zarr", "ce_gauss", "neuraloperator_file", "rigno_file", "car_cfd", "planetoid", "citations",
    "pascalvoc_sp", "masked_cifar10",
    "the_well", "superbench", "mesh_files",
}  # fmt: skip
"""Data sets that are read; tests/data has them."""


@pytest.mark.parametrize("name", sorted(own_names(DATASETS) - FROM_FILES))
def test_every_data_set_that_is_made(name: str, tmp_path: Path, capsys: Capsys) -> None:
    options, model = DATA[name]
    run(tmp_path, capsys, {"name": name, **options}, model)


@pytest.fixture(scope="module")
def plane_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a plane, for metrics."""
    place = tmp_path_factory.mktemp("metrics")
    data = {**BURGERS, "dim": 2, "size": 16, "outputs": 2}
    (place / "c.yaml").write_bytes(written({"data": data, "model": PLANE, "training": {"epochs": 0}}))
    assert main(["train", str(place / "c.yaml"), "--folder", str(place / "run"), "--json"]) == 0
    return place / "run"


@pytest.mark.parametrize("name", sorted(own_names(METRICS)))
def test_every_metric(name: str, plane_run: Path, capsys: Capsys) -> None:
    capsys.readouterr()
    code = main(["evaluate", str(plane_run), "--metric", name, "--json"])
    out, err = capsys.readouterr()
    if code:  # of classes, say: refused by name
        assert (code, out) == (2, "")
        assert err.startswith("irno: expected ")
        return
    assert len(json.loads(out)["per_step"]) == 3
