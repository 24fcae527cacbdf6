"""Writers of own files: the same variables in every format, with names of axes where it has them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import xarray
from layouts import numbers
from safetensors.torch import save_file

SIZES = {1: (8,), 2: (8, 6), 3: (8, 6, 5)}
AXES = {1: ("x",), 2: ("y", "x"), 3: ("z", "y", "x")}
SAMPLES, FRAMES = 5, 6

Arrays = Mapping[str, tuple[tuple[str, ...], Any]]
"""The names of the axes, and the values, of each variable."""


def variables(dim: int, series: bool) -> dict[str, tuple[tuple[str, ...], Any]]:
    """A scalar field u, a field v of two channels, and a static field m."""
    front: dict[str, int] = {"sample": SAMPLES, **({"time": FRAMES} if series else {})}
    axes, shape = AXES[dim], SIZES[dim]
    found = {
        "u": ((*front, "channel1", *axes), numbers(*front.values(), 1, *shape, seed=1)),
        "v": ((*front, "channel", *axes), numbers(*front.values(), 2, *shape, seed=2)),
        "m": (axes, numbers(*shape, seed=3)),
    }
    return {name: (names, values.astype(np.float32)) for name, (names, values) in found.items()}


def labelled(arrays: Arrays) -> xarray.Dataset:
    """The variables with coordinates, as users of xarray have them."""
    content: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    for name, (dims, values) in arrays.items():
        kept = [axis for axis, dim in enumerate(dims) if dim != "channel1"]
        content[name] = (tuple(dims[axis] for axis in kept), values.reshape([values.shape[k] for k in kept]))
        sizes |= dict(zip(dims, values.shape, strict=True))
    steps = {dim: size for dim, size in sizes.items() if dim in ("x", "y", "z")}
    along = {dim: (np.arange(size) + 0.5) / size for dim, size in steps.items()}
    if "time" in sizes:
        along["time"] = 10 + 0.5 * np.arange(FRAMES)
    data = xarray.Dataset(content, along)
    data["u"].attrs["units"] = "m s-1"
    return data


def in_npz(path: Path, arrays: Arrays) -> None:
    np.savez(path, **{name: values for name, (_, values) in arrays.items()})


def in_safetensors(path: Path, arrays: Arrays) -> None:
    save_file({name: torch.from_numpy(values) for name, (_, values) in arrays.items()}, path)


def in_pt(path: Path, arrays: Arrays) -> None:
    torch.save({name: torch.from_numpy(values) for name, (_, values) in arrays.items()}, path)


def in_hdf5(path: Path, arrays: Arrays) -> None:
    with h5py.File(path, "w") as file:
        for name, (_, values) in arrays.items():
            file[name] = values


def in_labelled_hdf5(path: Path, arrays: Arrays) -> None:
    in_hdf5(path, arrays)
    with h5py.File(path, "a") as file:
        for name, (dims, _) in arrays.items():
            for axis, dim in enumerate(dims):
                file[name].dims[axis].label = dim.removesuffix("1")


def in_netcdf3(path: Path, arrays: Arrays) -> None:
    labelled(arrays).to_netcdf(path, engine="scipy", format="NETCDF3_64BIT")


def in_netcdf4(path: Path, arrays: Arrays) -> None:
    labelled(arrays).to_netcdf(path, engine="h5netcdf")


def in_zarr2(path: Path, arrays: Arrays) -> None:
    labelled(arrays).to_zarr(path, zarr_format=2)


def in_zarr3(path: Path, arrays: Arrays) -> None:
    labelled(arrays).to_zarr(path, zarr_format=3, consolidated=False)


FORMATS: dict[str, tuple[str, Callable[[Path, Arrays], None]]] = {
    "npz": (".npz", in_npz),
    "safetensors": (".safetensors", in_safetensors),
    "pt": (".pt", in_pt),
    "hdf5": (".h5", in_hdf5),
    "hdf5 with labels": (".hdf5", in_labelled_hdf5),
    "netcdf 3": (".nc", in_netcdf3),
    "netcdf 4": (".nc", in_netcdf4),
    "zarr 2": (".zarr", in_zarr2),
    "zarr 3": (".zarr", in_zarr3),
}
"""The suffix of each format, and its writer."""


def written(folder: Path, kind: str, arrays: Arrays, name: str = "own") -> str:
    """A file of a format."""
    suffix, write = FORMATS[kind]
    path = folder / f"{name}{suffix}"
    write(path, arrays)
    return str(path)


def pdebench(path: Path, dim: int, channels: int = 0, groups: bool = False) -> dict[str, Any]:
    """PDEBench's layouts: ``tensor`` and coordinates, or a group for each sample; returns the values."""
    space, axes = SIZES[dim], "xyz"[:dim]
    values = numbers(SAMPLES, FRAMES, *space, *([channels] if channels else []), seed=4).astype(np.float32)
    along = {axis: (np.arange(n) + 0.5) / n for axis, n in zip(axes, space, strict=True)}
    along["t"] = 0.25 * np.arange(FRAMES + 1 - groups)  # some of its files have a time more
    with h5py.File(path, "w") as file:
        if groups:
            for sample, frames in enumerate(values):
                group = file.create_group(f"{sample:04}")
                group["data"] = frames
                for axis, points in along.items():
                    group[f"grid/{axis}"] = points
        else:
            file["tensor"] = values
            for axis, points in along.items():
                file[f"{axis}-coordinate"] = points
    return {"values": np.moveaxis(values, -1, 2) if channels else values[:, :, None], **along}
