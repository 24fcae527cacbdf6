"""Read meshes with fields in any format of meshio, and write fields on meshes."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.data.cells import cells_of
from neuralop_irno.data.finite import finite
from neuralop_irno.data.mesh import edges_of
from neuralop_irno.data.readers.deadline import within
from neuralop_irno.data.readers.mesh_references import OutsideError, refuse_outside
from neuralop_irno.domain.elements import lumped_measure
from neuralop_irno.errors import check_choice, expected, from_extra, one_line

CORNERS = {"triangle": 3, "quad": 4, "tetra": 4}
"""Cell types that are read, by meshio's names, and their numbers of corners."""

SECONDS, SECONDS_PER_MB = 3.0, 5.0
"""Limit on CPU time for reading a file: some of meshio's readers hang on truncated files."""

TAGS = frozenset({"gmsh:physical", "medit:ref", "cell_tags", "obj:group_ids"})
"""Cell data that hold group numbers, by meshio's names."""

OF_GENERATORS = frozenset({"gmsh:geometrical", "facet_normals"})
"""Cell data that are internal to mesh generators or follow from the cells."""

BELOW = frozenset({"vertex", "line", "line3"})
"""Cell types that mark boundaries; they are ignored."""


@dataclass(frozen=True)
class Mesh:
    """Triangles of a plane or a surface, or tetrahedra of a body, with fields at the nodes.

    Attributes:
        pos: coordinates, ``(N, d)``, in double precision.
        cells: the corners of each cell, ``(cells, 3)`` or ``(cells, 4)``.
        fields: fields at the nodes by name, ``(N, C)``.
        numbers: index of each node in the file, ``(N,)``; nodes that no cell uses are left out.
    """

    pos: Tensor
    cells: Tensor
    fields: Mapping[str, Tensor]
    numbers: Tensor

    def graph(self, x: Sequence[str], y: Sequence[str] = ()) -> Any:
        """A PyTorch Geometric graph of some of the fields.

        Args:
            x: names of the input fields; they are concatenated.
            y: names of the target fields.
        """
        from torch_geometric.data import Data

        cells = self.cells.T.contiguous()
        graph = Data(
            x=self._side_by_side(x),
            pos=self.pos.float(),
            face=cells,
            edge_index=torch.from_numpy(edges_of(self.cells.numpy())),
            measure=lumped_measure(self.pos, cells).float(),
        )
        if y:
            graph.y = self._side_by_side(y)
        return graph

    def _side_by_side(self, names: Sequence[str]) -> Tensor:
        for name in names:
            check_choice("a field of this mesh", name, self.fields)
        if not names:
            hint = f"one of {sorted(self.fields)}" if self.fields else "a file with fields at its nodes"
            raise ValueError(expected("at least one field", list(names), hint))
        columns = [finite(self.fields[name].float(), f"the field {name!r}") for name in names]
        return torch.cat(columns, 1)


def read_mesh(path: str | os.PathLike[str], without: Sequence[str] = ()) -> Mesh:
    """A mesh from a file in any format that meshio reads.

    Quadrilaterals are cut into two triangles. If there are tetrahedra, triangles are ignored as surface
    markers. A mesh in the plane z = 0 gets two coordinates.

    Fields at the nodes are read. Cell data, named sets and physical groups cannot be read: a file that has
    some is refused unless they are listed in ``without``.


    Args:
        path: the file; its suffix determines the format.
        without: names of cell data, sets and groups to ignore.


    Raises:
        FileNotFoundError: there is no such file.
        ValueError: meshio cannot read it, or not within a time limit; it has cells of other types, or
            data that would be ignored; it refers to a file outside its folder.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(expected("a mesh file", f"no file at {source}", "the path of a mesh file"))
    found = _read(source)
    left_out = _left_out(found) - set(without)
    if left_out:
        hint = f"read_mesh(path, without={sorted(left_out)}), or moving values from cells to nodes"
        wanted = f"fields at the nodes alone in {source.name}"
        raise ValueError(expected(wanted, f"cell data or groups {sorted(left_out)}", hint))
    kinds = {block.type for block in found.cells} - BELOW
    if not kinds or not kinds <= CORNERS.keys():
        wanted = f"cells of the kinds {', '.join(CORNERS)} in {source.name}"
        raise ValueError(expected(wanted, sorted(kinds), "exporting linear cells of these kinds"))
    corners = {kind: _corners(found, kind, source) for kind in CORNERS}
    quads = corners["quad"]
    triangles = np.concatenate([corners["triangle"], quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    cells = corners["tetra"] if len(corners["tetra"]) else triangles
    pos = _field("coordinates", found.points, len(found.points), source).numpy()
    if not len(cells) or cells.min() < 0 or cells.max() >= len(pos) or not np.isfinite(pos).all():
        wanted = f"cells between nodes with finite coordinates in {source.name}"
        hint = "exporting the mesh again"
        raise ValueError(expected(wanted, f"{len(cells)} cells, {len(pos)} nodes", hint))
    if pos.shape[1] == 3 and not pos[:, 2].any():
        pos = pos[:, :2]
    numbers, cells = np.unique(cells, return_inverse=True)
    fields = {
        name: _field(name, values, len(pos), source)[numbers] for name, values in found.point_data.items()
    }
    return Mesh(
        torch.from_numpy(pos[numbers]),
        torch.from_numpy(cells.astype(np.int64)),
        fields,
        torch.from_numpy(numbers.astype(np.int64)),
    )


def _left_out(found: Any) -> set[str]:
    """Names of data that a file holds besides nodes, cells and fields at the nodes.

    Tags that are equal for all cells and the internal data of mesh generators do not count.
    """
    names = {*found.cell_sets, *found.point_sets}
    for name, blocks in found.cell_data.items():
        tags = np.concatenate([np.ravel(block) for block in blocks]) if blocks else np.zeros(0)
        if name not in OF_GENERATORS and not (name in TAGS and len(np.unique(tags)) <= 1):
            names.add(name)
    return names


def _field(name: str, values: Any, nodes: int, source: Path) -> Tensor:
    """A field at all nodes, ``(nodes, C)``."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        wanted = f"numbers in {name} of {source.name}"
        raise ValueError(expected(wanted, str(error), "exporting numeric fields")) from error
    if array.ndim < 1 or len(array) != nodes or not array.size:
        wanted = f"{name} of {source.name} of shape ({nodes}, C)"
        raise ValueError(expected(wanted, array.shape, "exporting one value per node"))
    return torch.from_numpy(array.reshape(nodes, -1))


def write_fields(path: str | os.PathLike[str], graph: Any, fields: Mapping[str, Tensor]) -> Path:
    """Write fields on the mesh of a graph to a file for ParaView, such as ``.vtu``.

    Args:
        path: the file; its suffix determines the format.
        graph: a graph with nodes ``pos`` and corners of the cells ``face``.
        fields: fields by name, ``(N,)`` or ``(N, C)``. Two channels get a third, 0, to form a vector.
    """
    with from_extra("meshio for mesh files", "meshes"):
        import meshio
    cells = cells_of(graph)
    for name, values in fields.items():
        checked_field(name, values, len(graph.pos))
    columns = {name: paraview_columns(values) for name, values in fields.items()}
    mesh = meshio.Mesh(paraview_columns(graph.pos), cells.blocks(), columns)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        mesh.write(target)
    except (meshio.WriteError, meshio.ReadError) as error:  # ReadError for an unknown suffix
        raise ValueError(expected("a path with a suffix of meshio", target.name, "fields.vtu")) from error
    return target


def checked_field(name: str, values: Tensor, nodes: int) -> None:
    """Raise ValueError unless a field holds real numbers, one row for each node."""
    if values.is_complex():
        hint = "its real and imaginary parts as two fields"
        raise ValueError(expected(f"{name} as real numbers", str(values.dtype), hint))
    if not values.dim() or len(values) != nodes or values.dim() > 2:
        raise ValueError(expected(f"{name} of shape ({nodes}, C)", tuple(values.shape), "one row a node"))


def paraview_columns(values: Tensor) -> Any:
    """Arrays in ParaView's layout: scalars without a channel axis, vectors with three components.

    Booleans become 0 and 1, and half precision becomes single: the file formats lack these types.
    """
    values = values.detach().cpu()
    if values.dtype == torch.bool:
        values = values.to(torch.uint8)
    array = (values.float() if values.dtype in (torch.float16, torch.bfloat16) else values).numpy()
    if array.ndim == 2 and array.shape[1] == 1:
        return array[:, 0]
    return np.pad(array, ((0, 0), (0, 1))) if array.ndim == 2 and array.shape[1] == 2 else array


def _corners(found: Any, kind: str, source: Path) -> Any:
    """The corners of all cells of a type, ``(cells, corners)``."""
    blocks = [np.asarray(block.data) for block in found.cells if block.type == kind]
    for block in blocks:
        if block.ndim != 2 or block.shape[1] != CORNERS[kind] or block.dtype.kind not in "iu":
            wanted = f"cells of {CORNERS[kind]} corners in {source.name}"
            hint = "exporting the mesh again"
            raise ValueError(expected(wanted, f"{block.dtype} of shape {block.shape}", hint))
    return np.concatenate([np.empty((0, CORNERS[kind]), dtype=np.int64), *blocks]).astype(np.int64)


def _read(source: Path) -> Any:
    with from_extra("meshio for mesh files", "meshes"):
        import meshio

    def read() -> Any:
        refuse_outside(source)
        return meshio.read(source)

    # On unreadable files meshio prints and calls sys.exit; on damaged ones its readers raise any exception.
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(said):
        try:
            return within(SECONDS + SECONDS_PER_MB * source.stat().st_size / 1e6, read)
        except OutsideError:
            raise
        except (Exception, SystemExit) as error:
            reason = " ".join(said.getvalue().split()) or one_line(error)
            wanted = f"a mesh that meshio reads in {source.name}"
            raise ValueError(expected(wanted, reason, "exporting it as .vtu or .msh")) from error
