"""Files in double precision: an offset that single precision cannot hold does not change a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import meshio
import numpy as np
import pytest
import torch
import xarray
import yaml
from layouts import numbers, write_superbench, write_well, write_zarr

from irno_cli.main import main
from neuralop_irno import GraphOperator, IterativeRefiner
from neuralop_irno.config import experiment
from neuralop_irno.data.flow_sources import flows_of
from neuralop_irno.data.frames import FrameWindows
from neuralop_irno.data.readers.superbench import ERA5, SuperBench
from neuralop_irno.data.readers.well import Well
from neuralop_irno.data.readers.zarr_fields import ZarrFields
from neuralop_irno.data.scaling import Scaling
from neuralop_irno.data.splits import load_splits
from neuralop_irno.prediction import predict
from neuralop_irno.rollouts import rollout
from neuralop_irno.rollouts.of_flows import rollout_options
from neuralop_irno.training.evaluation import scores_of_solutions, scores_per_step
from neuralop_irno.training.run import read_run, train_experiment

FAR, SMALL = 1e9, 1e-12
ONCE = {"epochs": 1, "batch_size": 2, "precision": "float32", "replay": 2}
FNO = {"model_arch": "fno", "n_modes": [4], "hidden_channels": 4, "n_layers": 1}
PHI = {"name": "unet", "width": 4, "depth": 1, "dim": 1}
TRIANGLES = np.array([[0, 1, 2], [1, 3, 2], [2, 3, 4]])
POINTS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0.5, 2, 0]], float)

Moved = Callable[[Any], Any]


def waves(samples: int = 6, points: int = 8) -> Any:
    """One field and the next one, ``(samples, 1, points)``."""
    rng = np.random.default_rng(0)
    x = np.sin(np.arange(points) + rng.uniform(0, 6, (samples, 1, 1))) + 0.3 * rng.normal(
        size=(samples, 1, points)
    )
    return x, 0.5 * np.roll(x, 1, 2) + 0.2


def arrays(folder: Path, suffix: str, moved: Moved) -> dict[str, Any]:
    """A data set of arrays; `x` alone is in ``new``."""
    x, y = map(moved, waves())
    for name, held in {"data": {"x": x, "y": y}, "new": {"x": x}}.items():
        path = folder / f"{name}{suffix}"
        if suffix == ".npz":
            np.savez(path, **held)
        elif suffix == ".h5":
            with h5py.File(path, "w") as file:
                for key, value in held.items():
                    file[key] = value
        else:
            dims = ("sample", "channel", "s")
            xarray.Dataset({key: (dims, value) for key, value in held.items()}).to_netcdf(
                path, engine="h5netcdf"
            )
    names = {"x": ["x"], "y": ["y"], "layout": "B C X"}
    return {"name": "files", "train": str(folder / f"data{suffix}"), "split": [4, 1, 1], **names}


def meshes(folder: Path, suffix: str, moved: Moved) -> dict[str, Any]:
    for number, (x, y) in enumerate(zip(*map(moved, waves(points=5)), strict=True)):
        mesh = meshio.Mesh(POINTS, [("triangle", TRIANGLES)], {"x": x[0], "y": y[0]})
        (folder / "all").mkdir(exist_ok=True)
        mesh.write(folder / f"all/m{number}{suffix}")
    return {"name": "mesh_files", "train": str(folder / "all"), "x": "x", "y": "y", "split": [4, 1, 1]}


def well(folder: Path, moved: Moved) -> Any:
    path = write_well(folder)
    for file in path.rglob("*.hdf5"):
        with h5py.File(file, "r+") as held:
            for name in ("t0_fields/density", "t1_fields/velocity"):
                values, attributes = held[name][()].astype(float), dict(held[name].attrs)
                del held[name]
                held[name] = moved(values)
                held[name].attrs.update(attributes)
    known = yaml.safe_load((path / "stats.yaml").read_text())
    for name in ("density", "velocity"):
        known["mean"][name] = moved(np.asarray(known["mean"][name], float)).tolist()
    (path / "stats.yaml").write_text(yaml.safe_dump(known))
    return FrameWindows(Well(path), inputs=2)


def zarr_store(folder: Path, moved: Moved) -> Any:
    path = write_zarr(folder, moved(numbers(2, 4, 2, 6, 4).astype(float)))
    return FrameWindows(ZarrFields(path, scaling=Scaling((moved(1.0), moved(-2.0)), (2.0, 3.0))))


def superbench(folder: Path, moved: Moved) -> Any:
    path = write_superbench(folder)
    for file in path.rglob("*.h5"):
        with h5py.File(file, "r+") as held:
            values = held["fields"][()].astype(float)
            del held["fields"]
            held["fields"] = moved(values)
    return SuperBench(path, scaling=Scaling(tuple(map(moved, ERA5.mean)), ERA5.std))


SCALED = {"well": well, "zarr": zarr_store, "superbench": superbench}


@pytest.mark.parametrize("written", SCALED.values(), ids=SCALED)
def test_files_that_are_scaled_as_they_are_read_keep_their_digits(
    written: Callable[[Path, Moved], Any], tmp_path: Path
) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "moved").mkdir()
    plain = written(tmp_path / "plain", lambda field: field)
    moved = written(tmp_path / "moved", lambda field: field + FAR)
    assert len(plain) == len(moved)
    for one, other in zip((plain[0], plain[-1]), (moved[0], moved[-1]), strict=True):
        for name in ("x", "y"):
            assert other[name].dtype == torch.float32
            torch.testing.assert_close(other[name], one[name], rtol=1e-5, atol=1e-6)


def read(path: Path) -> Any:
    """The answers in a file, or in the files of a folder."""
    if path.is_dir():
        return np.stack([meshio.read(file).point_data["y"] for file in sorted(path.iterdir())])
    if path.suffix == ".npz":
        return np.load(path)["y"]
    with h5py.File(path) as file:
        return file["y"][()]


def run(folder: Path, suffix: str, moved: Moved, normalise: Any, base: bool) -> tuple[Any, Any, Any]:
    """The scores of a run on moved data, those of solutions, and the answers to a file."""
    folder.mkdir()
    on_mesh = suffix == ".vtu"
    data = {**(meshes if on_mesh else arrays)(folder, suffix, moved), "normalise": normalise}
    net: Any = {"model_arch": "gnn_stack", "width": 4, "layers": 1} if on_mesh else FNO
    phi = {"name": "meshgraph", "width": 4} if on_mesh else PHI
    sections = {"base_training": {**ONCE, "replay": 0}} if base else {}
    content = experiment(
        {"data": data, "model": {"base": net, "correction": phi, "steps": 2}, "training": ONCE, **sections}
    )
    train_experiment(content, folder / "run", show=False, say=lambda line: None)
    ran, model = read_run(folder / "run")
    test = ran.splits()["test"]
    source = folder / ("all" if on_mesh else f"new{suffix}")
    to = folder / ("out" if on_mesh else f"out{suffix}")
    predict(model, source, to, data=data)
    return scores_per_step(model, test), scores_of_solutions(model, test).scores, read(to)


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".nc", ".vtu"])
@pytest.mark.parametrize("base", [True, False], ids=["both", "all"])
@pytest.mark.parametrize(("factor", "offset"), [(1.0, 1e7), (SMALL, 0.0), (1e-3, 1e4)])
def test_training_scores_and_answers_do_not_depend_on_offset_and_units(
    suffix: str, base: bool, factor: float, offset: float, tmp_path: Path
) -> None:
    """``base`` trains the base in the run; without it the base comes as built, and is scaled with ``all``."""
    normalise = True if base else "all"
    plain = run(tmp_path / "plain", suffix, lambda field: field, normalise, base)
    moved = run(tmp_path / "moved", suffix, lambda field: factor * field + offset, normalise, base)
    # The offset rounds to 2e-9 of the deviation in double precision, to all of it in single.
    rounded = {"rtol": 1e-4, "atol": 1e-4}
    for one, other in zip(plain[:2], moved[:2], strict=True):
        torch.testing.assert_close(other, one, check_dtype=False, **rounded)
    assert moved[2].dtype == np.float64
    np.testing.assert_allclose((moved[2] - offset) / factor, plain[2], **rounded)


@pytest.mark.parametrize("on_mesh", [False, True], ids=["grid", "mesh"])
@pytest.mark.parametrize("offset", [0.0, FAR])
def test_rollouts_in_double_precision_keep_the_digits_of_their_start(
    on_mesh: bool, offset: float, tmp_path: Path
) -> None:
    frames = offset + np.cumsum(waves(points=5)[0], 0)[:, 0]  # (T, points)
    if on_mesh:
        for number, frame in enumerate(frames):
            meshio.Mesh(POINTS, [("triangle", TRIANGLES)], {"x": frame}).write(tmp_path / f"m{number}.vtu")
        data = {"name": "mesh_files", "train": str(tmp_path), "x": "x", "split": [2, 2, 2]}
    else:
        np.savez(tmp_path / "data.npz", x=frames[None, :, None])
        data = {"name": "files", "train": str(tmp_path / "data.npz"), "time": 1, "split": [2, 2, 2]}
    splits = load_splits(data)
    flows = flows_of(splits["test"], 1)
    base = torch.nn.Identity() if not on_mesh else GraphOperator(lambda x, edge_index: x)
    units = {"x": {"mean": [offset], "std": [2.0]}, "y": {"mean": [offset], "std": [2.0]}}
    model = IterativeRefiner(
        base,
        {"name": "meshgraph", "width": 4} if on_mesh else PHI,
        units=units,
        in_channels=1,
        out_channels=1,
    ).eval()
    known = flows[0]
    run = rollout(model, known.first, 1, **rollout_options(flows, known))
    torch.testing.assert_close(run.frames.double() - offset, known.start.double() - offset, rtol=0, atol=1e-5)
    assert (known.frames - offset).std() > 0.1


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("suffix", [".npz", ".vtu"])
def test_every_command_takes_files_in_double_precision(
    suffix: str, normalise: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also with a base that is given x as it is, and without units."""
    run(tmp_path / "all", suffix, lambda field: field + 100, normalise, base=False)
    for command in ("evaluate", "check", "diagnose"):
        assert main([command, str(tmp_path / "all/run"), "--json"]) == 0
    capsys.readouterr()
