"""The parts of one mesh in several files, as parallel programs write them, joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neuralop_irno.data.readers.meshio_like import Block, MeshioLike
from neuralop_irno.errors import expected


def joined(parts: Sequence[Any], name: str) -> Any:
    """Parts as one mesh; nodes at exactly the same place are one node, with the fields of the first part.

    Fields that some parts lack, and sets, are left out.

    Args:
        parts: as in ``meshio.Mesh``.
        name: of the series, for errors.

    Raises:
        ValueError: a cell is in two parts.
    """
    if len(parts) == 1:
        return parts[0]
    points = np.concatenate([np.asarray(part.points, dtype=np.float64) for part in parts])
    _, first, place = np.unique(points, axis=0, return_index=True, return_inverse=True)
    order = np.sort(first)  # nodes stay in the order of the parts
    number = np.searchsorted(order, first)[place.reshape(-1)]
    starts = np.cumsum([0, *(len(part.points) for part in parts)])
    blocks = [
        Block(block.type, number[start + np.asarray(block.data)])
        for part, start in zip(parts, starts, strict=False)
        for block in part.cells
    ]
    _refuse_copies(blocks, name)
    at_nodes, on_cells = (
        [key for key in getattr(parts[0], kind) if all(key in getattr(part, kind) for part in parts)]
        for kind in ("point_data", "cell_data")
    )
    return MeshioLike(
        points[order],
        blocks,
        {key: np.concatenate([part.point_data[key] for part in parts])[order] for key in at_nodes},
        {key: [values for part in parts for values in part.cell_data[key]] for key in on_cells},
    )


def _refuse_copies(blocks: Sequence[Block], name: str) -> None:
    """Raise ValueError if a cell comes twice: as a ghost it would count twice in every mean."""
    for kind in {block.type for block in blocks}:
        rows = [np.sort(block.data, 1) for block in blocks if block.type == kind]
        for width in {each.shape[1] for each in rows}:
            whole = np.concatenate([each for each in rows if each.shape[1] == width])
            copies = len(whole) - len(np.unique(whole, axis=0))
            if copies:
                hint = "writing it without ghost cells, as ParaView's filter Remove Ghost Information does"
                wanted = f"each cell in one part of {name}"
                raise ValueError(expected(wanted, f"{copies} {kind} cells in several", hint))
