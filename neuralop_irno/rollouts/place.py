"""The points that frames live on: named axes, coordinates and a mesh, under the conventions CF and UGRID."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from neuralop_irno.data.cells import Cells, cells_of
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.resampling import positions
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.domain.sphere import SphereDomain, colatitudes

Array = NDArray[Any]

CHANNEL = "channel"
XYZ = ("x", "y", "z")
POINTS = ("point_x", "point_y", "point_z")
"""The coordinates of the corners of cells, where the nodes of a graph are the cells."""

AXES = {1: ("x",), 2: ("y", "x"), 3: ("z", "y", "x")}
"""The names of the axes of a grid, by their number."""


@dataclass(frozen=True)
class Variable:
    """An array with the names of its axes and CF attributes."""

    values: Array
    dims: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """The axes of a frame, and what is known of its points.

    Attributes:
        dims: the names of the axes of a frame; one is ``channel``.
        constants: coordinates, and on meshes the nodes, cells and measure, by name.
    """

    dims: tuple[str, ...]
    constants: Mapping[str, Variable] = field(default_factory=dict)

    @property
    def channel(self) -> int:
        """The axis of channels in a frame."""
        return self.dims.index(CHANNEL)

    @property
    def space(self) -> tuple[str, ...]:
        """The axes of space."""
        return tuple(name for name in self.dims if name not in ("sample", CHANNEL))

    @property
    def location(self) -> str:
        """UGRID's name of what the fields of a mesh are on."""
        if POINTS[0] not in self.constants:
            return "node"
        return "volume" if self.constants["mesh"].attributes["topology_dimension"] == 3 else "face"

    @property
    def on_mesh(self) -> bool:
        """Whether the frames are rows of nodes, with the nodes of all samples in one axis."""
        return self.dims[0] == "node"


def place_of(
    frame: Tensor, domain: Domain, known: Mapping[str, Any], on_points: bool, refiner: Any = None
) -> Place:
    """The place of a rollout's frames.

    Coordinates of grids are given only if they are known: on a sphere, and in a box whose sides and layout of
    points the refiner or the call states.

    Args:
        frame: ``(B, C, *S)``, ``(N, C)``, or with ``on_points`` ``(B, N, C)``.
        domain: of the frame.
        known: the parts of its graph, by PyTorch Geometric's names.
        on_points: whether frames are sets of points, ``(B, N, C)``.
        refiner: the model, if it is one.
    """
    if isinstance(domain, GraphDomain):
        constants = nodes_of(domain.pos, domain.measure)
        if domain.samples > 1:
            said = {"long_name": "sample of the node"}
            constants["batch"] = Variable(as_array(domain.batch), ("node",), said)
        try:
            constants |= cells_as_variables(cells_of(known))
        except ValueError:  # points, or cells that no file format knows: the frames are written alone
            return Place(("node", CHANNEL), constants)
        return Place(("node", CHANNEL), constants | {"mesh": _topology(constants)})
    if on_points:
        return Place(("sample", "node", CHANNEL))
    shape = tuple(frame.shape[2:])
    resolution = Resolution() if refiner is None else refiner.resolution
    sphere = domain.grid if isinstance(domain, SphereDomain) else resolution.sphere
    if sphere is not None and len(shape) == 2:
        return Place(("sample", CHANNEL, "lat", "lon"), _sphere(sphere, *shape))
    names = AXES.get(len(shape), tuple(f"axis_{axis}" for axis in range(len(shape))))
    lengths = getattr(domain, "lengths", None) or resolution.box(shape)
    layouts = _layouts(resolution, refiner, len(shape))
    constants = {}
    for axis, (name, count) in enumerate(zip(names, shape, strict=True)):
        layout = layouts[axis]
        if lengths is not None and layout is not None:
            constants[name] = axis_of(name, positions(count, layout).numpy() * lengths[axis])
    return Place(("sample", CHANNEL, *names), constants)


def nodes_of(pos: Tensor | None, measure: Tensor | None) -> dict[str, Variable]:
    """The coordinates and the measure of nodes."""
    held: dict[str, Variable] = {}
    if pos is not None and pos.shape[1] <= len(XYZ):
        for name, values in zip(XYZ, as_array(pos).T, strict=False):
            held[name] = Variable(
                np.ascontiguousarray(values), ("node",), {"long_name": f"{name} of the node"}
            )
    if measure is not None:
        said = {"long_name": "area or volume of the node"}
        held["measure"] = Variable(as_array(measure), ("node",), said)
    return held


def cells_as_variables(cells: Cells) -> dict[str, Variable]:
    """The cells and VTK's numbers of their types; also their points, where these are not the nodes."""
    on = "cell" if cells.points is None else "node"
    said: dict[str, Any] = {"long_name": "corners of the cell", "start_index": 0}
    if (cells.corners < 0).any():
        said["_FillValue"] = -1
    points = np.empty((0, 0)) if cells.points is None else cells.points
    corners = {
        name: Variable(np.ascontiguousarray(values), ("point",), {"long_name": f"{name[-1]} of the corner"})
        for name, values in zip(POINTS, points.T, strict=False)
    }
    return corners | {
        "face": Variable(cells.corners, (on, "corner"), said),
        "cell_type": Variable(cells.types, (on,), {"long_name": "VTK's number of the type of the cell"}),
    }


def axis_of(name: str, values: Array) -> Variable:
    """The coordinates of an axis."""
    return Variable(np.asarray(values), (name,), {"axis": name.upper()} if name in XYZ else {})


def as_array(tensor: Tensor) -> Array:
    """A tensor as a numpy array."""
    return np.asarray(tensor.detach().cpu().numpy())


def _topology(constants: Mapping[str, Variable]) -> Variable:
    """UGRID's description of a mesh."""
    corners = POINTS if POINTS[0] in constants else XYZ
    solid = bool((constants["cell_type"].values >= 10).any())  # VTK's numbers of solids start there
    said = {
        "cf_role": "mesh_topology",
        "topology_dimension": 3 if solid else 2,
        "node_coordinates": " ".join(name for name in corners if name in constants),
        f"{'volume' if solid else 'face'}_node_connectivity": "face",
    }
    return Variable(np.asarray(0, dtype=np.int32), (), said)


def _sphere(grid: str, rows: int, columns: int) -> dict[str, Variable]:
    latitudes = 90 - np.rad2deg(colatitudes(grid, rows).numpy())
    said = (
        {"standard_name": "latitude", "units": "degrees_north"},
        {
            "standard_name": "longitude",
            "units": "degrees_east",
        },
    )
    return {
        "lat": Variable(latitudes, ("lat",), said[0]),
        "lon": Variable(np.arange(columns) * 360 / columns, ("lon",), said[1]),
    }


def _layouts(resolution: Resolution, refiner: Any, dim: int) -> list[str | None]:
    """The layout of the points of each axis, see `LAYOUTS`; None where it is not known."""
    stated = resolution.layout
    if stated is not None:
        return [stated] * dim if isinstance(stated, str) else list(stated)
    periodic = getattr(getattr(refiner, "correction", None), "periodic", None) or [False] * dim
    return ["periodic" if each else None for each in periodic]
