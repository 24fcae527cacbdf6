"""Which nodes or cells of a mesh belong to a set, a physical group, or a number in its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuralop_irno.data.cell_shapes import boundary_sides, cells_at
from neuralop_irno.data.cells import Cells
from neuralop_irno.errors import did_you_mean, expected

Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]

PHYSICAL = "gmsh:physical"
"""The cell data in which Gmsh stores the numbers of groups; their names are apart."""


@dataclass(frozen=True)
class Marked:
    """Cells of a file that can be tagged: those of the mesh, and those of lower dimension on its boundary.

    Attributes:
        corners: of each cell, ``(cells, corners)``; -1 for nodes that are not in the mesh.
        of_mesh: the number in the mesh of the first of these cells; None for cells on the boundary.
        data: numbers on these cells by name.
        sets: indices of these cells by name of a set.
    """

    corners: Numbers
    of_mesh: int | None
    data: Mapping[str, Any]
    sets: Mapping[str, Numbers]


@dataclass(frozen=True)
class Tags:
    """The sets and groups of a file.

    A tag is the name of a set of nodes or cells, the name of a physical group of Gmsh, or ``name=number``:
    the cells or nodes where a field has this number, such as ``boundary=3``.

    Attributes:
        blocks: the cells of the file.
        node_data: fields at the nodes by name.
        node_sets: indices of nodes by name.
        groups: number and dimension of Gmsh's groups by name; other formats keep other things there.
    """

    blocks: Sequence[Marked] = ()
    node_data: Mapping[str, Any] = field(default_factory=dict)
    node_sets: Mapping[str, Numbers] = field(default_factory=dict)
    groups: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """All names of sets and groups."""
        of_cells = (name for block in self.blocks for name in block.sets)
        of_gmsh = self.groups if any(PHYSICAL in block.data for block in self.blocks) else ()
        return sorted({*of_cells, *self.node_sets, *of_gmsh})

    def flags(self, tag: str, cells: Cells, nodes: int, on: str) -> Flags:
        """Which nodes, or cells, have a tag.

        A node has the tags of its cells and of the faces and edges around it; a cell those of its faces.

        Args:
            tag: see `Tags`.
            cells: of the mesh.
            nodes: their number.
            on: ``nodes`` or ``cells``.
        """
        found, own = np.zeros(nodes, dtype=bool), np.zeros(len(cells), dtype=bool)
        known = self._of_nodes(tag, found)
        for block in self.blocks:
            chosen = self._of_cells(tag, block)
            if chosen is None:
                continue
            known = True
            sides = block.corners[chosen]
            if block.of_mesh is not None:
                own[block.of_mesh + chosen] = True
            elif on == "cells" and len(sides):
                own[cells_at(cells, sides)] = True
            corners = sides[sides >= 0]
            found[corners] = True
        if not known:
            hint = did_you_mean(tag, self.names) if self.names else "tags: [boundary=3], a field and a number"
            raise ValueError(expected("a set or group of this mesh", repr(tag), hint))
        return found if on == "nodes" else own

    def _of_nodes(self, tag: str, found: Flags) -> bool:
        """Mark the nodes with a tag of nodes; whether there is such a tag."""
        name, equals, number = tag.partition("=")
        if tag in self.node_sets:
            found[self.node_sets[tag]] = True
        elif equals and name in self.node_data and (value := _as_number(number)) is not None:
            found |= np.asarray(self.node_data[name]).reshape(len(found), -1)[:, 0] == value
        else:
            return False
        return True

    def _of_cells(self, tag: str, block: Marked) -> Numbers | None:
        """The cells of a block that have a tag; None if the tag does not exist there."""
        name, equals, number = tag.partition("=")
        if tag in block.sets:
            return block.sets[tag]
        if tag in self.groups and PHYSICAL in block.data:
            value = float(np.ravel(self.groups[tag])[0])
            return np.flatnonzero(np.ravel(block.data[PHYSICAL]) == value)
        if equals and name in block.data and (wanted := _as_number(number)) is not None:
            return np.flatnonzero(np.ravel(block.data[name]) == wanted)
        return None


def on_boundary(cells: Cells, nodes: int, on: str) -> Flags:
    """Which nodes, or cells, lie on the boundary: on a face that belongs to one cell only."""
    sides, owner = boundary_sides(cells)
    found = np.zeros(nodes if on == "nodes" else len(cells), dtype=bool)
    found[sides[sides >= 0] if on == "nodes" else owner] = True
    return found


def _as_number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None
