"""Check references of mesh files to other files, which meshio opens: only the same folder is allowed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import h5py

from neuralop_irno.data.readers.hdf5 import named_damage
from neuralop_irno.errors import expected

XML, ABAQUS = (".xdmf", ".xmf"), ".inp"


class OutsideError(ValueError):
    """A mesh file refers to a file outside its folder."""


def files_read_with(source: Path) -> list[Path]:
    """A mesh file and those that it refers to; those outside its folder raise an error.

    XDMF refers to HDF5 or binary files, and Abaqus includes files. HDF5 (MED, CGNS, Exodus) can have links to
    other files, virtual arrays and external arrays: these are always refused.

    Raises:
        OutsideError: it refers to such a file.
    """
    found = [source]
    if source.suffix.lower() in XML:
        found += _of_xdmf(source)
    elif source.suffix.lower() == ABAQUS:
        found += _of_abaqus(source, source.parent, [])
    else:
        _check_hdf5(source)
    return list(dict.fromkeys(found))


def _of_xdmf(source: Path) -> Iterator[Path]:
    home = source.resolve().parent
    try:
        root = ElementTree.parse(source).getroot()
    except ElementTree.ParseError:
        return  # meshio cannot read it either
    for item in root.iter("DataItem"):
        text = (item.text or "").strip()
        if item.get("Format") == "HDF":
            file = home / text.split(":")[0]
            check_place(file, home, source)
            _check_hdf5(file)
            yield file
        elif item.get("Format") == "Binary":
            check_place(Path(text), home, source)  # relative to the working directory, as in meshio
            yield Path(text)


def _of_abaqus(source: Path, home: Path, above: list[Path]) -> Iterator[Path]:
    if source in above or not source.is_file():
        return  # meshio cannot read it either
    with source.open(errors="replace") as lines:
        for line in lines:
            if line.partition(",")[0].strip().replace("*", "").upper() == "INCLUDE":
                named = Path(line.split("=")[-1].strip())
                file = named if named.exists() else home / named
                check_place(file, home, source)
                yield file
                yield from _of_abaqus(file, file.parent, [*above, source])


def check_place(file: Path, home: Path, source: Path) -> None:
    """Check a file's folder; the file itself may be a link, as for large files under version control."""
    if not file.parent.resolve().is_relative_to(home.resolve()):
        wanted = f"references in {source.name} to files of its own folder"
        raise OutsideError(expected(wanted, repr(str(file)), "moving that file there"))


def _check_hdf5(source: Path) -> None:
    if not source.is_file() or not h5py.is_hdf5(source):
        return
    with named_damage(source), h5py.File(source, "r") as file:
        for path, problem in [*_links(file), *_elsewhere(file)]:
            wanted = f"{path} in {source.name} itself"
            raise OutsideError(expected(wanted, problem, "copying it into the file"))


def _links(file: h5py.File) -> Iterator[tuple[str, str]]:
    """Links to other files."""
    found: list[tuple[str, str]] = []

    def visit(name: str, link: Any) -> None:
        if isinstance(link, h5py.ExternalLink):
            found.append((name, f"a link to {link.filename!r}"))

    file.visititems_links(visit)
    yield from found


def _elsewhere(file: h5py.File) -> Iterator[tuple[str, str]]:
    """Arrays whose numbers are in other files."""
    found: list[tuple[str, str]] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.is_virtual:
            found.append((name, "a virtual array"))
        elif isinstance(item, h5py.Dataset) and item.external:
            found.append((name, f"numbers in the file {item.external[0][0]!r}"))

    file.visititems(visit)
    yield from found
