"""The files of a folder by what they hold: arrays, or meshes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from neuralop_irno.data.readers.array_formats import SUFFIXES, ZARR
from neuralop_irno.data.readers.file_names import in_natural_order
from neuralop_irno.data.readers.mesh_references import XML
from neuralop_irno.data.readers.mesh_series import files_of
from neuralop_irno.data.readers.mesh_sets import mesh_suffixes
from neuralop_irno.errors import expected

LISTED = 4
"""The most files of a kind that an error lists."""


@dataclass(frozen=True)
class Contents:
    """The files of one kind in a folder, in natural order.

    Attributes:
        files: of this kind.
        on_meshes: whether they are meshes; else arrays.
        left_out: names of all other files and folders, except those that belong to the files.
    """

    files: tuple[Path, ...]
    on_meshes: bool
    left_out: tuple[str, ...]


def is_folder_of_files(path: Path) -> bool:
    """Whether a path is a folder, and not a Zarr store."""
    return path.is_dir() and path.suffix not in ZARR


def contents_of(folder: Path, on_meshes: bool = False) -> Contents:
    """The arrays of a folder, or its meshes.

    Args:
        folder: which is searched without its inner folders, other than Zarr stores.
        on_meshes: whether only meshes are of use.

    Raises:
        ValueError: there are both.
        FileNotFoundError: there is neither.
    """
    inside = in_natural_order(folder.iterdir())
    arrays = [path for path in inside if path.suffix in SUFFIXES and path.is_dir() == (path.suffix in ZARR)]
    rest = [path for path in inside if path not in arrays and path.is_file()]
    known = mesh_suffixes() if rest or on_meshes else frozenset()
    meshes = [path for path in rest if path.suffix.lower() in known]
    # The heavy data of an XDMF file are in HDF5 files beside it.
    read = {file.resolve() for mesh in meshes if mesh.suffix.lower() in XML for file in files_of(mesh)}
    arrays = [path for path in arrays if path.resolve() not in read]
    if arrays and (meshes or on_meshes):
        got = f"meshes ({_listed(meshes)}) and arrays ({_listed(arrays)})" if meshes else _listed(arrays)
        wanted = f"{'meshes' if on_meshes else 'files of arrays, or meshes,'} alone in {folder}"
        raise ValueError(expected(wanted, got, "a folder for each kind"))
    files = meshes or arrays
    if not files:
        hint = f"files that end in one of {', '.join((*SUFFIXES, '.vtu', '.msh'))}"
        wanted = f"{'meshes' if on_meshes else 'files of arrays or meshes'} in {folder}"
        raise FileNotFoundError(expected(wanted, _listed(inside) or "nothing", hint))
    others = (path for path in inside if path not in files and path.resolve() not in read)
    names = tuple(f"{path.name}{'/' if path.is_dir() else ''}" for path in others)
    return Contents(tuple(files), bool(meshes), names)


def _listed(paths: Sequence[Path]) -> str:
    more = f", .. {len(paths)} in all" if len(paths) > LISTED else ""
    return ", ".join(path.name for path in paths[:LISTED]) + more
