"""Networks on graphs in every form of call: law 3, law 7, law 13; trained, saved and read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from operators import MeshGraphNet, Messages
from torch import Tensor, nn
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.nn import GCN, GraphConv, GraphSAGE, HeteroConv
from torch_geometric.transforms import ToSparseTensor

from neuralop_irno import RIGNO, GraphOperator, IterativeRefiner, Recipe, RefinementLoss, Trainer

# PyTorch Geometric multiplies sparse matrices, of which torch warns.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Sparse (invariant checks|CSR tensor):UserWarning"),
    pytest.mark.filterwarnings("ignore:Converting sparse tensor to CSR:UserWarning"),
]

SIZES = (7, 12, 5)
MESHGRAPH = {"name": "meshgraph", "width": 8, "steps": 1}
RIGNO_BY_NAME = {"name": "rigno", "width": 8, "steps": 1, "subsample": 1.0}
CHANNELS = {"in_channels": 3, "out_channels": 2}


class ByParts(Messages):
    def forward(self, x, edge_index):
        return self.passed(x, edge_index)


class OfData(Messages):
    def forward(self, data):
        return self.passed(data.x, data.edge_index)


class Unnamed(Messages):
    """The same call under names that say nothing of a graph."""

    def forward(self, v, e, g):
        return self.passed(v, g.edge_index, e)


def of_data() -> Callable[[Data], Tensor]:
    net = OfData().double()
    return lambda data: net(data)


def of_parts() -> Callable[[Tensor, Tensor], Tensor]:
    net = ByParts().double()
    return lambda x, edge_index: net(x, edge_index)


FAMILIES: dict[str, Callable[[], Any]] = {
    "x, edge_index": ByParts,
    "data": OfData,
    "MeshGraphNet": lambda: MeshGraphNet(edges=2),
    "a function of data": of_data,
    "a function of parts": of_parts,
    "GraphSAGE": lambda: GraphSAGE(3, 8, 1, 2),
}


def graph(n: int, seed: int) -> Data:
    generator = torch.Generator().manual_seed(seed)
    pos = torch.rand(n, 2, generator=generator)
    near = torch.cdist(pos, pos) < 0.6
    edge_index = (near & ~torch.eye(n, dtype=torch.bool)).nonzero().T
    fields = {"x": (n, 3), "y": (n, 2), "edge_attr": (edge_index.shape[1], 2)}
    parts = {name: torch.randn(shape, generator=generator) for name, shape in fields.items()} | {"pos": pos}
    return Data(edge_index=edge_index, **{name: part.double() for name, part in parts.items()})


GRAPHS = [graph(n, seed) for seed, n in enumerate(SIZES)]
BATCH = Batch.from_data_list(GRAPHS)


def built(family: str) -> Any:
    torch.manual_seed(0)
    net = FAMILIES[family]()
    return net.double() if isinstance(net, nn.Module) else net


def refiner(net: Any, correction: Any = MESHGRAPH, **options: Any) -> IterativeRefiner:
    torch.manual_seed(1)
    words = {"steps": 2, "alpha": 0.5, **CHANNELS, **options}
    model = IterativeRefiner(net, correction, **words).double()
    for parameter in model.correction.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model.eval()


def answer_of(family: str, net: Any, data: Data) -> Tensor:
    """The network called as it is written."""
    if family == "MeshGraphNet":
        return net(data.x, data.edge_attr, data)
    return net(data) if "data" in family else net(data.x, data.edge_index)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("correction", [MESHGRAPH, RIGNO_BY_NAME, "pyg:GraphSAGE"], ids=str)
def test_an_untrained_refiner_is_the_base_however_it_is_called(family: str, correction: Any) -> None:
    net, data = built(family), Batch.from_data_list([graph(n, n) for n in (9, 8)])
    model = IterativeRefiner(net, correction, **CHANNELS).double().eval()
    answer, before = answer_of(family, net, data), data.clone()
    assert torch.equal(model(data), answer)
    assert torch.equal(model(data.to_data_list()), answer)
    assert torch.equal(model.solve(data, rtol=1e-3).value, answer)
    parts = {"x": data.x, "edge_index": data.edge_index, "batch": data.batch, "pos": data.pos}
    edges = {"edge_attr": data.edge_attr} if family == "MeshGraphNet" else {}
    assert torch.equal(model(**parts, **edges), answer)
    if family == "MeshGraphNet":
        assert torch.equal(model(data.x, data.edge_attr, data), answer)
    assert all(torch.equal(data[key], before[key]) for key in ("x", "edge_index", "pos", "edge_attr"))


def test_a_batch_equals_a_loop_and_renumbering_renumbers(family: str) -> None:
    model = refiner(built(family))
    together = model(BATCH)
    for i, single in enumerate(GRAPHS):
        torch.testing.assert_close(model(single), together[BATCH.batch == i])
    order = torch.randperm(BATCH.num_nodes)
    moved = BATCH.clone()
    moved.x, moved.pos, moved.batch = BATCH.x[order], BATCH.pos[order], BATCH.batch[order]
    moved.edge_index = order.argsort()[BATCH.edge_index]
    torch.testing.assert_close(model(moved), together[order])
    assert torch.equal(model.solve(BATCH, steps=2).value, together)
    assert torch.equal(model.iterates(BATCH)[2], together)


@pytest.mark.parametrize("family", ["data", "a function of parts", "GraphSAGE"])
def test_a_family_is_trained_saved_and_read_back(family: str, tmp_path: Path) -> None:
    net = built(family)
    model = IterativeRefiner(net, MESHGRAPH, steps=2, **CHANNELS).double()
    recipe = Recipe(epochs=1, batch_size=2, precision="float32")
    history = Trainer(model, recipe, show=False).fit(GRAPHS, GRAPHS)
    assert history[-1]["update"] == 2
    json.dumps(model.config)
    again = IterativeRefiner.from_checkpoint(model.save(tmp_path / "model.safetensors"), base=net)
    assert torch.equal(again.eval()(BATCH), model.eval()(BATCH))


def test_a_tensor_beside_a_graph_is_the_input_under_any_name() -> None:
    net, other = Unnamed(edges=2).double(), torch.randn(BATCH.num_nodes, 3).double()
    model = refiner(net)
    problem = model.problem((other, BATCH.edge_attr, BATCH), {})
    assert torch.equal(problem.x, other)
    assert torch.equal(problem.start, net(other, BATCH.edge_attr, BATCH))
    named = refiner(MeshGraphNet(edges=2).double())
    assert torch.equal(
        named.problem((), {"node_features": other, "edge_features": BATCH.edge_attr, "graph": BATCH}).x, other
    )


@pytest.mark.parametrize("layout", [torch.sparse_csr, torch.sparse_coo], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_sparse_adjacency_stands_for_the_edges(layout: torch.layout, weighted: bool) -> None:
    data = Batch.from_data_list(GRAPHS)
    del data.edge_attr
    data.x, data.pos = data.x.float(), data.pos.float()
    if weighted:
        data.edge_weight = torch.rand(data.num_edges)
    sparse = ToSparseTensor(layout=layout)(data.clone())
    model = refiner(GCN(3, 8, 1, 2), "pyg:GCN").float()
    answer = model(data)
    torch.testing.assert_close(model(sparse), answer)
    torch.testing.assert_close(model(sparse.x, sparse.adj_t, batch=sparse.batch), answer)
    torch.testing.assert_close(model(x=sparse.x, adj_t=sparse.adj_t, batch=sparse.batch), answer)


def test_one_type_of_nodes_is_refined_and_the_others_are_handed_back() -> None:
    class Hetero(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            between = {("a", "to", "a"): GraphConv(3, 2), ("b", "to", "a"): GraphConv((4, 3), 2)}
            self.layer = HeteroConv({**between, ("a", "to", "b"): GraphConv((3, 4), 5)})

        def forward(self, x_dict, edge_index_dict):
            return self.layer(x_dict, edge_index_dict)

    data = HeteroData()
    data["a"].x, data["a"].pos, data["b"].x = torch.randn(6, 3), torch.rand(6, 2), torch.randn(4, 4)
    for kind, nodes in ((("a", "to", "a"), (6, 6)), (("b", "to", "a"), (4, 6)), (("a", "to", "b"), (6, 4))):
        data[kind].edge_index = torch.stack([torch.randint(count, (9,)) for count in nodes])
    net = Hetero()
    with pytest.raises(ValueError, match=r"type of nodes that is refined, got nodes of a, b; try irno.Gr"):
        IterativeRefiner(net, MESHGRAPH, **CHANNELS)(data)
    model = refiner(GraphOperator(net, nodes="a")).float()
    answer, plain = model(data), net(data.x_dict, data.edge_index_dict)
    assert torch.equal(answer["b"], plain["b"])
    assert answer["a"].shape == plain["a"].shape
    assert not torch.allclose(answer["a"], plain["a"])
    assert torch.equal(model.problem((data,), {}).domain.edges.index, data["a", "to", "a"].edge_index)
    both = model([data, data])
    torch.testing.assert_close(both["a"], answer["a"].repeat(2, 1))
    y = torch.randn(6, 2)
    RefinementLoss()(model.train()(data, y=y), y).backward()
    assert all(weight.grad is not None for weight in model.correction.parameters())
    assert model.config["base"] == {
        "model_arch": "graphs",
        "net": {"object": "Hetero"},
        "output": None,
        "nodes": "a",
    }
    with pytest.raises(TypeError, match="samples with one type of nodes, got HeteroData"):
        Trainer(model, Recipe(epochs=1), show=False).fit([data])


def test_an_axis_of_time_is_folded_into_channels_for_the_correction_alone() -> None:
    class ThroughTime(nn.Module):
        in_channels, out_channels = 3, 2

        def forward(self, x, edge_index):
            assert x.shape[1:] == (3, 4)
            return x[:, :2].cumsum(-1)

    x, y = torch.randn(BATCH.num_nodes, 3, 4).double(), torch.randn(BATCH.num_nodes, 2, 4).double()
    model = refiner(ThroughTime(), in_channels=12, out_channels=8)
    assert model(x, BATCH.edge_index, pos=BATCH.pos, batch=BATCH.batch).shape == y.shape
    assert torch.equal(model.problem((x, BATCH.edge_index), {}).x, x.flatten(1))
    trajectory = model.train()(x, BATCH.edge_index, pos=BATCH.pos, batch=BATCH.batch, y=y)
    assert RefinementLoss()(trajectory, y).isfinite()
    with pytest.raises(ValueError, match="expected in_channels=3, as the base has it, got in_channels=13"):
        refiner(ThroughTime(), in_channels=13)


class JoinedOfData(nn.Module):
    """A correction that takes the whole graph."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = GraphSAGE(5, 8, 1, 2)

    def forward(self, data):
        return self.layer(data.x, data.edge_index)


INSTANCES: dict[str, Callable[[], nn.Module]] = {
    "GraphSAGE": lambda: GraphSAGE(5, 8, 1, 2),
    "of data": JoinedOfData,
    "MeshGraphNet": lambda: MeshGraphNet(5, edges=2),
    "RIGNO": lambda: RIGNO(5, 2, width=8, steps=1, subsample=1.0, levels=1, time=False),
}


@pytest.mark.parametrize("kind", INSTANCES)
def test_an_instance_of_a_network_is_a_correction(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, base = INSTANCES[kind]().double(), ByParts().double()
    model = IterativeRefiner(base, net, steps=1, alpha=1.0, **CHANNELS).double().eval()
    parts = {"edge_attr": BATCH.edge_attr, "batch": BATCH.batch, "pos": BATCH.pos}
    h = base(BATCH.x, BATCH.edge_index)
    joined = torch.cat([BATCH.x, h], 1)
    if kind == "RIGNO":
        update = net(joined, BATCH.pos, BATCH.batch)
    elif kind == "GraphSAGE":
        update = net(joined, BATCH.edge_index)
    else:
        whole = Batch(x=joined, edge_index=BATCH.edge_index, **parts)
        update = net(whole) if kind == "of data" else net(joined, BATCH.edge_attr, whole)
    torch.testing.assert_close(model(BATCH), h + update)
    path = model.save(tmp_path / "model.safetensors")
    again = IterativeRefiner.from_checkpoint(path, base=base, correction=INSTANCES[kind]())
    assert torch.equal(again.double().eval()(BATCH), model(BATCH))


def test_channels_of_x_and_of_the_answer_are_those_of_the_refiner() -> None:
    for channels, reason in (
        ({"in_channels": 4, "out_channels": 1}, r"x of shape \(N, 4\)"),
        ({"out_channels": 1}, r"h of shape \(N, 1\)"),
    ):
        with pytest.raises(ValueError, match=rf"{reason}, got .*; try (in|out)_channels="):
            refiner(ByParts().double(), **channels)(BATCH)  # x and h joined have 5 in the first case too


def test_an_instance_for_other_channels_is_refused_by_name() -> None:
    model = refiner(ByParts().double(), GraphSAGE(4, 8, 1, 2))
    with pytest.raises(ValueError, match=r"of x and h joined, 5 channels, got one of 4 channels; try in_c"):
        model(BATCH)


def test_gino_is_a_correction_on_points_of_any_geometry() -> None:
    gino = {"name": "gino", "latent": 3, "gno_coord_dim": 2, "in_gno_radius": 0.9, "out_gno_radius": 0.9}
    sizes = {"fno_n_modes": [2, 2], "fno_hidden_channels": 4, "fno_n_layers": 1}
    model = refiner(ByParts(), {**gino, **sizes}).float()
    graphs = [
        graph(n, n).apply(lambda part: part.float() if part.is_floating_point() else part) for n in (6, 8, 6)
    ]
    batch = Batch.from_data_list(graphs)
    together = model(batch)
    for i, single in enumerate(graphs):
        torch.testing.assert_close(model(single), together[batch.batch == i], rtol=1e-4, atol=1e-5)
    order = torch.randperm(20)
    parts = {"x": batch.x[order], "pos": batch.pos[order], "batch": batch.batch[order]}
    moved = model(**parts, edge_index=order.argsort()[batch.edge_index])
    torch.testing.assert_close(moved, together[order], rtol=1e-4, atol=1e-5)


def test_positional_arguments_beside_a_graph_are_refused_where_it_is_passed_by_parts() -> None:
    with pytest.raises(TypeError, match=r"a graph, and other arguments by name, .*; try model\(data, name="):
        refiner(ByParts().double())(BATCH, torch.ones(3))
