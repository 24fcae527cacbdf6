"""What `lipschitz_bound` says is never exceeded: measured by Jacobians and differences in float64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from test_norms import random_graph
from torch import Tensor, nn
from torch_geometric.nn import GATConv, GCNConv, GINConv, GraphConv, SAGEConv

from neuralop_irno import lipschitz_bound
from neuralop_irno.lipschitz import MaxMin, Residual, orthogonal, spectrally_normalised
from neuralop_irno.lipschitz.constants import CONSTANTS, constant_of
from neuralop_irno.lipschitz.graph import Graph
from neuralop_irno.networks.convolutions import GraphBlock

ONE_SENTENCE = r"^expected [^\n]+, got [^\n]+; try [^\n]+$"


def stretch(module: nn.Module, at: Tensor, *rest: Any) -> float:
    """The norm of the Jacobian at a point."""
    jacobian = torch.autograd.functional.jacobian(lambda x: module(x, *rest), at)
    return float(torch.linalg.matrix_norm(jacobian.reshape(-1, at.numel()), 2))


SLOPES = [kind for kind in CONSTANTS if kind not in (nn.Unflatten, nn.Flatten, MaxMin)]
MORE = [nn.LeakyReLU(3.0), nn.LeakyReLU(0.1), nn.PReLU(init=-2.0), nn.ELU(2.0), nn.GELU("tanh"), nn.CELU(0.3)]


@pytest.mark.parametrize("activation", [*(kind() for kind in SLOPES), *MORE], ids=str)
def test_the_steepest_slope_of_an_activation_is_the_one_in_the_table(activation: nn.Module) -> None:
    x = torch.linspace(-9, 9, 180001, dtype=torch.float64)
    with torch.no_grad():
        slopes = activation.double()(x).diff().abs() / x.diff()
    bound = lipschitz_bound(activation)
    assert 0.998 * bound < slopes.max().item() <= bound * (1 + 1e-9)


def test_a_jump_has_no_lipschitz_constant() -> None:
    with pytest.raises(TypeError, match=ONE_SENTENCE):
        lipschitz_bound(nn.Hardshrink())


BLOCKS = {
    "perceptron": (lambda: nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.Linear(7, 5)), (1, 5)),
    "residual": (lambda: Residual(nn.Sequential(nn.Linear(5, 5), nn.Tanh())), (1, 5)),
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv1d(2, 3, 3, padding=1, padding_mode="circular"), nn.SiLU(), nn.Dropout(), nn.AvgPool1d(2),
            nn.Conv1d(3, 2, 3, padding=1), nn.Flatten(),
        ),
        (1, 2, 12),
    ),
    "batch norm": (lambda: nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2), nn.ReLU()), (1, 2, 5, 5)),
    "windows that overlap": (lambda: nn.AvgPool2d(3, stride=2, padding=1), (1, 1, 7, 6)),
    "windows that are cut": (lambda: nn.AvgPool1d(4, 3, padding=2, count_include_pad=False), (1, 1, 10)),
    "windows that hang over": (lambda: nn.AvgPool1d(4, stride=3, ceil_mode=True), (1, 1, 9)),
    "sorted channels": (lambda: nn.Sequential(nn.Conv1d(2, 4, 3), MaxMin()), (1, 2, 9)),
}  # fmt: skip


@pytest.mark.parametrize("name", list(BLOCKS))
def test_no_jacobian_exceeds_the_bound(name: str) -> None:
    build, shape = BLOCKS[name]
    block = build().double().eval()
    bound = lipschitz_bound(block)
    each = [stretch(block, 3 * torch.randn(shape, dtype=torch.float64)) for _ in range(20)]
    assert max(each) <= bound * (1 + 1e-12) < 10 * max(each)


def test_an_average_over_separate_windows_is_known_exactly() -> None:
    assert lipschitz_bound(nn.AvgPool2d(2)) == pytest.approx(
        stretch(nn.AvgPool2d(2), torch.randn(1, 1, 4, 4))
    )


def test_layers_that_keep_to_a_bound_say_so() -> None:
    block = nn.Sequential(nn.Linear(6, 6), MaxMin(), nn.Linear(6, 6)).double()
    assert lipschitz_bound(spectrally_normalised(block, 0.5)) <= 0.25 + 1e-9
    assert lipschitz_bound(orthogonal(nn.Linear(6, 6).double(), 0.5)) == pytest.approx(0.5, rel=2e-3)


@pytest.mark.parametrize("dim", [1, -1])
def test_max_min_keeps_norms_and_those_of_gradients(dim: int) -> None:
    x = torch.randn(3, 4, 6, dtype=torch.float64, requires_grad=True)
    answer, back = MaxMin(dim)(x), torch.randn(3, 4, 6, dtype=torch.float64)
    (pulled,) = torch.autograd.grad(answer, x, back)
    torch.testing.assert_close(answer.norm(dim=dim), x.norm(dim=dim))
    torch.testing.assert_close(pulled.norm(), back.norm())
    with pytest.raises(ValueError, match=ONE_SENTENCE):
        MaxMin()(torch.zeros(2, 3))


@pytest.mark.parametrize(("inputs", "outputs"), [(4, 4), (3, 5), (5, 3)])
def test_orthogonal_layers_stay_so_while_they_learn(inputs: int, outputs: int) -> None:
    layer = orthogonal(nn.Linear(inputs, outputs).double(), bound=0.7)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    before = layer.weight.detach().clone()
    for _ in range(10):
        layer(torch.randn(8, inputs, dtype=torch.float64)).square().sum().backward()
        optimizer.step()
    values = torch.linalg.svdvals(layer.weight.detach())
    torch.testing.assert_close(values, torch.full_like(values, 0.7))
    assert not torch.allclose(layer.weight, before)


CONVS = {
    "gcn": lambda: GCNConv(3, 4),
    "gcn as it comes": lambda: GCNConv(3, 4, normalize=False),
    "gcn improved": lambda: GCNConv(3, 4, improved=True),
    "gcn backwards": lambda: GCNConv(3, 4, flow="target_to_source"),
    "sum": lambda: GraphConv(3, 4),
    "mean": lambda: GraphConv(3, 4, aggr="mean"),
    "maximum": lambda: GraphConv(3, 4, aggr="max"),
    "sage": lambda: SAGEConv(3, 4),
    "sage, maximum": lambda: SAGEConv(3, 4, aggr="max", project=True),
    "sage without itself": lambda: SAGEConv(3, 4, root_weight=False),
    "gin": lambda: GINConv(nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4)), eps=0.3),
    "gin, mean": lambda: GINConv(nn.Linear(3, 4), aggr="mean"),
}


@pytest.mark.parametrize("name", list(CONVS))
@pytest.mark.parametrize("edges", [0, 40])
@pytest.mark.parametrize("both_ways", [True, False])
def test_no_graph_convolution_exceeds_its_bound(name: str, edges: int, both_ways: bool) -> None:
    conv, edge_index = CONVS[name]().double(), random_graph(15, edges)
    edge_index = torch.cat([edge_index, edge_index.flip(0)], 1) if both_ways else edge_index
    bound = lipschitz_bound(conv, edge_index, nodes=15)
    each = [stretch(conv, torch.randn(15, 3, dtype=torch.float64), edge_index) for _ in range(3)]
    assert max(each) <= bound * (1 + 1e-9)
    assert bound <= 5 * max(each) + 1e-9


def test_weights_of_edges_count() -> None:
    conv, edge_index = GraphConv(2, 2).double(), random_graph(9, 30)
    weights = torch.rand(30, dtype=torch.float64)
    x = torch.randn(9, 2, dtype=torch.float64)
    assert stretch(conv, x, edge_index, weights) <= lipschitz_bound(conv, edge_index, weights, 9)
    assert lipschitz_bound(conv, edge_index, weights, 9) < lipschitz_bound(conv, edge_index, None, 9)


def test_a_symmetric_normalisation_never_stretches_and_a_sum_by_the_root_of_degrees() -> None:
    pairs = torch.triu_indices(12, 12, 1)[:, torch.rand(66) < 0.3]
    both = torch.cat([pairs, pairs.flip(0)], 1)
    conv = orthogonal_gcn(4)
    assert lipschitz_bound(conv, both, nodes=12) == pytest.approx(1.0, rel=3e-3)
    star = torch.stack([torch.arange(1, 10), torch.zeros(9, dtype=torch.long)])
    summed = GraphConv(2, 2, bias=False)
    nn.init.eye_(summed.lin_rel.weight)
    nn.init.zeros_(summed.lin_root.weight)
    assert lipschitz_bound(summed, star) == pytest.approx(3.0, rel=1e-2)


def orthogonal_gcn(width: int) -> GCNConv:
    conv = GCNConv(width, width).double()
    nn.init.orthogonal_(conv.lin.weight)
    return conv


def test_a_batch_is_bounded_by_the_worst_of_its_graphs() -> None:
    conv = GraphConv(2, 2)
    star = torch.stack([torch.arange(1, 10), torch.zeros(9, dtype=torch.long)])
    chain = torch.tensor([[0, 1], [1, 2]])
    both = torch.cat([star, chain + 10], 1)
    alone = [lipschitz_bound(conv, star, nodes=10), lipschitz_bound(conv, chain, nodes=3)]
    assert lipschitz_bound(conv, both, nodes=13) == pytest.approx(max(alone))


class Scaled(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return 3 * self.inner(x)


class Altered(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class Doubled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def test_what_is_not_known_is_said_and_can_be_made_known() -> None:
    mistakes = [
        lambda: lipschitz_bound(Scaled(nn.Tanh())),
        lambda: lipschitz_bound(nn.LayerNorm(3)),
        lambda: lipschitz_bound(Altered(nn.Tanh())),
        lambda: lipschitz_bound(Doubled(2, 2)),
        lambda: lipschitz_bound(GATConv(2, 2), random_graph(4, 4)),
        lambda: lipschitz_bound(SAGEConv(2, 2, aggr="median"), random_graph(4, 4)),
    ]
    for mistake in mistakes:
        with pytest.raises(TypeError, match=ONE_SENTENCE):
            mistake()
    for wrong in (
        lambda: lipschitz_bound(GCNConv(2, 2)),
        lambda: lipschitz_bound(nn.BatchNorm1d(2)),
        lambda: lipschitz_bound(SAGEConv(2, 2, normalize=True), random_graph(4, 4)),
        lambda: lipschitz_bound(nn.AvgPool2d(2, divisor_override=1)),
        lambda: spectrally_normalised(nn.Linear(2, 2), bound=0.0),
        lambda: spectrally_normalised(nn.Linear(2, 2), bound=math.inf),
        lambda: spectrally_normalised(nn.Tanh()),
        lambda: spectrally_normalised(SAGEConv(-1, 2)),
        lambda: orthogonal(nn.Linear(2, 2), bound=-1.0),
    ):
        with pytest.raises(ValueError, match=ONE_SENTENCE):
            wrong()
    with pytest.raises(TypeError, match=ONE_SENTENCE):
        orthogonal(nn.Conv1d(2, 2, 1))

    @constant_of.register
    def _(module: Scaled, graph: Graph | None) -> float:
        return 3 * constant_of(module.inner, graph)

    assert lipschitz_bound(nn.Sequential(Scaled(nn.Tanh()), nn.ReLU())) == 3.0


def test_the_block_of_a_picard_graph_network_has_a_bound_where_it_has_no_norm() -> None:
    edge_index = random_graph(9, 30)
    block = GraphBlock("sage", 4, norm=None, dropout=0.5).double().eval()
    bound = lipschitz_bound(block, edge_index, nodes=9)
    each = [stretch(block, torch.randn(9, 4, dtype=torch.float64), edge_index) for _ in range(5)]
    assert max(each) <= bound
    assert lipschitz_bound(block.train(), edge_index, nodes=9) == pytest.approx(2 * bound)
    with pytest.raises(TypeError, match=ONE_SENTENCE):
        lipschitz_bound(GraphBlock("sage", 4), edge_index)
