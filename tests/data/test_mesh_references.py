"""Mesh files that would have other files read are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import meshio
import numpy as np
import pytest

from neuralop_irno.data.readers.mesh_files import read_mesh

POINTS = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
TRIANGLE = [("triangle", np.array([[0, 1, 2]]))]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder beside one with files that are not its own."""
    for name in ("mine", "secret"):
        (tmp_path / name).mkdir()
    return tmp_path / "mine"


def saved(path: Path) -> Path:
    meshio.Mesh(POINTS, TRIANGLE, {"u": POINTS[:, 0]}).write(path)
    return path


def xdmf_of(path: Path, to: str) -> None:
    """XDMF whose arrays are in HDF5, which is moved to another place."""
    saved(path)
    target = path.parent / to
    (path.parent / f"{path.stem}.h5").rename(target)
    path.write_text(path.read_text().replace(f"{path.stem}.h5:", f"{to}:"))


def raw_numbers(path: Path) -> None:
    secret = path.parent.parent / "secret/numbers.bin"
    POINTS.tofile(secret)
    saved(path)
    whole = path.read_text()
    start = whole.index('Format="HDF"', whole.index("<Geometry"))
    end = whole.index("</DataItem>", start)
    path.write_text(f'{whole[:start]}Format="Binary">{secret}{whole[end:]}')


def linked(path: Path) -> None:
    saved(path)
    name = "ENS_MAA/mesh/-0000000000000000001-0000000000000000001/NOE/COO"
    with h5py.File(path, "a") as file, h5py.File(path.parent.parent / "secret/a.h5", "w") as other:
        other["x"] = file[name][...]
        del file[name]
        file[name] = h5py.ExternalLink("../secret/a.h5", "/x")


def virtual(path: Path) -> None:
    saved(path)
    with h5py.File(path, "a") as file:
        layout = h5py.VirtualLayout((3,), float)
        layout[...] = h5py.VirtualSource("../secret/a.h5", "x", (3,))
        file.create_virtual_dataset("more", layout)


def external(path: Path) -> None:
    saved(path)
    with h5py.File(path, "a") as file:
        file.create_dataset("more", (3,), float, external=[("../secret/a.bin", 0, 24)])


def included(path: Path) -> None:
    saved(path.parent.parent / "secret/a.inp")
    path.write_text("*INCLUDE, INPUT=../secret/a.inp\n")


def included_by_the_included(path: Path) -> None:
    included(path.parent / "inner.inp")
    path.write_text("*Heading\n*include,input=inner.inp\n")


REFERENCES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "hdf of xdmf": (
        "a.xdmf",
        lambda path: xdmf_of(path, "../secret/a.h5"),
        "own folder, got '.*/secret/a.h5'",
    ),
    "raw numbers of xdmf": ("a.xmf", raw_numbers, "of its own folder, got '.*/secret/numbers.bin'"),
    "a link": ("a.med", linked, "COO in a.med itself, got a link to '../secret/a.h5'"),
    "a virtual array": ("a.med", virtual, "more in a.med itself, got a virtual array"),
    "an array elsewhere": (
        "a.med",
        external,
        "more in a.med itself, got numbers in the file '../secret",
    ),
    "an include": ("a.inp", included, r"references in a.inp .*, got '.*secret/a.inp'"),
    "an include in another": ("a.inp", included_by_the_included, r"references in inner.inp .*secret/a.inp'"),
}


@pytest.mark.parametrize(("name", "write", "problem"), REFERENCES.values(), ids=REFERENCES)
def test_references_to_files_elsewhere_are_refused(
    name: str, write: Callable[[Path], object], problem: str, place: Path
) -> None:
    write(place / name)
    with pytest.raises(ValueError, match=rf"^expected .*{problem}.*; try "):
        read_mesh(place / name)


def test_files_in_its_own_folder_are_read(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "arrays").mkdir()
    xdmf_of(place / "a.xdmf", "arrays/a.h5")
    saved(place / "b.inp")
    (place / "c.inp").write_text("*INCLUDE, INPUT=b.inp\n")
    saved(place / "d.med")
    for path in (place / "a.xdmf", place / "c.inp", place / "d.med"):
        assert read_mesh(path).cells.tolist() == [[0, 1, 2]]
    monkeypatch.chdir(place)
    for name in ("a.xdmf", "c.inp", "d.med"):
        assert read_mesh(name).cells.tolist() == [[0, 1, 2]]


def test_links_in_xdmfs_own_hdf5_are_found(place: Path) -> None:
    saved(place / "a.xdmf")
    with h5py.File(place / "a.h5", "a") as file:
        del file["data0"]
        file["data0"] = h5py.ExternalLink("../secret/a.h5", "/x")
    with pytest.raises(ValueError, match=r"expected data0 in a.h5 itself, got a link to '../secret/a.h5'"):
        read_mesh(place / "a.xdmf")
