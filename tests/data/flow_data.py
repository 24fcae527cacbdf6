"""The smallest data sets with time, of every kind, as configs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import meshio
import numpy as np
import zarr
from layouts import numbers, write_well
from own_files import in_netcdf3, variables
from scipy.spatial import Delaunay


def of_well(folder: Path, extras: bool = False, **options: Any) -> Mapping[str, Any]:
    write_well(folder, orders=(("density",), ("velocity",), ()), extras=extras)
    return {"name": "the_well", "folder": str(folder), "inputs": 2, **options}


def of_zarr(folder: Path, outputs: int = 1) -> Mapping[str, Any]:
    frames = zarr.open_group(str(folder), mode="w").create_array("frames", data=numbers(3, 7, 2, 8, 8))
    frames.attrs.update({"fields": ["u", "v"], "padding": ["circular", "circular"]})
    counts = {"trajectories": [1, 1, 1], "mean": [1.0, -2.0], "std": [2.0, 0.5]}
    return {
        "name": "zarr",
        "path": str(folder),
        "inputs": 2,
        "outputs": outputs,
        "step": 2 // outputs,
        **counts,
    }


def of_rigno(folder: Path) -> Mapping[str, Any]:
    folder.mkdir()
    with h5py.File(folder / "CE-Gauss.nc", "w") as file:
        file["u"], file["x"] = (
            numbers(3, 5, 16, 5),
            np.random.default_rng(0).random((1, 1, 16, 2), np.float32),
        )
        file["c"] = numbers(3, 1, 16, 1)
    return {"name": "rigno_file", "path": str(folder / "CE-Gauss.nc"), "samples": [1, 1, 1], "leads": [2, 4]}


def of_own_files(folder: Path) -> Mapping[str, Any]:
    folder.mkdir()
    in_netcdf3(folder / "own.nc", variables(2, series=True))
    names = {"y": ["u", "v"], "static": ["m"], "mask": "m", "time": "time"}
    return {"name": "files", "train": str(folder / "own.nc"), "split": [2, 1, 2], "inputs": 2, **names}


def of_mesh_files(folder: Path) -> Mapping[str, Any]:
    """Three series of a solid of tetrahedra."""
    pos = np.random.default_rng(0).random((20, 3))
    cells = [("tetra", Delaunay(pos).simplices)]
    for run in range(3):
        (folder / f"run{run}").mkdir(parents=True)
        for frame in range(5):
            fields = {"T": numbers(len(pos), seed=10 * run + frame), "wall": (pos[:, 0] < 0.2).astype(float)}
            fields["U"] = numbers(len(pos), 3, seed=10 * run + frame)
            meshio.Mesh(pos, cells, fields).write(folder / f"run{run}/frame_{frame}.vtu")
    series = [str(folder / f"run{run}") for run in range(3)]
    return {
        "name": "mesh_files",
        "train": series,
        "split": [1, 1, 1],
        "x": ["T", "U"],
        "static": "wall",
        "inputs": 2,
    }


def generated(name: str, **options: Any) -> Callable[[Path], Mapping[str, Any]]:
    return lambda folder: {"name": name, **options}


FLOWS: dict[str, Callable[[Path], Mapping[str, Any]]] = {
    "windows": generated("burgers", trajectories=[2, 1, 2], frames=4, size=8),
    "bundles": generated("turbulence", trajectories=[1, 1, 2], frames=5, size=8, resolution=8, outputs=2),
    "sphere": generated("shallow_water", trajectories=[1, 1, 1], frames=4, size=8, frame=0.1, warmup=0.1),
    "well": of_well,
    "zarr": of_zarr,
    "zarr bundles": lambda folder: of_zarr(folder, outputs=2),
    "own files": of_own_files,
    "points": generated("ce_gauss", samples=[1, 1, 2], points=16, resolution=8, frames=3, time=0.05),
    "rigno": of_rigno,
    "meshes": generated("waves", samples=[1, 1, 2], spacing=0.4, outputs=3),
    "mesh files": of_mesh_files,
    "wind": generated("advection_diffusion", samples=[1, 1, 2], spacing=0.4, outputs=2),
}  # fmt: skip
"""From a folder for files to the config of the data."""
