"""Mesh files by meshio, which is neither trusted to end nor to stay in the file's folder."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from neuralop_irno.data.cells import CUT, POLYHEDRON
from neuralop_irno.data.readers.deadline import within
from neuralop_irno.data.readers.gmsh_data import check_fields
from neuralop_irno.data.readers.mesh_references import OutsideError, files_read_with
from neuralop_irno.data.readers.raw_vtu import inlined
from neuralop_irno.errors import UnreadableError, expected, from_extra, one_line

SECONDS, SECONDS_PER_MB = 3.0, 5.0
"""Limit on CPU time for reading a file: some of meshio's readers hang on truncated files."""


def existing(path: Path) -> Path:
    """The path of a mesh file; raises FileNotFoundError if there is no such file."""
    if not path.is_file():
        raise FileNotFoundError(expected("a mesh file", f"no file at {path}", "the path of a mesh file"))
    return path


def by_meshio(source: Path, read: Callable[[Any], Any] | None = None) -> Any:
    """What meshio reads in a file.

    Args:
        source: the file, which exists.
        read: called with the module; by default it reads one mesh.

    Raises:
        ValueError: meshio cannot read it, or not within a time limit; it refers to a file elsewhere.
    """
    with from_extra("meshio for mesh files", "meshes"):
        import meshio

    size = sum(path.stat().st_size for path in _files(source) if path.is_file())

    # On unreadable files meshio prints and calls sys.exit; on damaged ones its readers raise any exception.
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(said):
        try:
            seconds = SECONDS + SECONDS_PER_MB * size / 1e6
            return within(seconds, lambda: (read or (lambda meshio: _one_mesh(meshio, source)))(meshio))
        except (Exception, SystemExit) as error:
            reason = " ".join(said.getvalue().split()) or one_line(error)
            raise unreadable(source, reason) from error


def _one_mesh(meshio: Any, source: Path) -> Any:
    """One mesh. Gmsh's files are named here: meshio would try another reader first, which does not end."""
    with source.open("rb") as file:
        head = file.read(4096)
    ending = source.suffix.lower()
    if ending == ".vtu":
        if b"vtkLZ4DataCompressor" in head:
            raise UnreadableError("LZ4, which meshio lacks: in ParaView choose the Compressor Type ZLib")
        text = inlined(source)
        if text is not None:
            with TemporaryDirectory() as folder:
                again = Path(folder, source.name)
                again.write_bytes(text)
                return meshio.read(again)
    gmsh = ending == ".msh" and b"$MeshFormat" in head
    if gmsh:
        check_fields(source)
    return meshio.read(source, file_format="gmsh" if gmsh else None)


def unreadable(source: Path, reason: str) -> ValueError:
    """The error for a file that meshio cannot read."""
    hint = CUT if f"types {POLYHEDRON}" in reason else "exporting it as .vtu or .msh"
    return ValueError(expected(f"a mesh that meshio reads in {source.name}", reason, hint))


def _files(source: Path) -> list[Path]:
    """The files that are read; a damaged one can fail here too."""
    try:
        found: list[Path] = within(
            SECONDS + SECONDS_PER_MB * source.stat().st_size / 1e6, lambda: files_read_with(source)
        )
    except OutsideError:
        raise
    except (Exception, SystemExit) as error:
        raise unreadable(source, one_line(error)) from error
    return found
