"""Writers of the formats that are read: small files of noise, laid out as the published ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import yaml

VARYING = {"sample_varying": True, "time_varying": True}
CONSTANT = {"sample_varying": False, "time_varying": False}


def numbers(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def add(group: h5py.Group, name: str, values: Any, **attributes: Any) -> None:
    dataset = group.create_dataset(name, data=values)
    dataset.attrs.update(attributes)


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
