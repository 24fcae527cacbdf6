"""Laws that all readers of files share, each on the smallest data of its format."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import meshio
import numpy as np
import pytest
import torch
import zarr
from layouts import SMALL
from safetensors.torch import load_file, save_file
from scipy.io import netcdf_file
from scipy.sparse import csr_matrix

from neuralop_irno.data.splits import load_splits


@pytest.mark.parametrize("kind", SMALL)
def test_a_data_set_names_the_files_that_it_reads(kind: str, tmp_path: Path) -> None:
    splits = load_splits(SMALL[kind](tmp_path))
    named = {path for split in splits.values() for path in split.files}
    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    # Of the cars' lists of names, and of ERA5's second test set, no pair is read.
    unread = {p for p in written if p.name in ("train.txt", "test.txt") or p.parent.name == "test_2"}
    assert named == written - unread


ARRAYS = {
    "the_well": ("data/valid/a.hdf5", "t1_fields/velocity"),
    "mesh vtkhdf": ("run.vtkhdf", "VTKHDF/CellData/T"),
    "superbench": ("valid_1/2008.h5", "fields"),
    "rigno points": ("CE-Gauss.nc", "u"),
    "rigno grid": ("Poisson-Gauss.nc", "solution"),
    "pdebench": ("a.h5", "tensor"),
    "netcdf 4": ("a.nc", "m"),
}
"""An array that is read, for each format that is HDF5."""


def elsewhere(path: Path, array: Any) -> None:
    with h5py.File(path, "w") as file:
        file["array"] = array


def linked(file: h5py.File, name: str, array: Any, outside: Path) -> None:
    elsewhere(outside, array)
    file[name] = h5py.ExternalLink(str(outside), "/array")


def renamed(file: h5py.File, name: str, array: Any, outside: Path) -> None:
    linked(file, "elsewhere", array, outside)
    file[name] = h5py.SoftLink("/elsewhere")


def virtual(file: h5py.File, name: str, array: Any, outside: Path) -> None:
    elsewhere(outside, array)
    layout = h5py.VirtualLayout(array.shape, array.dtype)
    layout[...] = h5py.VirtualSource(str(outside), "array", array.shape)
    file.create_virtual_dataset(name, layout)


def without_its_source(file: h5py.File, name: str, array: Any, outside: Path) -> None:
    virtual(file, name, array, outside)
    outside.unlink()  # the array is read as zeros


def raw(file: h5py.File, name: str, array: Any, outside: Path) -> None:
    outside.write_bytes(array.tobytes())
    file.create_dataset(name, array.shape, array.dtype, external=[(str(outside), 0, array.nbytes)])


def never_written(file: h5py.File, name: str, array: Any, outside: Path) -> None:
    file.create_dataset(name, array.shape, array.dtype)


def written_in_part(file: h5py.File, name: str, array: Any, outside: Path) -> None:
    file.create_dataset(name, array.shape, array.dtype, chunks=(1, *array.shape[1:]))[0] = array[0]


def of_any_size(file: h5py.File, name: str, array: Any, outside: Path) -> None:
    file.create_dataset(name, (10**12, *array.shape[1:]), array.dtype, chunks=(1, *array.shape[1:]))


def of_words(file: h5py.File, name: str, array: Any, outside: Path) -> None:
    file[name] = np.full(array.shape, b"word")


def without_numbers(file: h5py.File, name: str, array: Any, outside: Path) -> None:
    file[name] = array[:0]


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize(
    ("replace", "problem"),
    [
        (linked, "got a ExternalLink to"), (renamed, "got a SoftLink to"), (virtual, "got a virtual array"),
        (without_its_source, "got a virtual array"), (raw, "got numbers in the file"),
        (never_written, "got 0 bytes"), (written_in_part, "blocks, the others not written"),
        (of_any_size, "blocks, the others not written"), (of_words, "got entries of the kind"),
        (without_numbers, "got no numbers"),
    ],
)  # fmt: skip
def test_numbers_that_are_not_in_the_file_are_refused(
    kind: str, replace: Callable[..., None], problem: str, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    data = SMALL[kind](tmp_path / "in")
    path, name = ARRAYS[kind]
    with h5py.File(tmp_path / "in" / path, "a") as file:
        array, attributes = file[name][...], dict(file[name].attrs)
        del file[name]
        replace(file, name, array, tmp_path / "outside")
        if not isinstance(file.get(name, getlink=True), (h5py.ExternalLink, h5py.SoftLink)):
            file[name].attrs.update(attributes)
    with pytest.raises(ValueError, match=f"^expected .*{Path(path).name}.*{problem}.*; try"):
        load_splits(data)


def in_npz(path: Path, value: float) -> None:
    with np.load(path) as arrays:
        content = dict(arrays)
    content["y"][-1, ..., 0] = value
    np.savez(path, **content)


def in_safetensors(path: Path, value: float) -> None:
    content = load_file(path)
    content["y"][-1, ..., 0] = value
    save_file(content, path)


def in_pt(path: Path, value: float) -> None:
    content = torch.load(path, weights_only=True)
    content["y"][-1, ..., 0] = value
    torch.save(content, path)


def in_hdf5(name: str) -> Callable[[Path, float], None]:
    def spoil(path: Path, value: float) -> None:
        with h5py.File(path, "a") as file:
            file[name][-1, ..., 0] = value

    return spoil


def in_zarr(path: Path, value: float) -> None:
    frames: Any = zarr.open_group(str(path), mode="a")["frames"]
    frames[-1, -1, 0, 0, 0] = value


def in_own_zarr(path: Path, value: float) -> None:
    frames: Any = zarr.open_group(str(path), mode="a")["u"]
    frames[-1, -1, 0] = value


def in_netcdf3(path: Path, value: float) -> None:
    with netcdf_file(path, "a", mmap=False) as file:
        file.variables["u"][-1, -1, 0] = value


def in_npy(path: Path, value: float) -> None:
    values = np.load(path)
    values[-1] = value
    np.save(path, values)


def in_pickle(path: Path, value: float) -> None:
    matrix = pickle.loads(path.read_bytes()).toarray()
    matrix[-1, -1] = value
    path.write_bytes(pickle.dumps(csr_matrix(matrix)))


def in_tuples(path: Path, value: float) -> None:
    graphs = pickle.loads(path.read_bytes())
    graphs[0][0][-1, -1] = value
    path.write_bytes(pickle.dumps(graphs))


def in_mesh(path: Path, value: float) -> None:
    mesh = meshio.read(path)
    for fields in (mesh.point_data, {name: parts[-1] for name, parts in mesh.cell_data.items()}):
        if "T" in fields:
            fields["T"][-1] = value
    mesh.write(path)


def in_xdmf(path: Path, value: float) -> None:
    before, attribute, rest = path.read_text().rpartition('<Attribute Name="T"')
    rows, end, tail = rest.partition("\n</DataItem>")
    path.write_text(f"{before}{attribute}{rows.rpartition(chr(10))[0]}\n{value}{end}{tail}")


def in_vtkhdf(path: Path, value: float) -> None:
    with h5py.File(path, "a") as file:
        file["VTKHDF/CellData/T"][-1] = value


HOLES: dict[str, tuple[str, Callable[[Path, float], None], str]] = {
    "npz": ("a.npz", in_npz, "y in a.npz"),
    "safetensors": ("a.safetensors", in_safetensors, "y in a.safetensors"),
    "neuraloperator_file": ("darcy_test_6.pt", in_pt, r"y\[3\] in darcy_test_6.pt"),
    "the_well": (
        "data/test/a.hdf5",
        in_hdf5("t1_fields/velocity"),
        r"velocity\[1, 0:3\] in a.hdf5",
    ),
    "superbench": ("test_1/2008.h5", in_hdf5("fields"), r"fields\[1, :, 0:8, 0:8\] in 2008.h5"),
    "zarr": ("flows.zarr", in_zarr, r"frames\[3, 3:5\] in flows.zarr"),
    "rigno points": ("CE-Gauss.nc", in_hdf5("u"), r"u\[3, .* in CE-Gauss.nc"),
    "rigno grid": ("Poisson-Gauss.nc", in_hdf5("solution"), r"solution\[3\] in Poisson-Gauss.nc"),
    "car_cfd": ("data/004/press.npy", in_npy, "the pressures in press.npy"),
    "planetoid": ("Cora/raw/ind.cora.tx", in_pickle, "ind.cora.tx"),
    "pascalvoc_sp": ("pascalvoc-sp/raw/test.pickle", in_tuples, r"x of graph 0 in test.pickle"),
    "torch": ("a.pt", in_pt, "y in a.pt"),
    "pdebench": ("a.h5", in_hdf5("tensor"), r"tensor\[2, 0:2\] in a.h5"),
    "mesh pairs": ("pair_2.vtu", in_mesh, "T in pair_2.vtu"),
    "mesh pvd": ("f5.vtu", in_mesh, "T in frame 5 of run.pvd"),
    "mesh xdmf": ("run.xdmf", in_xdmf, "T in frame 5 of run.xdmf"),
    "mesh vtkhdf": ("run.vtkhdf", in_vtkhdf, "T in frame 5 of run.vtkhdf"),
    "netcdf 4": ("a.nc", in_hdf5("u"), r"u\[2, 0:2\] in a.nc"),
    "netcdf 3": ("a.nc", in_netcdf3, r"u\[2, 2:4\] in a.nc"),
    "zarr 2": ("a.zarr", in_own_zarr, r"u\[2, 2:4\] in a.zarr"),
    "zarr 3": ("a.zarr", in_own_zarr, r"u\[2, 2:4\] in a.zarr"),
}
"""A file of each format, how one value in it is replaced, and how the error names the place."""


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("kind", [kind for kind in SMALL if kind != "cifar"])  # its numbers are bytes
def test_fields_that_are_not_finite_are_refused_by_file_and_place(
    kind: str, value: float, tmp_path: Path
) -> None:
    data = SMALL[kind](tmp_path)
    file, spoil, where = HOLES[kind]
    spoil(tmp_path / file, value)

    def read_all() -> None:
        test = load_splits(data)["test"]
        for place in range(len(test)):
            test[place]

    with pytest.raises(ValueError, match=rf"{where} to be finite, got \d+ NaN or inf; try cleaning"):
        read_all()
