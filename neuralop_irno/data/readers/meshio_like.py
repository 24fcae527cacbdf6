"""A mesh with the attributes of ``meshio.Mesh``, for readers and checks that need no meshio."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Block(NamedTuple):
    """Cells of one type."""

    type: str
    data: Any


@dataclass(frozen=True)
class MeshioLike:
    """A mesh as in ``meshio.Mesh``."""

    points: Any
    cells: list[Block]
    point_data: dict[str, Any]
    cell_data: dict[str, list[Any]]
    point_sets: dict[str, Any] = field(default_factory=dict)
    cell_sets: dict[str, Any] = field(default_factory=dict)
    field_data: dict[str, Any] = field(default_factory=dict)
