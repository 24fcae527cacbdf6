"""Graphs held in memory, and fields on meshes as graphs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from neuralop_irno.data.in_time import InTime
from neuralop_irno.data.mesh import TriangleMesh
from neuralop_irno.domain.resolution import Resolution


def coordinates_of(data: Any) -> int | None:
    """The coordinates per node of the graphs of a data set; None of graphs without, and of grids.

    Example:
        >>> from torch_geometric.data import Data
        >>> coordinates_of([Data(pos=torch.rand(5, 3))]), coordinates_of([{"x": torch.rand(1, 8)}])
        (3, None)
    """
    sample = data[0]
    pos = None if isinstance(sample, dict) else getattr(sample, "pos", None)
    return None if pos is None else int(pos.shape[1])


class GraphDataset(Dataset[Any]):
    """PyTorch Geometric graphs in memory.

    Args:
        graphs: graphs with x, y, edge_index, pos and measure.
        files: the files that the graphs were read from.
        resolution: what is known of their domain.
        in_time: how x and y are frames of trajectories; None if they are not.

    Example:
        >>> from neuralop_irno.data.mesh import square_with_holes
        >>> mesh = square_with_holes(spacing=0.2, holes=[], seed=0)
        >>> field = torch.zeros(len(mesh.pos), 1)
        >>> data = GraphDataset([as_graph(mesh, field, field)])
        >>> len(data), data[0].y.shape == field.shape
        (1, True)
    """

    def __init__(
        self,
        graphs: Sequence[Any],
        files: tuple[Path, ...] = (),
        resolution: Resolution | None = None,
        in_time: InTime | None = None,
    ) -> None:
        self.graphs, self.files, self.in_time = list(graphs), files, in_time
        self.resolution = resolution or Resolution()

    def __repr__(self) -> str:
        first = f": the first {self.graphs[0]}" if self.graphs else ""
        return f"{type(self).__name__}({len(self)} graphs{first})"

    def __len__(self) -> int:
        return len(self.graphs)

    def __getitem__(self, index: int) -> Any:
        return self.graphs[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.graphs)


def as_graph(mesh: TriangleMesh, x: Tensor, y: Tensor) -> Any:
    """A PyTorch Geometric graph of fields on a mesh.

    Shapes:
        - x: ``(N, in_channels)``; y: ``(N, out_channels)``

    Example:
        >>> from neuralop_irno.data.mesh import square_with_holes
        >>> mesh = square_with_holes(spacing=0.2, holes=[], seed=0)
        >>> field = torch.zeros(len(mesh.pos), 1)
        >>> graph = as_graph(mesh, field, field)
        >>> graph.num_nodes == len(mesh.pos), graph.pos.shape[1]
        (True, 2)
    """
    from torch_geometric.data import Data

    return Data(
        x=x.float(),
        y=y.float(),
        edge_index=torch.from_numpy(mesh.edges()),
        pos=torch.from_numpy(mesh.pos).float(),
        face=torch.from_numpy(mesh.triangles.T.copy()),
        measure=torch.from_numpy(mesh.measure()).float(),
    )
