"""Iterated graph convolutions: one fixed point, how soon it is reached, and how far it moves.

These laws follow from Banach's theorem; theorem 4 of arXiv 2310.01618, on graph networks, is tested in
``test_picard_theorems.py``. With T(X) = s(A X W) for a convolution A, |T(X) - T(Y)| <= L |X - Y| with
L = Lip(s) |A| |W|, and where |lambda| L < 1

1. damped by a, every start converges to one fixed point, with |X_n - X*| <= k^n / (1 - k) |X_0 - X_1| and
   k = a + (1 - a) |lambda| L;
2. of two free functions, |X* - Y*| <= |f - g| / (1 - |lambda| L);
3. of two graphs or weights, |X* - Y*| <= |lambda| |T(Y*) - S(Y*)| / (1 - |lambda| L).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.nn import GCNConv, GINConv, GraphConv, SAGEConv

from neuralop_irno import PicardNetwork, lipschitz_bound, spectrally_normalised
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.lipschitz.constants import constant_of
from neuralop_irno.lipschitz.graph import Graph

WIDTH = 4
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}
CONVS: dict[str, Callable[[], nn.Module]] = {
    "gcn": lambda: GCNConv(WIDTH, WIDTH),
    "sum": lambda: GraphConv(WIDTH, WIDTH),
    "maximum": lambda: GraphConv(WIDTH, WIDTH, aggr="max"),
    "sage": lambda: SAGEConv(WIDTH, WIDTH),
    "gin": lambda: GINConv(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))),
}


class Block(nn.Module):
    """s(conv(x)), which does not take the batch of its graphs."""

    def __init__(self, conv: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.conv, self.activation = conv, activation

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.activation(self.conv(x, edge_index))


@constant_of.register
def _(module: Block, graph: Graph | None) -> float:
    return constant_of(module.activation, graph) * constant_of(module.conv, graph)


SIZES = (7, 12, 4)
STARTS = (0, 7, 19)
BATCH = torch.repeat_interleave(torch.tensor(SIZES))


def random_edges(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(n, (2, 2 * n), generator=generator) for n in SIZES]


def joined(edges: list[Tensor]) -> Tensor:
    return torch.cat([e + start for e, start in zip(edges, STARTS, strict=True)], 1)


def bounded(conv: str, activation: str, edges: list[Tensor]) -> tuple[Block, Tensor]:
    """A block, and its constant on each of the graphs."""
    block = spectrally_normalised(Block(CONVS[conv](), ACTIVATIONS[activation]()).double(), 0.9)
    each = [lipschitz_bound(block, e, nodes=n) for e, n in zip(edges, SIZES, strict=True)]
    return block, torch.tensor(each, dtype=torch.float64)


def size(field: Tensor) -> Tensor:
    return GraphDomain(BATCH, len(SIZES)).norm(field)


CASES = [(conv, act, seed) for conv in CONVS for act, seed in zip(ACTIVATIONS, range(3), strict=True)]


@pytest.mark.parametrize(("conv", "activation", "seed"), CASES)
def test_the_bound_of_the_block_holds_on_each_graph(conv: str, activation: str, seed: int) -> None:
    edges = random_edges(seed)
    block, lipschitz = bounded(conv, activation, edges)
    for _ in range(20):
        x, y = 3 * torch.randn(2, len(BATCH), WIDTH, dtype=torch.float64)
        with torch.no_grad():
            moved = size(block(x, joined(edges)) - block(y, joined(edges)))
        assert (moved <= lipschitz * size(x - y) * (1 + 1e-12)).all()


@pytest.mark.parametrize(("conv", "activation", "seed"), CASES)
def test_one_rest_is_reached_as_soon_as_is_said(conv: str, activation: str, seed: int) -> None:
    edges = random_edges(seed)
    block, lipschitz = bounded(conv, activation, edges)
    weight = 0.6 / lipschitz.max().item()
    network = PicardNetwork(
        block, smoothing=0.3, weight=weight, inject=nn.Linear(WIDTH, WIDTH).double()
    ).eval()
    words = {"edge_index": joined(edges), "batch": BATCH}
    x = torch.randn(len(BATCH), WIDTH, dtype=torch.float64)
    rest = network.solve(x, **words, rtol=1e-14, max_steps=2000).value
    for steps in (1, 2, 5, 10, 30):
        solution = network.solve(x, **words, steps=steps, lipschitz=lipschitz)
        error = size(solution.value - rest)
        assert (error <= solution.a_posteriori + 1e-12).all()
        assert (solution.a_posteriori <= solution.a_priori + 1e-12).all()
        assert (solution.factor <= 0.3 + 0.7 * 0.6 + 1e-7).all()


def at_rest(network: PicardNetwork, x: Tensor, edge_index: Tensor) -> Tensor:
    return network.solve(x, edge_index, batch=BATCH, rtol=1e-14, max_steps=2000).value


class Given(nn.Module):
    """A free function that is the same whatever x is."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = values

    def forward(self, x: Tensor) -> Tensor:
        return self.values


@pytest.mark.parametrize(("conv", "activation", "seed"), CASES)
def test_the_rest_moves_no_further_than_the_free_function_allows(
    conv: str, activation: str, seed: int
) -> None:
    edges = random_edges(seed)
    block, lipschitz = bounded(conv, activation, edges)
    weight, edge_index = 0.6 / lipschitz.max().item(), joined(edges)
    f, noise, start = torch.randn(3, len(BATCH), WIDTH, dtype=torch.float64)
    rests = [
        at_rest(PicardNetwork(block, weight=weight, inject=Given(free)).eval(), start, edge_index)
        for free in (f, f + 0.3 * noise)
    ]
    moved = size(rests[1] - rests[0])
    assert (moved <= size(0.3 * noise) / (1 - weight * lipschitz) + 1e-12).all()
    assert (moved > 0).all()


@pytest.mark.parametrize("conv", list(CONVS))
def test_the_rest_moves_no_further_than_a_change_of_the_graph_allows(conv: str) -> None:
    edges = random_edges(3)
    block, lipschitz = bounded(conv, "relu", edges)
    weight, edge_index = 0.6 / lipschitz.max().item(), joined(edges)
    other = edge_index.clone()
    other[1, 0] = (other[1, 0] + 1) % SIZES[0]  # one edge of the first graph ends elsewhere
    f = torch.randn(len(BATCH), WIDTH, dtype=torch.float64)
    network = PicardNetwork(block, weight=0.5 * weight, inject=True).eval()
    here, there = at_rest(network, f, edge_index), at_rest(network, f, other)
    with torch.no_grad():
        changed = size(block(there, edge_index) - block(there, other))
    moved = size(here - there)
    assert (moved <= 0.5 * weight * changed / (1 - 0.5 * weight * lipschitz) + 1e-12).all()
    assert moved[1:].max() < 1e-12  # the other graphs have not heard of it


def test_a_graph_is_a_sample_whether_the_convolution_asks_for_the_batch_or_not() -> None:
    edges = random_edges(5)
    block, lipschitz = bounded("gcn", "tanh", edges)
    network = PicardNetwork(
        block, weight=0.6 / lipschitz.max().item(), inject=True, tol=1e-8, steps=300
    ).eval()
    x = torch.randn(len(BATCH), WIDTH, dtype=torch.float64)
    together = network.solve(x, joined(edges), batch=BATCH)
    assert len(together.steps) == 3
    for i, (start, n) in enumerate(zip(STARTS, SIZES, strict=True)):
        alone = network.solve(x[start : start + n], edges[i])
        assert alone.steps.item() == together.steps[i]
        torch.testing.assert_close(alone.value, together.value[start : start + n], rtol=1e-13, atol=1e-13)
