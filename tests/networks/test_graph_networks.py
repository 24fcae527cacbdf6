"""Iterated graph networks: what they compute, and that no node, graph or batch-mate is treated apart."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GATConv, PNAConv
from torch_geometric.utils import degree

from neuralop_irno._neuralop import build_model
from neuralop_irno.networks.convolutions import GraphBlock, convolution
from neuralop_irno.networks.graph_networks import GnnStack, Pign
from neuralop_irno.networks.itergnn import IterGNN
from neuralop_irno.solution import Outcome

PNA = {"name": "pna", "deg": [0, 2, 5, 3, 1]}
CONVS = ["gcn", "gat", "sage", "gin", PNA, "GraphConv", {"name": "TransformerConv", "heads": 2}]
NETWORKS: dict[str, Any] = {
    "pign": lambda conv: Pign(3, 2, conv, width=8, steps=5, inject=True),
    "itergnn": lambda conv: IterGNN(3, 2, conv, width=8, steps=5),
    "gnn_stack": lambda conv: GnnStack(3, 2, conv, width=8, layers=3),
}


def graph(n: int, seed: int) -> Data:
    """A ring with chords, both ways."""
    generator = torch.Generator().manual_seed(seed)
    node = torch.arange(n)
    far = torch.randint(n, (n,), generator=generator)
    pairs = torch.cat([torch.stack([node, (node + 1) % n]), torch.stack([node, far])], 1)
    pairs = pairs[:, pairs[0] != pairs[1]]
    x = torch.randn(n, 3, generator=generator)
    return Data(x=x, edge_index=torch.cat([pairs, pairs.flip(0)], 1).unique(dim=1))


@pytest.fixture(params=NETWORKS)
def build(request: pytest.FixtureRequest) -> Any:
    return NETWORKS[request.param]


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("inject", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_the_iteration_is_the_formula(inject: bool, training: bool) -> None:
    network, data = Pign(3, 2, width=8, steps=6, smoothing=0.7, inject=inject), graph(9, 0)
    start = h = network.encoder(data.x)
    for _ in range(6):
        image = network.network.block(h, data.edge_index) + (start if inject else 0)
        h = 0.7 * h + 0.3 * image
    close(network.train(training)(data), network.decoder(h))


@pytest.mark.parametrize("training", [True, False])
def test_the_weights_of_states_are_those_of_a_process_that_stops(training: bool) -> None:
    steps, sizes = 6, (5, 8)
    network = IterGNN(3, 2, width=8, steps=steps)
    batch = Batch.from_data_list([graph(n, n) for n in sizes])
    h = network.encoder(batch.x)
    states, confidences = [], []
    for _ in range(steps):
        h = network.network.block(h, batch.edge_index, batch=batch.batch)
        readout = network.network.solver.readout
        confidences.append(torch.stack([readout(part.amax(0))[0].sigmoid() for part in h.split(sizes)]))
        states.append(h)
    c = torch.stack(confidences)
    weights = torch.stack([c[k] * (1 - c[:k]).prod(0) for k in range(steps)])
    torch.testing.assert_close(weights.sum(0) + (1 - c).prod(0), torch.ones(2))
    mean = sum(weights[k][batch.batch][:, None] * states[k] for k in range(steps))
    close(network.train(training)(batch), network.decoder(mean))


def test_a_graph_that_is_sure_stops_and_the_others_go_on() -> None:
    network = IterGNN(3, 2, width=8, steps=30).eval()
    batch = Batch.from_data_list([graph(n, n) for n in (5, 8)])
    own = {"edge_index": batch.edge_index, "batch": batch.batch}
    with torch.no_grad():
        network.network.solver.readout.bias.fill_(30.0)
        sure = network.network.solve(network.encode(batch.x), **own)
        assert sure.steps.tolist() == [1, 1]
        assert sure.outcomes == (Outcome.CONVERGED,) * 2
        first = network.network.block(network.encode(batch.x), **own)
        close(network(batch), network.decoder(first))
        network.network.solver.readout.bias.fill_(-1.0)
        network.network.solver.readout.weight.zero_()
        unsure = network.network.solve(network.encode(batch.x), **own).steps
    assert unsure.tolist() == [30, 30]  # each leaves 73 % of what there was: 52 would be needed


@pytest.mark.parametrize("conv", CONVS, ids=str)
def test_renumbering_the_nodes_renumbers_the_answer(build: Any, conv: Any) -> None:
    network, data = build(conv).double().eval(), graph(9, 1)
    data.x = data.x.double()
    order = torch.randperm(9)
    place = torch.empty_like(order)
    place[order] = torch.arange(9)
    close(network(data.x[order], place[data.edge_index]), network(data)[order])


@pytest.mark.parametrize("norm", ["graph", "layer", None])
def test_norms_are_the_same_in_training_and_alone(norm: str | None) -> None:
    block, graphs = GraphBlock("gcn", 3, norm), [graph(5, 0), graph(9, 1)]
    batch = Batch.from_data_list(graphs)
    together = block(batch.x, batch.edge_index, batch=batch.batch)
    close(together, block.eval()(batch.x, batch.edge_index, batch=batch.batch))
    close(together, torch.cat([block(data.x, data.edge_index) for data in graphs]))


@pytest.mark.parametrize("conv", CONVS, ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_a_graph_is_answered_in_company_as_alone(build: Any, conv: Any, training: bool) -> None:
    network, graphs = build(conv).double().train(training), [graph(n, n) for n in (5, 9, 7)]
    for data in graphs:
        data.x = data.x.double()
    together = network(Batch.from_data_list(graphs))
    close(together, torch.cat([network(data) for data in graphs]))


def test_each_graph_rests_on_its_own() -> None:
    network = Pign(3, 2, width=8, steps=200, inject=True, norm=None, tol=1e-4)
    network.eval()
    with torch.no_grad():
        network.network.block.conv.lin.weight.mul_(0.5)
    graphs = [graph(n, n) for n in (4, 40)]
    batch = Batch.from_data_list(graphs)
    solution = network.solve(batch, rtol=1e-4, max_steps=200)
    alone = [network.solve(data, rtol=1e-4, max_steps=200) for data in graphs]
    assert solution.steps.tolist() == [int(one.steps) for one in alone]
    assert solution.steps[0] != solution.steps[1]
    assert solution.good.all()
    close(network(batch), network.decode(solution.value))


def test_a_graph_whole_or_in_parts() -> None:
    network, data = Pign(3, 2, {"name": "gat", "edge_dim": 1}, width=8), graph(9, 2)
    data.edge_attr = torch.rand(data.num_edges, 1)
    close(network(data), network(data.x, data.edge_index, edge_attr=data.edge_attr))
    assert not torch.allclose(network(data), network(data.x, data.edge_index))
    weighted = Pign(3, 2, "gcn", width=8)
    weight = data.edge_attr[:, 0]
    data.edge_weight = weight
    close(weighted(data), weighted(data.x, data.edge_index, edge_weight=weight))
    assert not torch.allclose(weighted(data), weighted(data.x, data.edge_index))
    with pytest.raises(TypeError, match="expected a graph with x and edge_index, got none for edge_index"):
        network(data.x)


def test_dropout_is_of_training_alone(build: Any) -> None:
    network, data = build("gcn"), graph(9, 3)
    network.dropout = 0.5
    assert not torch.equal(network(data), network(data))
    network.eval()
    assert torch.equal(network(data), network(data))


def test_convolutions_by_name_and_by_class() -> None:
    assert isinstance(convolution("GATConv", 8), GATConv)
    assert convolution({"name": "gat", "heads": 4, "concat": False}, 6).out_channels == 6
    data = graph(9, 4)
    histogram = degree(data.edge_index[1], 9).long().bincount()
    found = convolution({"name": "pna", "deg": histogram.tolist()}, 8)
    theirs = PNAConv(8, 8, ["mean"], ["identity"], histogram)
    assert isinstance(found, PNAConv)
    assert found.aggr_module.avg_deg_log == theirs.aggr_module.avg_deg_log
    assert GraphBlock("gcn", 8).takes == ("edge_weight",)
    assert GraphBlock("gat", 8).takes == ()


MISTAKES = {
    "the name of a convolution, got 'gatt'; try 'gat'": "gatt",
    "a convolution by name, got 3": 3,
    "a width that the 3 heads of 'gat' share, got 8; try heads=1": {"name": "gat", "heads": 3},
    "the option 'deg' of the convolution 'pna'": "pna",
    "the option 'nn' of the convolution 'NNConv'": "NNConv",
}


@pytest.mark.parametrize(("words", "conv"), MISTAKES.items())
def test_a_mistake_is_named(words: str, conv: Any) -> None:
    with pytest.raises(ValueError, match=f"expected {words}"):
        convolution(conv, 8)


def test_they_are_built_by_name() -> None:
    for name, kind in (("pign", Pign), ("itergnn", IterGNN), ("gnn_stack", GnnStack)):
        assert type(build_model({"model_arch": name, "width": 4}, 3, 2)) is kind
    with pytest.raises(ValueError, match="expected dropout at least 0 and below 1, got 1"):
        Pign(3, 2, dropout=1.0)
    with pytest.raises(ValueError, match="expected a norm 'graph' or 'layer', or None, got 'batch'"):
        GnnStack(3, 2, norm="batch")
    with pytest.raises(ValueError, match="expected at least one step, got steps=0"):
        IterGNN(3, 2, steps=0)
