"""Rollouts on meshes of several types of cells, with fields at nodes or on cells, in files for ParaView."""

import os
from pathlib import Path
from typing import Any

import meshio
import numpy as np
import pytest
import torch
from mesh_cases import Spreading
from torch_geometric.data import Batch, Data

from neuralop_irno import open_rollout, read_mesh, rollout
from neuralop_irno.rollouts import HDF5, PVD, VTKHDF, Zarr
from neuralop_irno.rollouts.files import check_file

KINDS: dict[str, Any] = {"h5": HDF5, "zarr": Zarr, "vtkhdf": VTKHDF, "pvd": PVD}
POINTS = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1], [2, 0.5]])
BLOCKS = [("quad", np.array([[0, 1, 2, 3]])), ("triangle", np.array([[1, 4, 2]]))]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def graph(on: str, folder: Path, shift: float = 0.0) -> Data:
    """A quadrilateral and a triangle, from a file."""
    points = np.pad(POINTS + shift, ((0, 0), (0, 1)))
    at_nodes, on_cells = np.linspace(-1, 1, 5), [np.array([1.0]), np.array([2.0])]
    mesh = meshio.Mesh(points, BLOCKS, {"u": at_nodes}, {"w": on_cells})
    mesh.write(folder / "mesh.vtu")
    found = read_mesh(folder / "mesh.vtu")
    made = found.graph(x=["u"]) if on == "nodes" else found.graph(x=["w"])
    made.x = made.x.double()
    return made


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("on", ["nodes", "cells"])
@pytest.mark.parametrize("kind", KINDS)
def test_fields_lie_where_they_were(kind: str, on: str, samples: int, tmp_path: Path) -> None:
    to_numpy = pytest.importorskip("vtkmodules.util.numpy_support").vtk_to_numpy
    (tmp_path / "in").mkdir()
    start: Any = graph(on, tmp_path / "in")
    if samples == 2:
        start = Batch.from_data_list([start, graph(on, tmp_path / "in", 3.0)])
    path = tmp_path / f"run.{kind}"
    rollout(Spreading(), start, 2, to=KINDS[kind](path, fields=["u"]))
    whole = rollout(Spreading(), start, 2).frames
    assert torch.equal(KINDS[kind](path).read().frames, whole)
    assert check_file(path) == []
    data, last = open_rollout(path), whole[:, 1, 0].numpy()
    corners = [[0, 1, 2, 3], [1, 4, 2, -1]]
    assert data.face[:2].values.tolist() == corners
    assert data.u.attrs["location"] == ("node" if on == "nodes" else "face")
    names = data.mesh.attrs["node_coordinates"].split()
    points = np.concatenate([POINTS, POINTS + 3.0])[: 5 * samples]
    np.testing.assert_allclose(np.stack([data[name] for name in names], 1), points)
    if kind == "vtkhdf":
        reader = pytest.importorskip("vtkmodules.vtkIOHDF").vtkHDFReader()
        reader.SetFileName(str(path))
        reader.UpdateInformation()
        reader.UpdateTimeStep(2.0)
        grid = reader.GetOutput()
        values = (grid.GetPointData() if on == "nodes" else grid.GetCellData()).GetArray("u")
        np.testing.assert_array_equal(to_numpy(values), last)
        assert [grid.GetCellType(cell) for cell in range(2 * samples)] == [9, 5] * samples
        np.testing.assert_allclose(to_numpy(grid.GetPoints().GetData())[:, :2], points)
    if kind == "pvd":
        found = meshio.read(tmp_path / "run.vtus/frame_000001.vtu")
        values = found.point_data["u"] if on == "nodes" else np.concatenate(found.cell_data["u"])
        np.testing.assert_array_equal(values, last)


def test_fields_on_cells_do_not_move(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="expected fields at the nodes of a mesh that moves, got on its cells"
    ):
        rollout(Spreading(), graph("cells", tmp_path), 2, move=lambda index, frame: frame)
    start = graph("nodes", tmp_path)
    with pytest.raises(ValueError, match="expected cells that move to be triangles or tetrahedra"):
        rollout(Spreading(), start, 2, move=lambda index, frame: {"face": start.face})
