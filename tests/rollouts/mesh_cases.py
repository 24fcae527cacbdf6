"""Small meshes with cells, and models on them, for tests of rollout files."""

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from neuralop_irno.data.mesh import Hole, edges_of, square_with_holes


def triangles(spacing: float = 0.4, channels: int = 2, seed: int = 0) -> Data:
    mesh = square_with_holes(spacing, [Hole(0.5, 0.5, 0.15)])
    return _mesh(torch.from_numpy(mesh.pos), torch.from_numpy(mesh.triangles), channels, seed)


def tetrahedra(channels: int = 2, seed: int = 0) -> Data:
    pos = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], dtype=torch.float64)
    return _mesh(pos, torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]]), channels, seed)


def _mesh(pos: Tensor, cells: Tensor, channels: int, seed: int) -> Data:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(len(pos), channels, generator=generator, dtype=torch.float64)
    edge_index = torch.from_numpy(edges_of(cells.numpy()))
    return Data(x=x, pos=pos, face=cells.T.contiguous(), edge_index=edge_index)


def meshes(channels: int = 2) -> Batch:
    return Batch.from_data_list([triangles(spacing, channels) for spacing in (0.4, 0.5)])


class Spreading(nn.Module):
    """Each node from its neighbours, weighted by their distance: it sees positions and edges."""

    def forward(self, data: Data) -> Tensor:
        source, target = data.edge_index
        weight = (-(data.pos[source] - data.pos[target]).norm(dim=1, keepdim=True)).exp()
        return torch.tanh(
            data.x + 0.1 * torch.zeros_like(data.x).index_add(0, target, weight * data.x[source])
        )


MESHES = {"triangles": triangles, "tetrahedra": tetrahedra, "batch": meshes}
