"""The order of numbered files, groups and parts: numbers count by value, and gaps are refused."""

from pathlib import Path
from typing import Any

import h5py
import meshio
import numpy as np
import pytest
import torch
from small_meshes import SHAPES, SIX, mesh_of, write

from neuralop_irno import load_splits, read_mesh
from neuralop_irno.data.readers.hdf5 import files_in

PLACES = (0, 1, 2, 9, 10, 11)
"""Numbers whose order by letters is another one: 0, 1, 10, 11, 2, 9."""


@pytest.mark.parametrize("form", ["folder", "pattern", "groups"])
def test_samples_come_in_natural_order(form: str, tmp_path: Path) -> None:
    if form == "groups":
        with h5py.File(tmp_path / "a.h5", "w") as file:
            for place in PLACES:
                file[f"{place}/u"] = np.full((1, 8), place, "f4")
    else:
        for place in PLACES:
            np.savez(tmp_path / f"run_{place}.npz", u=np.full((1, 1, 8), place, "f4"))
    train = {"folder": "", "pattern": "run_*.npz", "groups": "a.h5"}[form]
    config = {"name": "files", "train": str(tmp_path / train), "x": "u", "y": "u", "split": [4, 1, 1]}
    parts = load_splits(config).values()
    found = [part[index]["y"].max().item() for part in parts for index in range(len(part))]
    assert found == list(PLACES)


def test_files_of_a_folder_of_hdf5_come_in_natural_order(tmp_path: Path) -> None:
    for place in PLACES:
        (tmp_path / f"part{place}.h5").touch()
    assert [path.stem for path in files_in(tmp_path)] == [f"part{place}" for place in PLACES]


def series(folder: Path, names: list[str]) -> Any:
    for place, name in enumerate(names):
        write(folder / name, mesh_of("quad", {"T": place + SIX[:, 0]}))
    return load_splits({"name": "mesh_files", "train": str(folder), "valid": str(folder), "x": "T"})["train"]


@pytest.mark.parametrize("numbers", [(1, 2, 3), (0, 10, 20), (8, 9, 10, 11), (95, 100, 105)])
def test_equal_distances_of_numbers_are_frames_that_follow_each_other(
    numbers: tuple[int, ...], tmp_path: Path
) -> None:
    data = series(tmp_path / "s", [f"frame_{number}.vtu" for number in numbers])
    assert [sample.x[0].item() for sample in data] == list(range(len(numbers) - 1))


GAPS = {
    "one": (["f_0001", "f_0002", "f_0004"], r"got none with the numbers 3; try adding .*a \.pvd file"),
    "strides": (["f0", "f10", "f40", "f50"], r"got none with the numbers 20, 30; try"),
    "many": (["f0", "f1", "f99"], r"got none with the numbers 2, 3, 4, 5, 6, 7 and 91 more; try"),
    "twice": (["f1", "f2", "f02"], r"got (f2.vtu and f02|f02.vtu and f2).vtu, of one number; try removing"),
    "no number": (["f", "f_0", "f_1"], r"trajectories of at least 2 frames, got one of 1"),
}


@pytest.mark.parametrize("gap", GAPS)
def test_frames_that_are_missing_are_named(gap: str, tmp_path: Path) -> None:
    names, message = GAPS[gap]
    with pytest.raises(ValueError, match=f"^expected .*{message}"):
        series(tmp_path / "s", [f"{name}.vtu" for name in names])


def listed(folder: Path, entries: list[tuple[float, str]]) -> str:
    lines = "".join(f'<DataSet timestep="{time}" part="0" file="{name}"/>' for time, name in entries)
    (folder / "a.pvd").write_text(f"<VTKFile><Collection>{lines}</Collection></VTKFile>")
    return str(folder / "a.pvd")


def test_files_with_times_may_have_gaps_which_the_summary_states(tmp_path: Path) -> None:
    for place in (1, 2, 4):
        write(tmp_path / f"f_{place}.vtu", mesh_of("quad", {"T": place + SIX[:, 0]}))
    path = listed(tmp_path, [(0.5 * place, f"f_{place}.vtu") for place in (4, 1, 2)])
    data = load_splits({"name": "mesh_files", "train": path, "valid": path, "x": "T"})["train"]
    assert data.trajectories[0].times.tolist() == [0.5, 1.0, 2.0]  # type: ignore[attr-defined]
    assert "times 0.5 to 2 at distances of 0.5 to 1" in data.summary  # type: ignore[attr-defined]


@pytest.mark.parametrize("on", ["nodes", "cells"])
def test_parts_of_a_time_are_one_mesh(on: str, tmp_path: Path) -> None:
    whole = mesh_of("quad")
    (corners,) = (np.array(block) for _, block in SHAPES["quad"][1])
    for time in range(2):
        for part, cell in enumerate(corners):
            values = {"T": time + SIX[cell, 0]} if on == "nodes" else None
            means = {"T": [np.array([time + part])]} if on == "cells" else None
            mesh = meshio.Mesh(SIX[cell], [("quad", np.arange(4)[None])], values, means)
            write(tmp_path / f"{time}_{part}.vtu", mesh)
    path = listed(tmp_path, [(time, f"{time}_{part}.vtu") for time in range(2) for part in range(2)])
    graph: Any = load_splits({"name": "mesh_files", "train": path, "valid": path, "x": "T"})["train"][0]
    known = read_mesh(write(tmp_path / "whole.vtu", whole)).skeleton(on)
    assert graph.num_nodes == known.num_nodes
    assert graph.edge_index.shape == known.edge_index.shape
    torch.testing.assert_close(graph.measure.sum(), known.measure.sum())
    expected = (graph.pos[:, 0] if on == "nodes" else torch.arange(2.0)).double()  # as in the files
    torch.testing.assert_close(graph.x[:, 0], expected)
    torch.testing.assert_close(graph.y[:, 0], expected + 1)


POLYHEDRON = """<VTKFile type="UnstructuredGrid" version="1.0" byte_order="LittleEndian"><UnstructuredGrid>
<Piece NumberOfPoints="4" NumberOfCells="1"><Points><DataArray type="Float64" NumberOfComponents="3"
format="ascii">0 0 0 1 0 0 0 1 0 0 0 1</DataArray></Points><Cells>
<DataArray type="Int64" Name="connectivity" format="ascii">0 1 2 3</DataArray>
<DataArray type="Int64" Name="offsets" format="ascii">4</DataArray>
<DataArray type="UInt8" Name="types" format="ascii">42</DataArray>
<DataArray type="Int64" Name="faces" format="ascii">4 3 0 1 2 3 0 1 3 3 1 2 3 3 0 2 3</DataArray>
<DataArray type="Int64" Name="faceoffsets" format="ascii">17</DataArray></Cells></Piece>
</UnstructuredGrid></VTKFile>"""
OLD_POLYHEDRON = """# vtk DataFile Version 3.0
t
ASCII
DATASET UNSTRUCTURED_GRID
POINTS 4 double
0 0 0 1 0 0 0 1 0 0 0 1
CELLS 1 18
17 4 3 0 1 2 3 0 1 3 3 1 2 3 3 0 2 3
CELL_TYPES 1
42
"""


@pytest.mark.parametrize(("ending", "text"), [("vtu", POLYHEDRON), ("vtk", OLD_POLYHEDRON)])
def test_polyhedra_are_to_be_cut(ending: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"^expected .* in a\.vt[uk], got .*; try cutting cells into tetra"):
        read_mesh(path)
