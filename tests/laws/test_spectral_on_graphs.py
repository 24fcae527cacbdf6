"""The same spectral loss on graphs: the domain decides which spectrum it is."""

import pytest
import torch
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GraphSAGE

from neuralop_irno import IterativeRefiner, RefinementLoss, SpatialLoss, SpectralLoss, Trajectory
from neuralop_irno.domain.graph import Edges, GraphDomain

SIZES = (9, 1, 14)


def domain(with_pos: bool = True) -> GraphDomain:
    generator = torch.Generator().manual_seed(0)
    batch = torch.repeat_interleave(torch.arange(3), torch.tensor(SIZES))
    pos = torch.rand(sum(SIZES), 2, generator=generator, dtype=torch.float64)
    node = torch.arange(sum(SIZES) - 1)
    along = torch.stack([node, node + 1])[:, batch[node] == batch[node + 1]]
    return GraphDomain(batch, 3, pos if with_pos else None, None, Edges(along))


def trajectory(h: torch.Tensor, where: GraphDomain) -> Trajectory:
    return Trajectory((h,), (torch.tensor([0.0, 0.5, 1.0]),), where)


@pytest.mark.parametrize("with_pos", [True, False])
def test_equal_weights_make_it_the_spatial_loss(with_pos: bool) -> None:
    where = domain(with_pos)
    h, y = torch.randn(2, sum(SIZES), 2, dtype=torch.float64)
    flat = SpectralLoss(compare="complex", lambda_start=0.0, lambda_end=0.0)
    spatial = SpatialLoss()
    measured = flat.per_sample(trajectory(h, where), y)
    if not with_pos:  # every node weighs the same there, as in the domain
        torch.testing.assert_close(measured, spatial.per_sample(trajectory(h, where), y))
    assert measured.shape == (3,)
    assert (measured > 0).all()


@pytest.mark.parametrize("compare", ["complex", "amplitude"])
def test_it_does_not_depend_on_the_numbering_and_has_a_gradient(compare: str) -> None:
    where = domain()
    h, y = torch.randn(2, sum(SIZES), 1, dtype=torch.float64)
    loss = SpectralLoss(compare=compare)
    order = torch.randperm(sum(SIZES))
    moved = GraphDomain(where.batch[order], 3, where.pos[order])
    torch.testing.assert_close(
        loss.per_sample(trajectory(h, where), y), loss.per_sample(trajectory(h[order], moved), y[order])
    )
    assert torch.autograd.gradcheck(
        lambda field: loss.per_sample(trajectory(field, where), y), h.clone().requires_grad_()
    )


def test_a_refiner_on_graphs_trains_with_it() -> None:
    where = domain()
    graphs = []
    for place in range(3):
        own = where.select(torch.tensor([place]))
        n = len(own.batch)
        graphs.append(
            Data(x=torch.randn(n, 3), y=torch.randn(n, 1), pos=own.pos.float(), edge_index=own.edges.index)
        )
    batch = Batch.from_data_list(graphs)
    model = IterativeRefiner(GraphSAGE(3, 8, 1, 1), "meshgraph", steps=3, gradient="unrolled").train()
    loss = RefinementLoss(spectral=1.0, compare="amplitude")
    loss(model(batch, y=batch.y), batch.y).backward()
    assert set(loss.parts) == {"spatial", "spectral"}
    assert model.correction.last.weight.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="expected a grid for compare='bands', got graphs"):
        RefinementLoss(spectral=1.0, compare="bands")(model(batch, y=batch.y), batch.y)
