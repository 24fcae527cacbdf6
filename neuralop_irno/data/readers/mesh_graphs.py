"""A mesh with fields at its nodes or on its cells, and the graphs that it makes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from neuralop_irno.data.cell_shapes import centres, edges_between_cells, edges_between_nodes, pieces
from neuralop_irno.data.cells import Cells
from neuralop_irno.data.finite import finite
from neuralop_irno.data.readers.mesh_tags import Tags, on_boundary
from neuralop_irno.domain.elements import lumped_measure
from neuralop_irno.errors import check_choice, expected

PLACES = ("nodes", "cells")
"""Where fields can be."""

POSITION = "position"
"""The name under which coordinates are a field, in files without a field of this name."""

MOST_ROUNDING = 0.01
"""The most that single precision may move a node, as a share of the length of an edge."""


@dataclass(frozen=True)
class Mesh:
    """Cells of a plane, a surface or a body, or points alone, with fields at the nodes and on the cells.

    Attributes:
        pos: coordinates of the nodes, ``(N, d)``, in double precision.
        shape: the cells as in the file; none for points alone.
        fields: fields at the nodes by name, ``(N, C)``.
        numbers: index of each node in the file, ``(N,)``; nodes that no cell uses are left out.
        cell_fields: fields on the cells by name, ``(cells, C)``.
        tags: sets and groups of nodes and cells.
        on_middles: names of the fields at nodes of a mesh of higher order. Its cells are read by their
            corners, so these fields are not read.
        name: of the file, for errors.
    """

    pos: Tensor
    shape: Cells
    fields: Mapping[str, Tensor]
    numbers: Tensor
    cell_fields: Mapping[str, Tensor] = field(default_factory=dict)
    tags: Tags = field(default_factory=Tags)
    on_middles: frozenset[str] = frozenset()
    name: str = "this mesh"

    def __repr__(self) -> str:
        names = ", ".join(sorted(self.fields)) or "none"
        on_cells = f"; on cells {', '.join(sorted(self.cell_fields))}" if self.cell_fields else ""
        return f"Mesh({len(self.pos)} nodes, {self.shape}; fields {names}{on_cells})"

    @cached_property
    def cells(self) -> Tensor:
        """The corners of triangles, ``(cells, 3)``, or tetrahedra, ``(cells, 4)``: other cells are cut."""
        return torch.from_numpy(pieces(self.shape, self.pos.numpy()).corners)

    def graph(
        self, x: Sequence[str], y: Sequence[str] = (), on: str | None = None, neighbours: int = 0
    ) -> Any:
        """A PyTorch Geometric graph of some of the fields.

        With fields on cells the nodes of the graph are the cells: pos are their centres, edges join cells
        that share a face, and the measure is their volume. ``graph.cells`` has the cells of the file.

        Args:
            x: names of the input fields; they are concatenated. ``position`` is the coordinates.
            y: names of the target fields.
            on: where the fields are, ``nodes`` or ``cells``; needed for names that are at both.
            neighbours: of points without cells: number of edges from each to the nearest others.
        """
        if not x:
            names = sorted({*self.fields, *self.cell_fields})
            hint = f"one of {names}" if names else "a file with fields at its nodes"
            raise ValueError(expected("at least one field", list(x), hint))
        place = self.place_of([*x, *y], on)
        graph = self.skeleton(place, neighbours)
        graph.x = self.columns(x, place)
        if y:
            graph.y = self.columns(y, place)
        return graph

    def on_same(self, other: Mesh) -> bool:
        """Whether another mesh has the same nodes, at the same places, and the same cells."""
        return torch.equal(self.pos, other.pos) and np.array_equal(self.shape.corners, other.shape.corners)

    def place_of(self, names: Sequence[str], on: str | None = None) -> str:
        """Where some fields are, ``nodes`` or ``cells``; all have to be at one place."""
        middle = sorted(self.on_middles & set(names))
        if middle and on != "cells" and not self.cell_fields.keys() >= set(names):
            hint = "exporting linear cells, or fields on cells"
            raise ValueError(expected("fields at the corners of cells", f"{middle} also between them", hint))
        if on is not None:
            check_choice("a place of fields", on, PLACES)
        known = {"nodes": self.fields, "cells": self.cell_fields}
        for name in names:
            if name != POSITION:
                check_choice("a field of this mesh", name, {**known["nodes"], **known["cells"]})
        found = [place for place in PLACES if known[place].keys() >= set(names) - {POSITION}]
        if on is None and len(found) == 2 and set(names) - {POSITION}:
            got, hint = f"{list(names)} at both", "on='nodes' or on='cells'"
            raise ValueError(expected("fields at the nodes or on the cells", got, hint))
        if not found or (on is not None and on not in found):
            listed = {place: sorted(set(names) & fields.keys()) for place, fields in known.items()}
            got = f"{listed['nodes']} at the nodes and {listed['cells']} on the cells"
            hint = "moving values to one of them, as ParaView's filter Cell Data to Point Data does"
            raise ValueError(expected(f"all fields {f'on the {on}' if on else 'at one of them'}", got, hint))
        return on or found[0]

    def columns(self, names: Sequence[str], place: str, precise: bool = False) -> Tensor:
        """Some fields side by side, ``(rows, C)``, in single precision; with ``precise`` as stored."""
        each = [self._field(name, place) for name in names]
        double = precise and any(field.dtype == torch.float64 for field in each)
        each = [field.double() if double else field.float() for field in each]
        return torch.cat(
            [finite(field, f"{name} in {self.name}") for name, field in zip(names, each, strict=True)], 1
        )

    def widths(self, names: Sequence[str], place: str) -> list[int]:
        """The channels of some fields."""
        return [self._field(name, place).shape[1] for name in names]

    def flags(self, tags: Sequence[str], boundary: bool, place: str) -> Tensor:
        """A channel of 0 and 1 for each tag, and for the boundary, ``(rows, channels)``."""
        nodes = len(self.pos)
        found = [self.tags.flags(tag, self.shape, nodes, place) for tag in tags]
        if boundary:
            if not len(self.shape):
                raise ValueError(expected("cells, which have a boundary", "points alone", "boundary=False"))
            found.append(on_boundary(self.shape, nodes, place))
        rows = nodes if place == "nodes" else len(self.shape)
        return torch.from_numpy(np.stack([np.zeros(rows, dtype=bool), *found], 1)[:, 1:]).float()

    def skeleton(self, place: str, neighbours: int = 0) -> Any:
        """A graph without fields: pos, edge_index and measure, and the cells as ``face`` or ``cells``."""
        from torch_geometric.data import Data

        if neighbours and len(self.shape):
            got, hint = f"neighbours={neighbours} with {self.shape}", "neighbours=0"
            raise ValueError(expected("edges between the nodes of cells", got, hint))
        if not len(self.shape):
            graph = Data(pos=self.pos.float())
            if neighbours:
                graph.edge_index = _nearest(self.pos.numpy(), neighbours)
                self._check_rounding(self.pos, graph.edge_index)
            return graph
        if place == "cells":
            points = self.pos.numpy()
            centre, volume = centres(self.shape, points)
            edges = torch.from_numpy(edges_between_cells(self.shape))
            self._check_rounding(torch.from_numpy(centre), edges)
            return Data(
                pos=torch.from_numpy(centre).float(),
                edge_index=edges,
                measure=torch.from_numpy(volume).float(),
                cells=replace(self.shape, points=points),
            )
        face, edges = self.cells.T.contiguous(), torch.from_numpy(edges_between_nodes(self.shape))
        self._check_rounding(self.pos, edges)
        graph = Data(
            pos=self.pos.float(),
            face=face,
            edge_index=edges,
            measure=lumped_measure(self.pos, face).float(),
        )
        if not self._simple:
            graph.cells = self.shape
        return graph

    def _check_rounding(self, pos: Tensor, edges: Tensor) -> None:
        """Raise ValueError if coordinates in single precision lose the lengths of edges."""
        source, target = edges
        error = (pos - pos.float().double()).abs().max().item()
        length = (pos[source] - pos[target]).norm(dim=1).median().item() if len(source) else math.inf
        if error > MOST_ROUNDING * length:
            wanted = f"nodes of {self.name} that single precision keeps apart"
            got = f"coordinates rounded by {error:.2g}, edges of length {length:.2g}"
            raise ValueError(expected(wanted, got, "moving the origin to the mesh (ParaView: Transform)"))

    @property
    def _simple(self) -> bool:
        """Whether the cells are triangles, or tetrahedra, only."""
        return set(self.shape.types.tolist()) in ({5}, {10})

    def _field(self, name: str, place: str) -> Tensor:
        own = self.fields if place == "nodes" else self.cell_fields
        if name != POSITION or name in own:
            return own[name]
        return self.pos if place == "nodes" else torch.from_numpy(centres(self.shape, self.pos.numpy())[0])


def _nearest(points: Any, count: int) -> Tensor:
    """Edges from the nearest other points to each, ``(2, E)``."""
    if not 1 <= count < len(points):
        wanted = f"1 to {len(points) - 1} neighbours of {len(points)} points"
        raise ValueError(expected(wanted, count, "neighbours=8"))
    _, found = cKDTree(points).query(points, count + 1)
    target = np.repeat(np.arange(len(points)), count + 1)
    edges = np.stack([found.reshape(-1), target])
    return torch.from_numpy(edges[:, edges[0] != edges[1]].astype(np.int64))
