"""Meshes of several spacings, and refiners that were trained at one of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from neuralop_irno import IterativeRefiner
from neuralop_irno.data.mesh import Hole, square_with_holes
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.node_maps import NodeMaps, coarsenings_of
from neuralop_irno.domain.spacing import spacings

TRAINED = 0.12


def mesh(nodes: int = 1, seed: int = 0) -> Data:
    """A square with a hole, with so many times the nodes of training."""
    made = square_with_holes(TRAINED / math.sqrt(nodes), [Hole(0.5, 0.5, 0.15)], seed)
    return graph(torch.from_numpy(made.pos), torch.from_numpy(made.edges()), torch.from_numpy(made.measure()))


def graph(pos: Tensor, edges: Tensor | None = None, measure: Tensor | None = None, **more: Tensor) -> Data:
    x = torch.randn(len(pos), 2, dtype=pos.dtype, generator=torch.Generator().manual_seed(len(pos)))
    known = {"edge_index": edges, "measure": measure, **more}
    return Data(x=x, pos=pos, **{name: part for name, part in known.items() if part is not None})


def cloud(dim: int, count: int) -> Data:
    return graph(torch.rand(count, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(count)))


def torus() -> Data:
    """Points on a torus, joined where they are close, also across the seam."""
    pos = cloud(2, 400).pos
    way = pos[:, None] - pos
    edges = ((way - way.round()).norm(dim=2) < 0.09).nonzero().T.contiguous()
    return graph(pos, edges[:, edges[0] != edges[1]], period=torch.ones(1, 2).double())


def sphere() -> Data:
    pos = cloud(3, 400).pos - 0.5
    return graph(pos / pos.norm(dim=1, keepdim=True))


FINE = {
    "plane with a hole": mesh(4),
    "line": cloud(1, 60),
    "square": cloud(2, 300),
    "cube": cloud(3, 400),
    "torus": torus(),
    "sphere": sphere(),
    "three nodes": cloud(2, 3),
    "coincident": graph(torch.cat([cloud(2, 60).pos] * 2)),
    "no edges": graph(cloud(2, 60).pos, torch.zeros(2, 0, dtype=torch.long)),
}
RATIOS = (1.4, 2.0, 3.7)


def domain_of(data: Data) -> GraphDomain:
    return GraphDomain.of(data.x, data.to_dict())


def maps_of(data: Data, ratio: float, pair: str) -> tuple[NodeMaps, GraphDomain]:
    domain = domain_of(data)
    wanted = [spacing and spacing * ratio for spacing in spacings(domain)]
    return NodeMaps.of(coarsenings_of(domain, wanted), domain, pair), domain


CORRECTIONS = {
    "meshgraph": {"name": "meshgraph", "width": 4, "steps": 2},
    "rigno": {"name": "rigno", "width": 4, "steps": 2, "levels": 2},
    "sage": {"name": "pyg:GraphSAGE", "hidden_channels": 4, "num_layers": 2},
}


def base(x: Tensor, pos: Tensor, edge_index: Tensor | None = None, batch: Tensor | None = None) -> Tensor:
    """A base that is an operator: it acts on each node."""
    return x[:, :1]


class OfEachNode(nn.Module):
    forward = staticmethod(base)


def refiner(correction: str, **known: object) -> IterativeRefiner:
    torch.manual_seed(0)
    spacing = spacings(domain_of(mesh()))[0]
    options = {"spacing": [spacing, spacing], "extent": "fixed", **known}
    model = IterativeRefiner(
        OfEachNode(), CORRECTIONS[correction], steps=3, in_channels=2, out_channels=1, resolution=options
    )
    for weight in model.correction.parameters():
        nn.init.normal_(weight, std=0.3)
    return model.double().eval()


def call(model: IterativeRefiner, data: Data) -> Tensor:
    with torch.no_grad():
        return model(**data.to_dict())


def batch_of(*graphs: Data) -> Data:
    joined = Batch.from_data_list(list(graphs)).to_dict()
    return Data(**{name: part for name, part in joined.items() if name != "ptr"})
