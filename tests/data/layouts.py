"""Writers of the formats that are read: small files of noise, laid out as the published ones."""

import zlib
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import meshio
import numpy as np
import torch
import xarray
import yaml
import zarr
from mesh_layouts import mesh_pairs, mesh_pvd, mesh_vtkhdf, mesh_xdmf
from pickled_layouts import cifar_files, planetoid_files, superpixel_files
from safetensors.torch import save_file

from neuralop_irno.data.solvers.citations import citation_graph

VARYING = {"sample_varying": True, "time_varying": True}
CONSTANT = {"sample_varying": False, "time_varying": False}


def numbers(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def positions(*shape: int) -> Any:
    return np.random.default_rng(1).random(shape).astype(np.float32)


def add(group: h5py.Group, name: str, values: Any, **attributes: Any) -> None:
    dataset = group.create_dataset(name, data=values)
    dataset.attrs.update(attributes)


def add_blocks(group: Any, name: str, shape: Sequence[int], chunks: Sequence[int], value: float) -> Any:
    """An array of one value that is large in memory and small on the disk: all blocks are the same bytes."""
    block = zlib.compress(np.full(chunks, value, np.float32).tobytes())
    dataset = group.create_dataset(name, tuple(shape), np.float32, chunks=tuple(chunks), compression="gzip")
    for place in product(*[range(0, n, size) for n, size in zip(shape, chunks, strict=True)]):
        dataset.id.write_direct_chunk(place, block)
    return dataset


def write_well_file(
    path: Path,
    grid: Sequence[int] = (6, 5),
    frames: int = 6,
    trajectories: int = 2,
    boundary: Sequence[str] = ("PERIODIC", "OPEN"),
    orders: Sequence[Sequence[str]] = (("density",), ("velocity",), ("strain",)),
    extras: bool = True,
    seed: int = 0,
) -> Path:
    """A file of The Well.

    With extras, also what is rare: constant fields, a field that does not vary along an axis, and scalars
    that vary with time or from trajectory to trajectory.
    """
    dim, axes = len(grid), "xyz"[: len(grid)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs.update({
            "dataset_name": "tiny", "grid_type": "cartesian", "n_spatial_dims": dim,
            "n_trajectories": trajectories, "simulation_parameters": ["tcool"], "tcool": 0.03,
        })  # fmt: skip
        dimensions = file.create_group("dimensions")
        dimensions.attrs["spatial_dims"] = list(axes)
        time = np.arange(frames, dtype=np.float32)
        add(dimensions, "time", time, sample_varying=False, time_varying=True)
        for axis, n in zip(axes, grid, strict=True):
            add(dimensions, axis, np.linspace(0, 1, n, endpoint=False, dtype=np.float32), **CONSTANT)
        conditions = file.create_group("boundary_conditions")
        for axis, n, kind in zip(axes, grid, boundary, strict=True):
            condition = conditions.create_group(f"{axis}_{kind.lower()}")
            condition.attrs.update(
                {"associated_dims": [axis], "associated_fields": [], "bc_type": kind, **CONSTANT}
            )
            ends = np.zeros(n, bool)
            ends[[0, -1]] = True
            condition["mask"] = ends
        scalars = file.create_group("scalars")
        scalars.attrs["field_names"] = ["tcool", "forcing", "mach"] if extras else ["tcool"]
        add(scalars, "tcool", np.float32(0.03), **CONSTANT)
        if extras:
            add(scalars, "forcing", numbers(trajectories, frames, seed=seed + 90), **VARYING)
            add(
                scalars,
                "mach",
                numbers(trajectories, seed=seed + 91),
                sample_varying=True,
                time_varying=False,
            )
        for order, names in enumerate(orders):
            group = file.create_group(f"t{order}_fields")
            alike = {"dim_varying": [True] * dim}
            for place, name in enumerate(names):
                shape = (trajectories, frames, *grid, *[dim] * order)
                add(group, name, 3 + numbers(*shape, seed=seed + 10 * order + place), **VARYING, **alike)
            more = {0: ["mask", "profile"], 1: ["wind"]}.get(order, []) if extras else []
            group.attrs["field_names"] = [*names, *more]
            if "mask" in more:
                add(group, "mask", numbers(*grid, seed=seed + 80), **CONSTANT, **alike)
                # Along the first axis alone, in every trajectory, and stored with an axis of length 1.
                profile = numbers(trajectories, frames, grid[0], *[1] * (dim - 1), seed=seed + 81)
                add(group, "profile", profile, **VARYING, dim_varying=[True, *[False] * (dim - 1)])
            if "wind" in more:
                wind = numbers(trajectories, *grid, dim, seed=seed + 82)
                add(group, "wind", wind, sample_varying=True, time_varying=False, **alike)
    return path


def write_well_statistics(path: Path, dim: int = 2) -> None:
    orders = {"density": 0, "profile": 0, "mask": 0, "velocity": 1, "wind": 1, "strain": 2}
    draw = np.random.default_rng(7)

    def of(order: int, low: float) -> Any:
        return (low + draw.random((dim,) * order)).tolist()

    names = ("mean", "std", "rms", "mean_delta", "std_delta", "rms_delta")
    content = {name: {field: of(order, 0.5) for field, order in orders.items()} for name in names}
    content["std"]["mask"] = 1e-9  # as good as constant
    path.write_text(yaml.safe_dump(content))


def write_well(folder: Path, **options: Any) -> Path:
    """A whole data set: two files for training, one for each of the others."""
    for place, name in enumerate(("train/b", "train/a", "valid/a", "test/a")):
        write_well_file(folder / "data" / f"{name}.hdf5", seed=100 * place, **options)
    write_well_statistics(folder / "stats.yaml", len(options.get("grid", (6, 5))))
    return folder


def write_superbench(folder: Path, grid: tuple[int, int] = (33, 48), counts: Sequence[int] = (3, 2)) -> Path:
    """Two files in every folder, in the units of ERA5."""
    mean, std = np.array([6.3, 278.4, 18.4]), np.array([3.7, 21.1, 16.5])
    for part, split in enumerate(("train", "valid_1", "valid_2", "test_1", "test_2")):
        (folder / split).mkdir(parents=True, exist_ok=True)
        for year, count in enumerate(counts):
            values = numbers(count, 3, *grid, seed=10 * part + year)
            with h5py.File(folder / split / f"{2008 + year}.h5", "w") as file:
                file["fields"] = (values * std[:, None, None] + mean[:, None, None]).astype(np.float32)
    return folder


def write_tensors(folder: Path, prefix: str, n: int, x: Sequence[int], y: Sequence[int]) -> Path:
    """A pair of files as neuraloperator names them, with 9 samples for training and 4 for the test."""
    for place, (split, count) in enumerate({"train": 9, "test": 4}.items()):
        arrays = {"x": numbers(count, *x, seed=place), "y": 2 + 3 * numbers(count, *y, seed=place + 10)}
        content = {name: torch.from_numpy(array) for name, array in arrays.items()}
        torch.save(content, folder / f"{prefix}_{split}_{n}.pt")
    return folder


def ball(rings: int = 8, around: int = 12) -> tuple[Any, Any]:
    """The unit sphere as triangles, seen from outside counter-clockwise."""
    height, turn = np.meshgrid(
        np.pi * np.arange(1, rings) / rings, 2 * np.pi * np.arange(around) / around, indexing="ij"
    )
    belt = np.stack(
        [np.sin(height) * np.cos(turn), np.sin(height) * np.sin(turn), np.cos(height)], -1
    ).reshape(-1, 3)
    pos = np.concatenate([belt, [[0, 0, 1], [0, 0, -1]]])
    top, bottom = len(belt), len(belt) + 1
    cells = []
    for column in range(around):
        right = (column + 1) % around
        cells += [(top, column, right), (bottom, top - around + right, top - around + column)]
        for row in range(rings - 2):
            a, b = row * around + column, row * around + right
            cells += [(a, a + around, b), (b, a + around, b + around)]
    return pos, np.array(cells)


def folder_of_balls(folder: Path, extra: int = 96) -> Path:
    """Balls of several sizes in a wind: the pressure at a node is that of potential flow."""
    pos, cells = ball()
    for number, size in enumerate((1.0, 1.5, 0.5, 2.0), start=1):
        home = folder / "data" / f"{number:03}"
        home.mkdir(parents=True)
        meshio.Mesh(size * pos, [("triangle", cells.astype(np.int32))]).write(home / "tri_mesh.ply")
        pressure = 1 - 2.25 * (1 - pos[:, 0] ** 2)
        np.save(home / "press.npy", np.insert(pressure, [16] * extra, 1e6).astype(np.float32))
    (folder / "train.txt").write_text("001,002,003")
    (folder / "test.txt").write_text("004,")
    return folder


def write_zarr(folder: Path, frames: Any = None, **attributes: Any) -> str:
    """A store with the array ``frames``, a chunk for each frame."""
    frames = numbers(4, 5, 2, 6, 4) if frames is None else frames
    path = str(folder / "flows.zarr")
    array = zarr.open_group(path, mode="w").create_array(
        "frames", shape=frames.shape, chunks=(1, 1, *frames.shape[2:]), dtype=frames.dtype
    )
    array[...] = frames
    array.attrs.update(attributes)
    return path


def write_arrays(path: Path, **arrays: Any) -> Path:
    """A file of HDF5, as RIGNO's are."""
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


def _npz(folder: Path) -> dict[str, Any]:
    np.savez(folder / "a.npz", x=numbers(3, 1, 8), y=numbers(3, 1, 8))
    return {"name": "files", "train": str(folder / "a.npz"), "valid": str(folder / "a.npz")}


def _safetensors(folder: Path) -> dict[str, Any]:
    path = folder / "a.safetensors"
    save_file({name: torch.from_numpy(numbers(3, 1, 8)) for name in "xy"}, path)
    return {"name": "files", "train": str(path), "valid": str(path)}


def _torch(folder: Path) -> dict[str, Any]:
    path = folder / "a.pt"
    torch.save({name: torch.from_numpy(numbers(3, 1, 8)) for name in "xy"}, path)
    return {"name": "files", "train": str(path), "valid": str(path)}


def _own(folder: Path, suffix: str, **options: Any) -> dict[str, Any]:
    """A series with named axes and coordinates, as xarray writes it."""
    content = {"u": (("sample", "time", "x"), numbers(3, 4, 8)), "m": (("x",), numbers(8))}
    data = xarray.Dataset(content, {"x": np.arange(8.0), "time": np.arange(4.0)})
    path = folder / f"a{suffix}"
    (data.to_zarr if suffix == ".zarr" else data.to_netcdf)(path, **options)
    words = {"name": "files", "train": str(path), "split": [1, 1, 1], "time": "time"}
    return {**words, "y": ["u"], "static": ["m"]}


def _pdebench(folder: Path) -> dict[str, Any]:
    with h5py.File(folder / "a.h5", "w") as file:
        file["tensor"] = numbers(3, 4, 8).astype(np.float32)
        file["x-coordinate"], file["t-coordinate"] = np.arange(8.0), np.arange(5.0)
    words = {"name": "files", "train": str(folder / "a.h5"), "split": [1, 1, 1]}
    return {**words, "time": "t", "y": ["tensor"]}


def _well(folder: Path) -> dict[str, Any]:
    return {"name": "the_well", "folder": str(write_well(folder)), "inputs": 2, "scalars": True}


def _superbench(folder: Path) -> dict[str, Any]:
    return {
        "name": "superbench",
        "folder": str(write_superbench(folder, (9, 8), (2,))),
        "factor": 2,
        "crop": 8,
    }


def _zarr(folder: Path) -> dict[str, Any]:
    return {"name": "zarr", "path": write_zarr(folder), "trajectories": [2, 1, 1]}


def _tensors(folder: Path) -> dict[str, Any]:
    write_tensors(folder, "darcy", 6, (6, 6), (6, 6))
    words = {"name": "neuraloperator_file", "problem": "darcy", "resolution": 6, "samples": [6, 2, 4]}
    return {**words, "folder": str(folder)}


def _points(folder: Path) -> dict[str, Any]:
    path = write_arrays(folder / "CE-Gauss.nc", u=numbers(4, 5, 30, 5), x=positions(1, 1, 30, 2))
    return {"name": "rigno_file", "path": str(path), "samples": [2, 1, 1]}


def _grids(folder: Path) -> dict[str, Any]:
    path = write_arrays(folder / "Poisson-Gauss.nc", solution=numbers(4, 6, 5), source=numbers(4, 6, 5))
    return {"name": "rigno_file", "path": str(path), "samples": [2, 1, 1]}


def _cars(folder: Path) -> dict[str, Any]:
    return {"name": "car_cfd", "folder": str(folder_of_balls(folder))}


def _papers(folder: Path) -> dict[str, Any]:
    planetoid_files(folder, citation_graph(scale=0.35, labels=5))
    return {"name": "planetoid", "folder": str(folder)}


def _superpixels(folder: Path) -> dict[str, Any]:
    superpixel_files(folder)
    return {"name": "pascalvoc_sp", "folder": str(folder)}


def _images(folder: Path) -> dict[str, Any]:
    cifar_files(folder)
    return {"name": "masked_cifar10", "folder": str(folder)}


SMALL: dict[str, Callable[[Path], dict[str, Any]]] = {
    "npz": _npz, "safetensors": _safetensors, "the_well": _well, "superbench": _superbench, "zarr": _zarr,
    "neuraloperator_file": _tensors, "rigno points": _points, "rigno grid": _grids, "car_cfd": _cars,
    "planetoid": _papers, "pascalvoc_sp": _superpixels, "cifar": _images,
    "torch": _torch, "pdebench": _pdebench,
    "mesh pairs": mesh_pairs, "mesh pvd": mesh_pvd, "mesh xdmf": mesh_xdmf, "mesh vtkhdf": mesh_vtkhdf,
    "netcdf 3": partial(_own, suffix=".nc", engine="scipy"),
    "netcdf 4": partial(_own, suffix=".nc", engine="h5netcdf"),
    "zarr 2": partial(_own, suffix=".zarr", zarr_format=2),
    "zarr 3": partial(_own, suffix=".zarr", zarr_format=3, consolidated=False),
}  # fmt: skip
"""Writers of the smallest data of each format: each returns the options that read it."""
