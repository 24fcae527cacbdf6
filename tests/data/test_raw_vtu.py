"""VTU files as VTK and ParaView write them: every mode, compressor and size of numbers in headers."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neuralop_irno import read_mesh

NODES, FIELDS = 10, 6
"""With 8 * 10 + 4 bytes an array meshio takes the fourth of these fields for the fifth."""

MODES = {"ascii": (0, False), "inline": (1, False), "raw": (2, False), "base64": (2, True)}
COMPRESSORS = {"none": 0, "zlib": 1, "lzma": 3}


def written(path: Path, mode: str, compressor: int, bits: int) -> Path:
    """A strip of triangles with fields that are their own numbers."""
    model = pytest.importorskip("vtkmodules.vtkCommonDataModel")
    core = pytest.importorskip("vtkmodules.vtkCommonCore")
    support = pytest.importorskip("vtkmodules.util.numpy_support")
    writing = pytest.importorskip("vtkmodules.vtkIOXML")
    grid, points = model.vtkUnstructuredGrid(), core.vtkPoints()
    for node in range(NODES):
        points.InsertNextPoint(node // 2, node % 2, 0)
    grid.SetPoints(points)
    for node in range(NODES - 2):
        grid.InsertNextCell(5, 3, [node, node + 1, node + 2])

    def add(place: Any, name: str, values: Any) -> None:
        array = support.numpy_to_vtk(values, deep=True)
        array.SetName(name)
        place.AddArray(array)

    for number in range(FIELDS):
        add(grid.GetPointData(), f"field {number}", number + np.arange(NODES) / 16)
    add(grid.GetCellData(), "on cells", np.arange(NODES - 2, dtype=np.int32))
    writer = writing.vtkXMLUnstructuredGridWriter()
    data_mode, encoded = MODES[mode]
    writer.SetFileName(str(path))
    writer.SetInputData(grid)
    writer.SetDataMode(data_mode)
    writer.SetEncodeAppendedData(encoded)
    writer.SetCompressorType(compressor)
    writer.SetHeaderType(bits)
    assert writer.Write()
    return path


@pytest.mark.parametrize(("mode", "compressor"), list(itertools.product(MODES, COMPRESSORS)))
@pytest.mark.parametrize("bits", [32, 64])
def test_fields_of_every_mode_are_those_that_were_written(
    mode: str, compressor: str, bits: int, tmp_path: Path
) -> None:
    mesh = read_mesh(written(tmp_path / "m.vtu", mode, COMPRESSORS[compressor], bits))
    for number in range(FIELDS):
        expected = number + torch.arange(NODES, dtype=torch.float64) / 16
        assert torch.equal(mesh.fields[f"field {number}"][:, 0], expected)
    assert mesh.cell_fields["on cells"][:, 0].tolist() == list(range(NODES - 2))
    assert mesh.pos.tolist() == [[node // 2, node % 2] for node in range(NODES)]


def test_a_compressor_that_is_not_read_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "m.vtu", "raw", 2, 32)
    with pytest.raises(ValueError, match=r"^expected a mesh .* in m.vtu, got LZ4, .* Compressor Type ZLib"):
        read_mesh(path)


@pytest.mark.parametrize("compressor", COMPRESSORS)
def test_damaged_files_end_in_a_sentence(compressor: str, tmp_path: Path) -> None:
    path = written(tmp_path / "m.vtu", "raw", COMPRESSORS[compressor], 32)
    whole = path.read_bytes()
    middle = whole.index(b"_") + 1
    for damaged in (whole[:-200], whole[: middle + 2], whole[:middle] + b"\xff" * 16 + whole[middle + 16 :]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"^expected a mesh that meshio reads in m.vtu, got .+; try"):
            read_mesh(path)
