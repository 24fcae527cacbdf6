"""The Car-CFD data set of neuraloperator: pressure on cars, as graphs on their surfaces.

The folder is that of neuraloperator; open3d is not needed to read it:

    train.txt  test.txt              the names of the cars, on one line: 001,002,004
    data/001/tri_mesh.ply            the surface
    data/001/press.npy               the pressure at its nodes
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from neuralop_irno.data.finite import finite
from neuralop_irno.data.graphs import GraphDataset
from neuralop_irno.data.readers.arrays import read_numbers
from neuralop_irno.data.readers.mesh_files import read_mesh
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.errors import expected
from neuralop_irno.registry import DATASETS

UNUSED = slice(16, 112)
"""In files with more pressures than nodes, the entries that belong to no node."""


def vertex_normals(pos: Tensor, triangles: Tensor) -> Tensor:
    """Unit normals at the nodes: area-weighted means over the triangles around each node.

    Shapes:
        - pos: ``(N, 3)``; triangles: ``(T, 3)``; returns: ``(N, 3)``

    Example:
        >>> pos = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 1, 0]])
        >>> vertex_normals(pos, torch.tensor([[0, 1, 2]]))[1].tolist()
        [0.0, 0.0, 1.0]
    """
    a, b, c = (pos[triangles[:, corner]] for corner in range(3))
    twice_area = torch.linalg.cross(b - a, c - a)
    return normalize(
        torch.zeros_like(pos).index_add(0, triangles.flatten(), twice_area.repeat_interleave(3, 0))
    )


def read_car(folder: str | os.PathLike[str], name: str) -> Any:
    """One car as a PyTorch Geometric graph: x is the surface normal, y the pressure.

    Args:
        folder: folder of the data set.
        name: name of the car, as in ``train.txt``.
    """
    surface, values = _files(folder, name)
    mesh = read_mesh(surface)
    if mesh.pos.shape[1] != 3 or mesh.cells.shape[1] != 3:
        got = f"cells of {mesh.cells.shape[1]} corners in {mesh.pos.shape[1]} dimensions"
        raise ValueError(expected(f"triangles in space for car {name}", got, "exporting a surface mesh"))
    pressure = _pressure(values, len(mesh.pos))
    normal = vertex_normals(mesh.pos, mesh.cells)
    return replace(mesh, fields={"normal": normal, "pressure": pressure}).graph(["normal"], ["pressure"])


def _files(folder: str | os.PathLike[str], name: str) -> tuple[Path, Path]:
    """The paths of surface and pressure of a car; the full data set has one more level of folders."""
    root = Path(folder) / "data"
    home = root / "data" / name if (root / "data").is_dir() else root / name
    return home / "tri_mesh.ply", home / "press.npy"


def _pressure(path: Path, nodes: int) -> Tensor:
    if not path.is_file():
        hint = "downloading Car-CFD again"
        raise FileNotFoundError(expected("the pressure on a car", f"no file at {path}", hint))
    values = read_numbers(path)
    if len(values) == nodes + UNUSED.stop - UNUSED.start:
        values = np.delete(values, UNUSED)
    if len(values) != nodes:
        wanted = f"{nodes} pressures in {path.name}, one a node"
        raise ValueError(expected(wanted, len(values), "downloading it again"))
    return torch.from_numpy(finite(values, f"the pressures in {path.name}"))[:, None]


@DATASETS.register("car_cfd")
def car_cfd(folder: str, valid: int = 1) -> dict[str, GraphDataset]:
    """Predict the pressure on cars from their shapes.

    x holds the position of a node in the box around all training cars, from 0 to 1 along each axis, and the
    surface normal; y holds the pressure, normalised by mean and standard deviation of the training cars.

    Args:
        folder: the folder with train.txt, test.txt and data.
        valid: number of training cars, the last ones, that are used for validation.

    Example:
        >>> car_cfd("no_such_folder")
        Traceback (most recent call last):
        FileNotFoundError: ...
    """
    known = _names(folder, "train")
    if not 1 <= valid < len(known):
        raise ValueError(expected(f"1 to {len(known) - 1} cars for validation", valid, "valid=1"))
    names = {"train": known[:-valid], "valid": known[-valid:], "test": _names(folder, "test")}
    cars = {split: [read_car(folder, name) for name in part] for split, part in names.items()}
    everywhere = torch.cat([car.pos for car in cars["train"]])
    low, high = everywhere.amin(0), everywhere.amax(0)
    std, mean = torch.std_mean(torch.cat([car.y for car in cars["train"]]))
    for car in (car for part in cars.values() for car in part):
        car.x = torch.cat([(car.pos - low) / (high - low), car.x], 1)
        car.y = (car.y - mean) / std
    files = {
        split: tuple(path for name in part for path in _files(folder, name)) for split, part in names.items()
    }
    box = Resolution(extent="fixed")
    return {split: GraphDataset(part, files[split], box) for split, part in cars.items()}


def _names(folder: str | os.PathLike[str], split: str) -> list[str]:
    path = Path(folder) / f"{split}.txt"
    if not path.is_file():
        hint = "CarCFDDataset of neuraloperator, which downloads the data"
        raise FileNotFoundError(expected("the folder of Car-CFD", f"no {path.name} in {folder}", hint))
    try:
        names = [name.strip() for name in path.read_text().split(",") if name.strip()]
    except UnicodeDecodeError as error:
        raise ValueError(expected(f"names of cars in {path.name}", str(error), "001,002")) from error
    outside = [name for name in names if name in (".", "..") or set(name) & set("/\\\0")]
    if not names or outside:
        raise ValueError(expected(f"names of cars in {path.name}", outside or "none", "001,002"))
    return names
