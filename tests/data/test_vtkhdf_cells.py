"""Cells of all kinds in VTKHDF files: VTK reads what is written here, and VTK's files are read here."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_meshes import SHAPES, cell_count, mesh_of, write

from neuralop_irno import read_mesh, write_vtkhdf
from neuralop_irno.data.readers.mesh_series import series_of


def graph_of(folder: Path, kind: str, on: str) -> Any:
    rows = len(SHAPES[kind][0]) if on == "nodes" else cell_count(kind)
    path = write(folder / f"{kind}.vtu", mesh_of(kind, **{on: {"u": np.arange(1.0, rows + 1)}}))
    return read_mesh(path).graph(["u"])


def by_vtk(path: Path, time: float) -> Any:
    """The grid of a time, by VTK's reader."""
    reader = pytest.importorskip("vtkmodules.vtkIOHDF").vtkHDFReader()
    reader.SetFileName(str(path))
    reader.UpdateInformation()
    reader.UpdateTimeStep(time)
    return reader.GetOutput()


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("on", ["nodes", "cells"])
def test_vtk_reads_cells_and_fields(kind: str, on: str, tmp_path: Path) -> None:
    graph = graph_of(tmp_path, kind, on)
    frames = torch.stack([graph.x, 2 * graph.x], 1)
    grid = by_vtk(write_vtkhdf(tmp_path / "run.vtkhdf", graph, {"u": frames}, [0.0, 0.5]), 0.5)
    support = pytest.importorskip("vtkmodules.util.numpy_support")
    data = grid.GetPointData() if on == "nodes" else grid.GetCellData()
    np.testing.assert_array_equal(support.vtk_to_numpy(data.GetArray("u")), frames[:, 1, 0])
    sizes = pytest.importorskip("vtkmodules.vtkFiltersVerdict").vtkCellSizeFilter()
    sizes.SetInputData(grid)
    sizes.Update()
    found = sizes.GetOutput().GetCellData()
    name = "Volume" if graph.pos.shape[1] == 3 else "Area"
    volume = np.abs(support.vtk_to_numpy(found.GetArray(name)))  # VTK's have a sign
    assert volume.sum() == pytest.approx(1)
    if on == "cells":
        np.testing.assert_allclose(volume, graph.measure, rtol=1e-6)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("on", ["nodes", "cells"])
def test_files_that_vtk_writes_are_read(kind: str, on: str, tmp_path: Path) -> None:
    graph = graph_of(tmp_path, kind, on)
    grid = by_vtk(write_vtkhdf(tmp_path / "run.vtkhdf", graph, {"u": graph.x[:, None]}), 0.0)
    writer = getattr(pytest.importorskip("vtkmodules.vtkIOHDF"), "vtkHDFWriter", None)
    if writer is None:
        pytest.skip("VTK without a writer of VTKHDF")
    writer = writer()
    writer.SetInputData(grid)
    writer.SetFileName(str(tmp_path / "vtk.vtkhdf"))
    assert writer.Write()
    assert series_of(tmp_path / "vtk.vtkhdf") is None
    again = read_mesh(tmp_path / "vtk.vtkhdf").graph(["u"])
    assert torch.equal(again.x, graph.x)
    assert torch.equal(again.edge_index, graph.edge_index)
    torch.testing.assert_close(again.measure, graph.measure)
