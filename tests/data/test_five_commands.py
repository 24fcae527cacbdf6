"""A YAML and five commands on all data with time: train, check, evaluate, rollout, predict; no Python."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import meshio
import numpy as np
import pytest
import torch
from flow_data import of_rigno, of_well
from own_files import pdebench
from small_meshes import mesh_of, write
from test_own_files_by_command import command, globe

from neuralop_irno.config import experiment
from neuralop_irno.data.mesh import random_holes, square_with_holes
from neuralop_irno.data.readers.named_arrays import NamedArrays
from neuralop_irno.yaml_files import written

FRAMES = 5
KELVIN = 290.0
GRID = {"base": {"model_arch": "fno", "n_modes": [2, 2], "hidden_channels": 2, "n_layers": 1},
        "correction": {"name": "unet", "width": 2, "depth": 0}}  # fmt: skip
POINTS = {"base": {"model_arch": "rigno", "width": 4, "steps": 1},
          "correction": {"name": "rigno", "width": 4, "steps": 1}}  # fmt: skip
BODY = {"base": {"model_arch": "gnn_stack", "width": 4, "layers": 1},
        "correction": {"name": "meshgraph", "width": 4, "steps": 1, "dim": 3}}  # fmt: skip
EDGES = {"base": {"model_arch": "gnn_stack", "width": 4, "layers": 1},
         "correction": {"name": "meshgraph", "width": 4, "steps": 1}}  # fmt: skip

Case = tuple[Mapping[str, Any], Mapping[str, Any], Path, str, str]
"""Data, model, what to predict from, and the endings of the files of frames and answers."""


def series(folder: Path, meshes: list[meshio.Mesh], on: str) -> Mapping[str, Any]:
    """Numbered files of a temperature that oscillates, one folder for each mesh, as a config."""
    for number, mesh in enumerate(meshes):
        for time in range(FRAMES):
            name, size = ("node_T", len(mesh.points)) if on == "nodes" else ("T", _cells(mesh))
            values = KELVIN + 10 * np.cos(np.arange(size) + 0.3 * time)
            if on == "nodes":
                mesh.point_data = {name: values}
            else:
                mesh.cell_data = {name: [values]}
            write(folder / "series" / f"{number}" / f"frame_{time:03}.vtu", mesh)
    return {"name": "mesh_files", "train": str(folder / "series" / "*"), "split": [2, 1, 1], "x": name}


def _cells(mesh: meshio.Mesh) -> int:
    return len(mesh.cells[0].data)


def triangles(folder: Path) -> Case:
    found = [square_with_holes(0.2, random_holes(1, seed), seed) for seed in range(4)]
    meshes = [meshio.Mesh(mesh.pos, [("triangle", mesh.triangles)]) for mesh in found]
    assert len({len(mesh.points) for mesh in meshes}) > 1
    data = series(folder, meshes, "nodes")
    return data, EDGES, folder / "series/3/frame_000.vtu", ".vtkhdf", ".vtu"


def tetrahedra(folder: Path) -> Case:
    data = series(folder, [mesh_of("tetra", scale=scale) for scale in (1.0, 1.1, 1.2, 1.3)], "nodes")
    return data, BODY, folder / "series/3/frame_000.vtu", ".pvd", ".vtu"


def finite_volumes(folder: Path) -> Case:
    data = series(folder, [mesh_of("hexahedron", scale=scale) for scale in (1.0, 1.1, 1.2, 1.3)], "cells")
    return data, BODY, folder / "series/3/frame_000.vtu", ".vtkhdf", ".vtu"


def pdebenchs(folder: Path) -> Case:
    pdebench(folder / "a.hdf5", 2)
    data = {
        "name": "files",
        "train": str(folder / "a.hdf5"),
        "split": [3, 1, 1],
        "y": ["tensor"],
        "time": "t",
    }
    return {**data, "periodic": [True, True]}, GRID, folder / "a.hdf5", ".zarr", ".h5"


def latitudes(folder: Path) -> Case:
    data = globe(folder / "a.nc", south_first=False)
    data.to_netcdf(folder / "b.nc", engine="h5netcdf")
    options = {"valid": str(folder / "b.nc"), "y": ["t2m"], "time": "time"}
    words = {"name": "files", "train": str(folder / "a.nc"), **options}
    return words, GRID, folder / "b.nc", ".h5", ".nc"


def from_arrays(data: Mapping[str, Any], model: Mapping[str, Any], folder: Path) -> Case:
    """Layouts that are not read by `predict`: x of the test set as an array."""
    sample = experiment({"data": data, "model": model}).splits()["test"][0]
    named = {name: sample[name].numpy() for name in ("pos", "t", "tau") if "pos" in sample and name in sample}
    x = sample["x"].numpy()
    np.savez(folder / "x.npz", x=x if "pos" in sample else x[None], **named)
    return data, model, folder / "x.npz", ".zarr", ".npz"


def the_well(folder: Path) -> Case:
    return from_arrays(of_well(folder / "well"), GRID, folder)


def rignos(folder: Path) -> Case:
    return from_arrays(of_rigno(folder / "rigno"), POINTS, folder)


CASES: dict[str, Callable[[Path], Case]] = {
    "triangles with holes": triangles,
    "tetrahedra": tetrahedra,
    "fields on cells": finite_volumes,
    "pdebench": pdebenchs,
    "latitudes and longitudes": latitudes,
    "the well": the_well,
    "rigno": rignos,
}


@pytest.mark.parametrize("kind", CASES)
def test_a_yaml_and_five_commands(kind: str, tmp_path: Path) -> None:
    data, model, source, frames, answers = CASES[kind](tmp_path)
    once = {"epochs": 1, "batch_size": 2}
    config = {"data": data, "model": {**model, "steps": 2}, "base_training": once, "training": once}
    (tmp_path / "c.yaml").write_bytes(written(config))
    run, film, answer = tmp_path / "run", tmp_path / f"film{frames}", tmp_path / f"answer{answers}"
    command("train", tmp_path / "c.yaml", "--folder", run)
    command("check", run)
    command("evaluate", run)
    command("rollout", run, "--to", film, "--video", "none")
    command("predict", run, source, "--to", answer)
    assert film.exists() or list(tmp_path.glob(f"film*{frames}"))
    if answers == ".vtu":
        mesh = meshio.read(answer)
        (values,) = [*mesh.point_data.values(), *(part for (part,) in mesh.cell_data.values())]
        assert abs(values.mean() - KELVIN) < 30  # in the units of the files
    elif answers != ".nc":
        found = NamedArrays(answer)
        assert all(torch.isfinite(found.part(name)).all() for name in found.shapes)
