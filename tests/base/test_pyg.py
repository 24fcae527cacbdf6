"""Graph networks as bases and corrections: variable-size batches, per graph, in any order of nodes."""

from typing import Any

import pytest
import torch
from torch import nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GAT, GCN, GIN, PNA, GCNConv, GraphSAGE, GraphUNet

from neuralop_irno import IterativeRefiner, RefinementLoss
from neuralop_irno.correction.pyg import networks

# GraphUNet multiplies sparse matrices, of which torch warns.
pytestmark = pytest.mark.filterwarnings("ignore:Sparse (invariant checks|CSR tensor):UserWarning")

SIZES = (7, 1, 12, 5)


def graph(n: int, seed: int) -> Data:
    generator = torch.Generator().manual_seed(seed)
    pos = torch.rand(n, 2, generator=generator, dtype=torch.float64)
    distance = torch.cdist(pos, pos)
    edge_index = ((distance < 0.5) & (distance > 0)).nonzero().T
    x = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    y = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    return Data(x=x, edge_index=edge_index, pos=pos, y=y, measure=torch.rand(n, generator=generator).double())


GRAPHS = [graph(n, seed) for seed, n in enumerate(SIZES)]
BATCH = Batch.from_data_list(GRAPHS)
BASES = {"GCN": GCN, "GAT": GAT, "GraphSAGE": GraphSAGE, "GIN": GIN}
CORRECTIONS = ["meshgraph", "pyg:GraphSAGE", {"name": "pyg:GAT", "heads": 2, "hidden_channels": 8}]


class WholeGraph(nn.Module):
    """A network that takes the graph itself, and writes into it as GraphGym's do."""

    in_channels, out_channels = 3, 2

    def __init__(self) -> None:
        super().__init__()
        self.convolution = GCNConv(3, 2)

    def forward(self, data: Data) -> torch.Tensor:
        data.x = self.convolution(data.x, data.edge_index)
        return data.x


def base(kind: str) -> nn.Module:
    torch.manual_seed(1)
    if kind == "whole graph":
        return WholeGraph().double().eval()
    if kind == "GraphUNet":
        return GraphUNet(3, 8, 2, depth=2).double().eval()
    return BASES[kind](3, 8, 2, 2).double().eval()


def refiner(correction: object, kind: str = "GCN", **options: object) -> IterativeRefiner:
    torch.manual_seed(2)
    words = {"steps": 3, "alpha": 0.5, "in_channels": 3, "out_channels": 2, **options}
    return IterativeRefiner(base(kind), correction, **words).double().eval()


def awake(model: IterativeRefiner) -> IterativeRefiner:
    for parameter in model.correction.parameters():
        nn.init.normal_(parameter, std=0.15)
    return model


@pytest.mark.parametrize("kind", [*BASES, "GraphUNet", "whole graph"])
@pytest.mark.parametrize("correction", CORRECTIONS, ids=str)
def test_an_untrained_refiner_is_the_base_however_it_is_called(kind: str, correction: object) -> None:
    if kind == "GraphUNet" and 1 in SIZES:
        batch = Batch.from_data_list([g for g in GRAPHS if g.num_nodes > 1])
    else:
        batch = BATCH
    model = refiner(correction, kind)
    before = batch.clone()
    whole = kind == "whole graph"
    expected = base(kind)(batch.clone()) if whole else None
    answer = model(batch)
    if not whole:
        parts = {"batch": batch.batch} if kind == "GraphUNet" else {}
        expected = base(kind)(batch.x, batch.edge_index, **parts)
        by_parts = model(batch.x, batch.edge_index, batch=batch.batch, pos=batch.pos)
        assert torch.equal(by_parts, expected)
    assert torch.equal(answer, expected)
    assert all(torch.equal(batch[key], before[key]) for key in ("x", "edge_index", "pos"))


@pytest.mark.parametrize("correction", CORRECTIONS, ids=str)
@pytest.mark.parametrize("solver", ["picard", "anderson"])
def test_a_batch_of_graphs_equals_a_loop_over_them(correction: object, solver: str) -> None:
    model = awake(refiner(correction))
    together = model.solve(BATCH, solver=solver, rtol=1e-2, max_steps=12)
    for i, single in enumerate(GRAPHS):
        alone = model.solve(single, solver=solver, rtol=1e-2, max_steps=12)
        rows = BATCH.batch == i
        torch.testing.assert_close(alone.value, together.value[rows], rtol=1e-9, atol=1e-9)
        assert alone.steps[0] == together.steps[i]
        assert alone.outcomes[0] == together.outcomes[i]


@pytest.mark.parametrize("correction", CORRECTIONS, ids=str)
def test_renumbering_the_nodes_renumbers_the_answer(correction: object) -> None:
    model = awake(refiner(correction))
    order = torch.randperm(BATCH.num_nodes)
    place = order.argsort()
    moved = {"x": BATCH.x[order], "edge_index": place[BATCH.edge_index], "pos": BATCH.pos[order]}
    answer = model(**{**moved, "batch": BATCH.batch[order]})
    torch.testing.assert_close(answer, model(BATCH)[order], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("gradient", ["unrolled", "detached", "implicit"])
def test_training_supervises_each_graph_alike(gradient: str) -> None:
    model = awake(refiner("meshgraph", gradient=gradient)).train()
    loss = RefinementLoss(fixed_point=0.1, reduction="mean")
    trajectory = model(BATCH, y=BATCH.y)
    loss(trajectory, BATCH.y).backward()
    assert all(p.grad is not None for p in model.correction.parameters())
    assert trajectory.domain.samples == len(SIZES)
    squares = (trajectory.last - BATCH.y).square().mean(1).detach()
    weights = BATCH.measure
    by_hand = torch.stack(
        [(squares * weights)[BATCH.batch == i].sum() / weights[BATCH.batch == i].sum() for i in range(4)]
    )
    measured = trajectory.domain.mean((trajectory.last - BATCH.y).square().detach())
    torch.testing.assert_close(measured, by_hand)


def test_a_plain_prediction_is_scored_graph_by_graph() -> None:
    loss = RefinementLoss(reduction="mean")
    prediction = refiner("meshgraph")(BATCH)
    squares = (prediction - BATCH.y).square().mean(1)
    by_graph = torch.stack([squares[BATCH.batch == i].mean() for i in range(4)])
    torch.testing.assert_close(loss(prediction, BATCH.y, batch=BATCH.batch), by_graph.mean())


def test_every_node_network_of_pyg_can_be_named() -> None:
    assert {"GCN", "GAT", "GraphSAGE", "GIN", "EdgeCNN", "GraphUNet"} <= networks().keys()
    with pytest.raises(ValueError, match=r"got 'GraphSAGEE'; try 'GraphSAGE'"):
        refiner("pyg:GraphSAGEE")


def test_odd_graphs_work_or_teach() -> None:
    model = awake(refiner("meshgraph"))
    none = torch.empty(2, 0, dtype=torch.long)
    isolated = Data(x=torch.randn(3, 3).double(), edge_index=none, pos=torch.rand(3, 2).double())
    assert model(isolated).shape == (3, 2)
    loops = torch.tensor([[0, 0, 1, 0], [0, 1, 0, 1]])  # a self loop, and an edge twice
    assert model(Data(x=isolated.x, edge_index=loops, pos=isolated.pos)).isfinite().all()
    with pytest.raises(
        ValueError, match=r"a graph with edge_index as a tensor, got .*; try Data\(edge_index="
    ):
        model(Data(x=isolated.x, pos=isolated.pos))
    with pytest.raises(ValueError, match=r"expected pos with 2 coordinates, got none; try pos="):
        model(Data(x=isolated.x, edge_index=loops))
    with pytest.raises(ValueError, match=r"expected a field on a grid for a U-Net, got one on points"):
        refiner("unet")(BATCH)
    flat = IterativeRefiner(Pooled().double(), "meshgraph", in_channels=3, out_channels=2)
    with pytest.raises(ValueError, match=r"an answer of shape \(25, C\), a row for each node, got \(1, 2\)"):
        flat(BATCH)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_rigno_is_a_base_and_a_correction_on_points() -> None:
    torch.manual_seed(0)
    points = [graph(n, n) for n in (40, 64)]
    batch = Batch.from_data_list(points)
    words = {
        "model_arch": "rigno",
        "in_channels": 3,
        "out_channels": 2,
        "width": 8,
        "steps": 1,
        "time": False,
    }
    model = IterativeRefiner(words, {"name": "rigno", "width": 8, "steps": 1}, steps=2, alpha=0.5)
    model = model.double().eval()
    assert torch.equal(model(batch), model.base.module(batch.x, batch.pos, batch.batch))
    awake(model)
    together = model(batch.x, batch.pos, batch.batch)
    for i, single in enumerate(points):
        torch.testing.assert_close(model(single), together[batch.batch == i], rtol=1e-8, atol=1e-8)


class Pooled(WholeGraph):
    """A network that answers for the graph, not for its nodes."""

    def forward(self, data: Data) -> torch.Tensor:
        return super().forward(data).mean(0, keepdim=True)


def test_a_network_on_graphs_is_a_correction_as_it_is() -> None:
    network = GraphSAGE(5, 8, 1, 2).double()
    model = refiner(network, steps=1)
    h = base("GCN")(BATCH.x, BATCH.edge_index)
    update = network(torch.cat([BATCH.x, h], 1), BATCH.edge_index)
    torch.testing.assert_close(model(BATCH), h + 0.5 * update)
    whole_graphs = refiner(GraphOutput())
    with pytest.raises(ValueError, match=r"an update for each of 25 nodes, got \(4, 2\)"):
        whole_graphs(BATCH)


class GraphOutput(nn.Module):
    """A network that answers for graphs."""

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        return x.new_zeros(int(batch.max()) + 1, 2)


def weighted() -> Batch:
    graphs = [g.clone() for g in GRAPHS]
    for g in graphs:
        g.edge_weight = torch.rand(g.num_edges, generator=torch.Generator().manual_seed(7)).double()
    return Batch.from_data_list(graphs)


@pytest.mark.parametrize("name", ["pyg:GCN", "pign"])
def test_weights_of_edges_reach_the_correction(name: str) -> None:
    model, batch = awake(refiner(name)), weighted()
    start = model.base(batch)
    answer = model(batch, start=start)
    assert not torch.allclose(answer, model(BATCH, start=start))
    once = model.solve(batch, start=start, rtol=1e-2, max_steps=4).value
    for i, single in enumerate(batch.to_data_list()):
        rows = batch.batch == i
        alone = model.solve(single, start=start[rows], rtol=1e-2, max_steps=4).value
        torch.testing.assert_close(alone, once[rows], rtol=1e-9, atol=1e-9)
    batch.edge_weight = batch.edge_weight[:-1]
    with pytest.raises(ValueError, match=r"edge_weight with \d+ rows"):
        model(batch, start=start)


def test_networks_that_were_not_built_for_attributes_of_edges_are_not_handed_any() -> None:
    pna = PNA(3, 8, 2, 2, aggregators=["mean"], scalers=["identity"], deg=torch.tensor([1, 2, 3, 4]))
    batch = BATCH.clone()
    batch.edge_attr = torch.rand(batch.num_edges, 2).double()
    words = {"name": "pyg:PNA", "deg": [1, 2, 3, 4], "hidden_channels": 8}
    model = IterativeRefiner(pna, words, steps=1).double().eval()
    without = pna(batch.x, batch.edge_index)
    assert torch.equal(model(batch), without)
    assert torch.equal(model(batch.x, batch.edge_index, edge_attr=batch.edge_attr), without)
    aware = PNA(
        3, 8, 2, 2, aggregators=["mean"], scalers=["identity"], deg=torch.tensor([1, 2, 3, 4]), edge_dim=2
    ).double()
    model = IterativeRefiner(aware, {**words, "edge_dim": 2}, steps=1).double().eval()
    assert torch.equal(model(batch), aware(batch.x, batch.edge_index, edge_attr=batch.edge_attr))


def test_a_function_of_data_is_a_base_and_a_base_on_grids_is_refused_on_graphs() -> None:
    options = {"in_channels": 3, "out_channels": 2, "steps": 1}
    of_data = IterativeRefiner(lambda data: data.x[:, :2], "pyg:GCN", **options).double()
    assert torch.equal(of_data(BATCH), BATCH.x[:, :2])
    on_grids = IterativeRefiner(nn.Linear(3, 2).double(), "pyg:GCN", **options).double()
    with pytest.raises(TypeError, match=r"takes a graph, got Linear, .*; try a function around it, lambda"):
        on_grids(BATCH)


@pytest.mark.parametrize("built_for", [True, False], ids=["built for edges", "built without"])
@pytest.mark.parametrize("name", ["edge_weight", "edge_attr"])
def test_what_edges_hold_reaches_phi_as_it_reaches_the_base(name: str, built_for: bool) -> None:
    """GCN reads weights and GIN none; GAT reads attributes if it was built with their number."""
    options: dict[str, Any] = {"edge_dim": 2} if built_for else {}
    network: nn.Module = GAT(3, 8, 2, 2, **options)
    phi = {"name": "pyg:GAT", "hidden_channels": 8, **options}
    if name == "edge_weight":
        network, phi = (GCN if built_for else GIN)(3, 8, 2, 2), {"name": "pyg:GCN", "hidden_channels": 8}
    batch = BATCH.clone()
    batch[name] = torch.rand(batch.num_edges, *([2] if name == "edge_attr" else []), dtype=torch.float64)
    model = awake(IterativeRefiner(network, phi, in_channels=3, out_channels=2).double().eval())
    start = torch.zeros(batch.num_nodes, 2, dtype=torch.float64)
    bare = model(BATCH.clone(), start=start)
    parts = {"batch": batch.batch, name: batch[name]}
    for answer in (model(batch, start=start), model(batch.x, batch.edge_index, start=start, **parts)):
        assert torch.equal(answer, bare) is not built_for
    assert torch.equal(model.base(batch), model.base(BATCH.clone())) is not built_for
