"""Read meshes with fields in any format of meshio, and write fields on meshes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.data.cell_shapes import FACES
from neuralop_irno.data.cells import CUT, MESHIO_NAMES, Cells, cells_of
from neuralop_irno.data.readers.mesh_graphs import Mesh as Mesh
from neuralop_irno.data.readers.mesh_series import found_in
from neuralop_irno.data.readers.mesh_tags import Marked, Tags
from neuralop_irno.errors import expected, from_extra

CORNERS = {"triangle": 3, "quad": 4, "polygon": 0, "tetra": 4, "hexahedron": 8, "wedge": 6, "pyramid": 5}
"""Cell types that are read, by meshio's names, and their numbers of corners; 0 for any from 3 on."""

OF_BODIES = frozenset(MESHIO_NAMES[kind] for kind in FACES)
"""Those of them that have a volume."""

HIGHER = re.compile(r"(triangle|quad|tetra|hexahedron|wedge|pyramid|line)\d+")
"""meshio's names of cells of higher order, whose corners come first."""

BELOW = frozenset({"vertex", "line"})
"""Cell types that mark boundaries, or points."""

OF_GENERATORS = frozenset({"gmsh:bounding_entities"})
"""Sets that are internal to mesh generators."""


def read_mesh(path: str | os.PathLike[str]) -> Mesh:
    """A mesh from a file in any format that meshio reads, or a ``.vtkhdf`` file.

    Cells are triangles, quadrilaterals, polygons, tetrahedra, hexahedra, wedges and pyramids, also mixed. If
    there are cells of bodies, those of surfaces mark their boundary. Cells of higher order are read by their
    corners. A file without cells is a cloud of points. A mesh in the plane z = 0 gets two coordinates.

    Args:
        path: the file; its suffix determines the format.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: meshio cannot read it, or not within a time limit; it has cells of other types, or several
            frames; it refers to a file outside its folder.

    Example:
        >>> import tempfile
        >>> import meshio
        >>> path = f"{tempfile.mkdtemp()}/plate.vtu"
        >>> points = [[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
        >>> triangles = [("triangle", [[0, 1, 2], [0, 2, 3]])]
        >>> meshio.Mesh(points, triangles, {"heat": [0.0, 1.0, 2.0, 3.0]}).write(path)
        >>> tuple(read_mesh(path).pos.shape)
        (4, 2)
    """
    return mesh_of(found_in(Path(path)), Path(path).name)


def mesh_of(found: Any, name: str) -> Mesh:
    """A mesh from what meshio, or another reader, found in a file.

    Args:
        found: points, cells (blocks of a type), point_data, cell_data (an array for each block), point_sets,
            cell_sets and field_data, as in ``meshio.Mesh``.
        name: of the file.
    """
    blocks = [_linear(block, name) for block in found.cells]
    kinds = {kind for kind, _ in blocks}
    bodies, above = kinds & OF_BODIES, kinds - BELOW
    if not above <= CORNERS.keys() or (not above and "line" in kinds):
        wanted = f"cells of the kinds {', '.join(CORNERS)} in {name}"
        hint = "exporting linear cells of these kinds"
        if any("polyhedron" in kind for kind in above):
            hint = f"{CUT} (OpenFOAM: foamToVTK without -poly)"
        raise ValueError(expected(wanted, sorted(above), hint))
    pos = _rows("coordinates", found.points, len(found.points), name).numpy()
    corners = np.concatenate([np.empty(0, dtype=np.int64), *(block.reshape(-1) for _, block in blocks)])
    ends = (int(corners.min(initial=0)), int(corners.max(initial=-1)))
    if ends[0] < 0 or ends[1] >= len(pos) or not np.isfinite(pos).all():
        wanted = f"cells between nodes with finite coordinates in {name}"
        cells = sum(len(block) for _, block in blocks)
        raise ValueError(expected(wanted, f"{cells} cells, {len(pos)} nodes", "exporting the mesh again"))
    if pos.shape[1] == 3 and not pos[:, 2].any():
        pos = pos[:, :2]
    own = [place for place, (kind, _) in enumerate(blocks) if kind in (bodies or above)]
    used = [blocks[place][1].reshape(-1) for place in own]
    numbers = np.unique(np.concatenate(used)) if above else np.arange(len(pos))
    place_of = np.full(len(pos) + 1, -1, dtype=np.int64)
    place_of[numbers] = np.arange(len(numbers))
    renumbered = [(kind, place_of[block]) for kind, block in blocks]
    shape = Cells.of_blocks([renumbered[place] for place in own])
    fields = {
        field: _rows(field, values, len(pos), name)[numbers] for field, values in found.point_data.items()
    }
    curved = any(HIGHER.fullmatch(found.cells[place].type) for place in own)
    return Mesh(
        torch.from_numpy(pos[numbers]),
        shape,
        {} if curved else fields,
        torch.from_numpy(numbers.astype(np.int64)),
        _on_cells(found, own, len(shape), name),
        _tags(
            found, renumbered, own, place_of, {key: values[:, 0].numpy() for key, values in fields.items()}
        ),
        frozenset(fields) if curved else frozenset(),
        name,
    )


def _linear(block: Any, name: str) -> tuple[str, Any]:
    """Type and corners of a block of cells, without the middle nodes of cells of higher order."""
    higher = HIGHER.fullmatch(block.type)
    kind = higher[1] if higher else block.type
    if kind not in CORNERS and kind not in BELOW:
        return kind, np.empty((0, 1), dtype=np.int64)  # refused by its type
    corners, count = np.asarray(block.data), {**CORNERS, "vertex": 1, "line": 2}[kind]
    enough = corners.ndim == 2 and corners.shape[1] >= max(count, 1 if kind in BELOW else 3)
    if not enough or corners.dtype.kind not in "iu" or (count != corners.shape[1] and not higher and count):
        wanted = f"cells of {count or 'at least 3'} corners in {name}"
        got = f"{corners.dtype} of shape {corners.shape}"
        raise ValueError(expected(wanted, got, "exporting the mesh again"))
    return kind, corners[:, : count or corners.shape[1]].astype(np.int64)


def _on_cells(found: Any, own: Sequence[int], count: int, name: str) -> dict[str, Tensor]:
    """The fields on the cells of the mesh; not those on its boundary."""
    fields = {}
    for field, parts in found.cell_data.items():
        chosen = [np.asarray(parts[place]) for place in own]
        widths = {part.shape[1:] for part in chosen}
        if chosen and len(widths) == 1:
            fields[field] = _rows(field, np.concatenate(chosen), count, name)
    return fields


def _tags(
    found: Any,
    blocks: Sequence[tuple[str, Any]],
    own: Sequence[int],
    place_of: Any,
    fields: Mapping[str, Any],
) -> Tags:
    """The sets and groups of a file, for nodes that are numbered as in the mesh."""
    first = np.cumsum([0, *(len(blocks[place][1]) for place in own)])
    marked = []
    for place, (_, corners) in enumerate(blocks):
        sets = {}
        for name, parts in found.cell_sets.items():
            part = parts[place] if place < len(parts) else None
            if name not in OF_GENERATORS and part is not None:
                sets[name] = _indices(part, len(corners))
        data = {name: parts[place] for name, parts in found.cell_data.items()}
        number = int(first[own.index(place)]) if place in own else None
        marked.append(Marked(corners, number, data, sets))
    nodes = {
        name: (kept := place_of[_indices(part, len(place_of) - 1)])[kept >= 0]
        for name, part in found.point_sets.items()
    }
    return Tags(marked, fields, nodes, found.field_data)


def _indices(part: Any, count: int) -> Any:
    """The members of a set; numbers that do not exist, and what is no number, are left out."""
    values = np.ravel(np.asarray(part))
    if values.dtype.kind not in "iu":
        return np.empty(0, dtype=np.int64)
    return values[(values >= 0) & (values < count)].astype(np.int64)


def _rows(name: str, values: Any, count: int, file: str) -> Tensor:
    """A field at all nodes or cells, ``(count, C)``."""
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            expected(f"numbers in {name} of {file}", str(error), "exporting numeric fields")
        ) from error
    if array.ndim < 1 or len(array) != count or not array.size:
        wanted = f"{name} of {file} of shape ({count}, C)"
        raise ValueError(expected(wanted, array.shape, "exporting one value per node"))
    return torch.from_numpy(array.reshape(count, -1))


def write_fields(path: str | os.PathLike[str], graph: Any, fields: Mapping[str, Tensor]) -> Path:
    """Write fields on the mesh of a graph to a file for ParaView, such as ``.vtu``.

    Args:
        path: the file; its suffix determines the format.
        graph: a graph with nodes ``pos`` and cells, ``face`` or ``cells``, as of `Mesh.graph`. If its nodes
            are the cells of a mesh, fields are written on these.
        fields: fields by name, ``(N,)`` or ``(N, C)``. Two channels get a third, 0, to form a vector.

    Example:
        >>> import tempfile
        >>> import neuralop_irno as irno
        >>> graph = irno.heat_in_wind(samples=(1, 1, 1), spacing=0.2, holes=1)["test"][0]
        >>> write_fields(f"{tempfile.mkdtemp()}/heat.vtu", graph, {"heat": graph.y}).name
        'heat.vtu'
    """
    with from_extra("meshio for mesh files", "meshes"):
        import meshio
    cells = cells_of(graph)
    blocks = cells.blocks()
    for name, values in fields.items():
        checked_field(name, values, len(graph.pos))
    columns = {name: paraview_columns(values) for name, values in fields.items()}
    if cells.points is None:
        mesh = meshio.Mesh(paraview_columns(graph.pos), blocks, columns)
    else:
        ends = np.cumsum([len(corners) for _, corners in blocks])[:-1]
        on_cells = {name: np.split(column, ends) for name, column in columns.items()}
        mesh = meshio.Mesh(paraview_columns(torch.from_numpy(cells.points)), blocks, cell_data=on_cells)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        # For .msh meshio would take Ansys' format, which has no fields.
        mesh.write(target, file_format="gmsh" if target.suffix.lower() == ".msh" else None)
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
