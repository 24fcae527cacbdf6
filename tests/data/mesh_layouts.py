"""Writers of the smallest data of each format of meshes: each returns the options that read it."""

from pathlib import Path
from typing import Any

import meshio
import torch
from small_meshes import SIX, mesh_of, write

from neuralop_irno import read_mesh, write_vtkhdf

SERIES = {"name": "mesh_files", "x": "T", "split": [2, 2, 2], "boundary": True}


def mesh_pairs(folder: Path) -> dict[str, Any]:
    """A file for each pair, on nodes."""
    for place in range(3):
        known = {"T": place + SIX[:, 0], "next": SIX[:, 1]}
        write(folder / f"pair_{place}.vtu", mesh_of("flat mixed", known))
    words = {"name": "mesh_files", "x": "T", "y": "next", "split": [1, 1, 1]}
    return {**words, "train": str(folder / "pair_*.vtu")}


def mesh_pvd(folder: Path) -> dict[str, Any]:
    """A list of files with times, on cells of several kinds."""
    lines = []
    for place in range(6):
        write(folder / f"f{place}.vtu", mesh_of("body mixed", cells={"T": [1.0, 2.0, 3.0 + place]}))
        lines.append(f'<DataSet timestep="{place}" file="f{place}.vtu"/>')
    path = folder / "run.pvd"
    path.write_text(f'<VTKFile type="Collection"><Collection>{"".join(lines)}</Collection></VTKFile>')
    return {**SERIES, "train": str(path)}


def mesh_xdmf(folder: Path) -> dict[str, Any]:
    """XDMF with its numbers in the text, on nodes."""
    path = str(folder / "run.xdmf")
    with meshio.xdmf.TimeSeriesWriter(path, data_format="XML") as writer:
        writer.write_points_cells(SIX, mesh_of("quad").cells)
        for place in range(6):
            writer.write_data(float(place), point_data={"T": place + SIX[:, 0]})
    return {**SERIES, "train": path}


def mesh_vtkhdf(folder: Path) -> dict[str, Any]:
    """One file of HDF5, on hexahedra."""
    path = write(folder / "mesh.vtu", mesh_of("hexahedron", cells={"T": [1.0, 2.0]}))
    graph = read_mesh(path).graph(["T"])
    path.unlink()
    frames = graph.x[:, None] + torch.arange(6.0)[:, None]
    return {**SERIES, "train": str(write_vtkhdf(folder / "run.vtkhdf", graph, {"T": frames}))}
