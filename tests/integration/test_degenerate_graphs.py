"""Graphs at the edge of what a graph is: the whole product works on them, or says in one sentence why not.

To work means: answers, losses and gradients are finite, and each graph of a batch gets what it gets alone.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GraphSAGE

from neuralop_irno import IterativeRefiner, Outcome, RefinementLoss
from neuralop_irno.models import RIGNO

NODES = 24
SOLVERS = ("picard", "anderson")
ONE_SENTENCE = r"^expected [^\n]+, got [^\n]+; try [^\n]+$"


def ring(nodes: int = NODES, dim: int = 2, **other: Tensor) -> Data:
    """Points anywhere, joined in a ring both ways; and other tensors in the place of some of these."""
    generator = torch.Generator().manual_seed(nodes)
    x, y = torch.randn(2, nodes, 2, generator=generator, dtype=torch.float64)
    pos = torch.rand(nodes, dim, generator=generator, dtype=torch.float64)
    node = torch.arange(nodes)
    ahead = torch.stack([node, (node + 1) % nodes])
    return Data(**{"x": x, "y": y, "pos": pos, "edge_index": torch.cat([ahead, ahead.flip(0)], 1), **other})


def put(tensor: Tensor, place: Any, value: Any) -> Tensor:
    """A copy in which one place holds another value."""
    tensor = tensor.clone()
    tensor[place] = value
    return tensor


RING = ring()
EDGES, POS = RING.edge_index, RING.pos
ONES = torch.ones(NODES, dtype=torch.float64)
BATCH = torch.zeros(NODES, dtype=torch.long)
LOOPS = torch.arange(NODES).repeat(2, 1)

WORKING = {
    "isolated nodes": ring(edge_index=EDGES[:, (EDGES < NODES - 3).all(0)]),
    "no edges": ring(edge_index=EDGES[:, :0]),
    "two components": ring(edge_index=EDGES[:, (EDGES < NODES // 2).int().sum(0) != 1]),
    "edges given twice": ring(edge_index=EDGES.repeat(1, 2)),
    "self loops": ring(edge_index=torch.cat([EDGES, LOOPS], 1)),
    "directed edges": ring(edge_index=EDGES[:, :NODES]),
    "three dimensions": ring(dim=3),
}
ON_EDGES_ONLY = {  # RIGNO wants regions, and a box that holds them
    "one node": ring(1, edge_index=EDGES[:, :0]),
    "one node with a loop": ring(1, edge_index=LOOPS[:, :1]),
    "points on a line": ring(pos=put(POS, (slice(None), 1), 0.5)),
}
WITHOUT_A_SPECTRUM = {  # what stands nowhere, or is of no size, has no frequencies
    "points that coincide": ring(pos=put(POS, 3, POS[4])),
    "a node of no measure": ring(measure=put(ONES, 3, 0.0)),
}
EDGE_CORRECTIONS = ("meshgraph", "pyg:GraphSAGE")
COMBINATIONS = [
    (name, base, correction)
    for name in (*WORKING, *ON_EDGES_ONLY, *WITHOUT_A_SPECTRUM)
    for base in ("GraphSAGE", "RIGNO")
    for correction in (*EDGE_CORRECTIONS, "rigno")
    if name not in ON_EDGES_ONLY or (base, correction) in [("GraphSAGE", c) for c in EDGE_CORRECTIONS]
]


def refiner(base: str = "GraphSAGE", correction: str = "meshgraph", dim: int = 2) -> IterativeRefiner:
    """A refiner in double precision whose correction is awake."""
    torch.manual_seed(0)
    module = (
        RIGNO(2, 2, dim, width=4, steps=1, levels=1, time=False) if base == "RIGNO" else GraphSAGE(2, 4, 1, 2)
    )
    options = {
        "meshgraph": {"width": 4, "steps": 1, "dim": dim},
        "rigno": {"width": 4, "steps": 1, "levels": 1, "dim": dim},
        "pyg:GraphSAGE": {"hidden_channels": 8, "num_layers": 2},
    }[correction]
    words = {"name": correction, **options}
    model = IterativeRefiner(module, words, steps=2, alpha=0.3, in_channels=2, out_channels=2).double()
    for parameter in model.correction.parameters():
        nn.init.normal_(parameter, std=0.15)
    return model.eval()


def training_loss(model: IterativeRefiner, data: Data, spectral: float = 1.0) -> Tensor:
    """The loss of one training pass; its gradients are in the correction."""
    model.train().correction.zero_grad()
    loss = RefinementLoss(spectral=spectral, fixed_point=0.01)
    value = loss(model(data, y=data.y), data.y)
    value.backward()
    model.eval()
    return value.detach()


@pytest.mark.parametrize(("name", "base", "correction"), COMBINATIONS)
def test_it_works_and_nobody_is_told_of_the_others(name: str, base: str, correction: str) -> None:
    odd = {**WORKING, **ON_EDGES_ONLY, **WITHOUT_A_SPECTRUM}[name]
    dim = odd.pos.shape[1]
    mate = ring(18 if dim == 2 else 30, dim, **({"measure": ONES[:18]} if "measure" in odd else {}))
    together = Batch.from_data_list([mate, odd])
    own = together.batch == 1
    model = refiner(base, correction, dim)

    torch.testing.assert_close(model(together)[own], model(odd), rtol=1e-9, atol=1e-9)
    for solver in SOLVERS:
        both, alone = (model.solve(d, solver=solver, rtol=1e-3, max_steps=4) for d in (together, odd))
        torch.testing.assert_close(both.value[own], alone.value, rtol=1e-9, atol=1e-9)
        assert alone.value.isfinite().all()
        assert both.steps[1] == alone.steps[0]
        assert both.outcomes[1] is alone.outcomes[0]
    spectral = 0.0 if name in WITHOUT_A_SPECTRUM else 1.0
    assert training_loss(model, together, spectral).isfinite()
    assert all(p.grad.isfinite().all() for p in model.correction.parameters() if p.grad is not None)
    assert any(p.grad is not None and p.grad.any() for p in model.correction.parameters())


@pytest.mark.parametrize("name", WITHOUT_A_SPECTRUM)
def test_without_a_spectrum_there_is_no_spectral_loss(name: str) -> None:
    with pytest.raises(ValueError, match=ONE_SENTENCE):
        training_loss(refiner(), WITHOUT_A_SPECTRUM[name])


@pytest.mark.parametrize("correction", EDGE_CORRECTIONS)
def test_an_isolated_node_is_a_graph_of_its_own(correction: str) -> None:
    model, data = refiner(correction=correction), WORKING["isolated nodes"]
    alone = Data(x=data.x[-1:], pos=data.pos[-1:], edge_index=EDGES[:, :0])
    torch.testing.assert_close(model(data)[-1:], model(alone), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("base", ["GraphSAGE", "RIGNO"])
@pytest.mark.parametrize("correction", [*EDGE_CORRECTIONS, "rigno"])
def test_the_nodes_of_a_batch_may_stand_in_any_order(base: str, correction: str) -> None:
    model = refiner(base, correction)
    batch = Batch.from_data_list([ring(18), ring(), ring(20)])
    order = torch.randperm(batch.num_nodes)
    parts = {name: batch[name][order] for name in ("x", "y", "pos", "batch")}
    shuffled = Data(**parts, edge_index=order.argsort()[batch.edge_index])
    torch.testing.assert_close(model(shuffled), model(batch)[order], rtol=1e-9, atol=1e-9)
    for solver in SOLVERS:
        one, other = (model.solve(d, solver=solver, rtol=1e-3, max_steps=12) for d in (shuffled, batch))
        torch.testing.assert_close(one.value, other.value[order], rtol=1e-9, atol=1e-9)
        assert one.outcomes == other.outcomes
    torch.manual_seed(1)
    there = training_loss(model, batch)
    torch.manual_seed(1)
    torch.testing.assert_close(training_loss(model, shuffled), there)


@pytest.mark.parametrize("base", ["GraphSAGE", "RIGNO"])
@pytest.mark.parametrize("correction", [*EDGE_CORRECTIONS, "rigno"])
def test_a_batch_of_no_graphs_has_an_answer_of_no_rows(base: str, correction: str) -> None:
    model = refiner(base, correction)
    nothing = Data(x=RING.x[:0], y=RING.y[:0], pos=POS[:0], edge_index=EDGES[:, :0], batch=BATCH[:0])
    assert model(nothing).shape == (0, 2)
    for solver in SOLVERS:
        solution = model.solve(nothing, solver=solver, rtol=1e-3)
        assert solution.value.shape == (0, 2)
        assert solution.outcomes == ()
    assert training_loss(model, nothing) == 0


def test_a_field_of_zeros_that_stays_there_is_at_rest() -> None:
    base = GraphSAGE(2, 8, 2, 2).double()
    for parameter in base.parameters():
        nn.init.zeros_(parameter)
    for solver in SOLVERS:
        solution = IterativeRefiner(base, "meshgraph").double().eval().solve(RING, solver=solver, rtol=1e-3)
        assert solution.outcomes == (Outcome.CONVERGED,)
        assert not solution.value.any()


TWO = Batch.from_data_list([RING, ring(18)])
EMPTY = Data(x=RING.x[:0], y=RING.y[:0], pos=POS[:0], edge_index=EDGES[:, :0])
REFUSED = {
    "edge_index within 0 to 23, got 0 to 24": ring(edge_index=put(EDGES, (0, 0), NODES)),
    "edge_index within 0 to 23, got -1 to 23": ring(edge_index=put(EDGES, (0, 0), -1)),
    "edge_index of shape (2, number), got (48, 2); try edge_index.T": ring(edge_index=EDGES.T),
    "edge_index in whole numbers, got torch.float64": ring(edge_index=EDGES.double()),
    "edge_index within graphs, got 1 from graph to graph": Batch.from_data_list([RING, ring(18)]).update(
        {"edge_index": torch.cat([TWO.edge_index, torch.tensor([[0], [NODES]])], 1)}
    ),
    "face within 0 to 23, got 0 to 24": ring(face=torch.tensor([[0], [1], [NODES]])),
    "edge_attr with 48 rows, got 47": ring(edge_attr=torch.ones(47, 2)),
    "batch of shape (24,), got (23,)": ring(batch=BATCH[1:]),
    "batch within 0 to 0, got -1 to 0": ring(batch=put(BATCH, 0, -1)),
    "batch in whole numbers, got torch.float64": ring(batch=BATCH.double()),
    "at least one node in every graph, got none in graphs [0, 1]; try leaving them out": ring(
        batch=BATCH + 2
    ),
    "node in every graph, got none in graphs [1]": Batch.from_data_list([RING, EMPTY]),
    "node in every graph, got none in graphs [0]": EMPTY,
    "measure >= 0 and finite, got 1 others": ring(measure=put(ONES, 3, -1.0)),
    "measure >= 0 and finite, got 2 others": ring(measure=put(ONES, slice(2), torch.nan)),
    "a measure above 0 in every graph, got none in graphs [0]": ring(measure=0 * ONES),
    "measure of shape (24,), got (24, 1)": ring(measure=ONES[:, None]),
    "pos of shape (24, d), got (23, 2)": ring(pos=POS[1:]),
    "pos in floating point, got torch.int64; try pos.float()": ring(pos=POS.long()),
    "finite positions, got NaN or infinity in pos": ring(pos=put(POS, 3, torch.nan)),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_no_batch_of_graphs_is_refused_by_every_door(words: str) -> None:
    data, model = REFUSED[words], refiner()
    for call in (model, lambda d: training_loss(model, d), lambda d: model.solve(d, rtol=1e-3)):
        with pytest.raises(ValueError, match=ONE_SENTENCE) as caught:
            call(data)
        assert words in str(caught.value)


FLAT = ring(pos=put(POS, (slice(None), 1), 0.5))
NOT_FOR_THIS = {
    "pos with 2 coordinates, got 3; try dim=3": [
        (ring(dim=3), refiner(correction="meshgraph")),
        (ring(dim=3), refiner(correction="rigno")),
    ],
    "pos of shape (24, 2), got (24, 3); try": [(ring(dim=3), refiner("RIGNO"))],
    "pos with 2 coordinates, got none; try pos=": [
        (Data(x=RING.x, edge_index=EDGES), refiner(correction="rigno"))
    ],
    "at least 16 points for 4 regions, got 1": [
        (ring(1), refiner("RIGNO")),
        (Batch.from_data_list([RING, ring(1)]), refiner(correction="rigno")),
    ],
    "a box with hi > lo on every axis": [(FLAT, refiner("RIGNO")), (FLAT, refiner(correction="rigno"))],
}


@pytest.mark.parametrize("words", NOT_FOR_THIS)
def test_what_a_network_cannot_take_it_says(words: str) -> None:
    for data, model in NOT_FOR_THIS[words]:
        with pytest.raises(ValueError, match=ONE_SENTENCE) as caught:
            model(data)
        assert words in str(caught.value)


def test_calls_that_are_no_graph_are_refused_by_name() -> None:
    model = IterativeRefiner(GraphSAGE(2, 4, 1, 2), {"name": "meshgraph", "width": 4}, in_channels=2).double()
    for words, call in {
        r"x of shape \(N, 2\), as the base takes it, got \(24,\)": ring(x=RING.x[:, 0]),
        r"x of shape \(N, 2\), as the base takes it, got \(24, 3\)": ring(x=torch.ones(NODES, 3).double()),
        r"a graph with edge_index as a tensor, got ndarray": ring(edge_index=EDGES.numpy()),
        r"graphs with values, got tensors on the device meta": ring().to("meta"),
    }.items():
        with pytest.raises(ValueError, match=f"^expected {words}; try "):
            model.eval()(call)
