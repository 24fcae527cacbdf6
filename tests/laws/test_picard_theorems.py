"""Theorems 3 and 4 of arXiv 2310.01618, with what has to be added to the first, in float64."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.nn import GCNConv, GINConv, GraphConv, SAGEConv

from neuralop_irno import Graph, LinearAttention, Outcome, PicardNetwork, lipschitz_bound
from neuralop_irno.lipschitz import Residual
from neuralop_irno.lipschitz.ball import constant_on_ball

ONE_SENTENCE = r"^expected [^\n]+, got [^\n]+; try [^\n]+$"
WIDTH, NODES = 3, 12
IDENTITY = 1.002
"""The bound on the norm of an identity matrix of three columns, to which lin_l is set, is below this."""


def maximum(weight: Tensor) -> SAGEConv:
    """max over neighbours of relu(W u), without the node's own value: the operator of theorem 4."""
    conv = SAGEConv(WIDTH, WIDTH, aggr="max", project=True, root_weight=False).double()
    with torch.no_grad():
        conv.lin.weight.copy_(weight)
        conv.lin.bias.zero_()
        conv.lin_l.weight.copy_(torch.eye(WIDTH))
        conv.lin_l.bias.zero_()
    return conv


def random_graph(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(NODES, (2, 3 * NODES), generator=generator).unique(dim=1)


def most_read(edge_index: Tensor) -> int:
    return int(edge_index[0].bincount(minlength=NODES).max())


def sum_norm(field: Tensor) -> float:
    return float(field.norm(dim=1).sum())


@pytest.mark.parametrize("seed", range(8))
def test_the_maximum_over_neighbours_is_bounded_in_both_norms(seed: int) -> None:
    weight, edge_index = torch.randn(WIDTH, WIDTH, dtype=torch.float64), random_graph(seed)
    conv, alpha = maximum(weight), most_read(edge_index)
    norm = float(torch.linalg.matrix_norm(weight, 2))
    euclidean = lipschitz_bound(conv, edge_index, nodes=NODES)
    summed = lipschitz_bound(conv, edge_index, nodes=NODES, norm="sum")
    assert 1 - 1e-12 <= euclidean / (norm * math.sqrt(alpha)) <= 1.01 * IDENTITY
    assert 1 - 1e-12 <= summed / (norm * alpha) <= 1.01 * IDENTITY
    for scale in (1e-3, 1.0):
        f, g = torch.randn(2, NODES, WIDTH, dtype=torch.float64)
        g = f + scale * g
        with torch.no_grad():
            moved = conv(f, edge_index) - conv(g, edge_index)
        assert moved.norm() <= euclidean * (f - g).norm()
        assert sum_norm(moved) <= summed * sum_norm(f - g)


@pytest.mark.parametrize("leaves", [1, 4, 9])
def test_both_are_sharp_on_a_star_whose_centre_is_read(leaves: int) -> None:
    """alpha counts how often a vertex is read; how many it reads does not matter."""
    read = torch.stack([torch.zeros(leaves, dtype=torch.long), torch.arange(1, leaves + 1)])
    conv = maximum(0.3 * torch.eye(WIDTH, dtype=torch.float64))
    f = torch.zeros(leaves + 1, WIDTH, dtype=torch.float64)
    f[0] = 1.0
    with torch.no_grad():
        image = conv(f, read)
    for edges, often in ((read, leaves), (read.flip(0), 1)):
        euclidean, summed = (lipschitz_bound(conv, edges, norm=norm) for norm in ("euclidean", "sum"))
        assert 1 - 1e-12 <= euclidean / (0.3 * math.sqrt(often)) < IDENTITY**2
        assert 1 - 1e-12 <= summed / (0.3 * often) < IDENTITY**2
    assert float(image.norm() / f.norm()) == pytest.approx(0.3 * math.sqrt(leaves), rel=1e-12)
    assert sum_norm(image) / sum_norm(f) == pytest.approx(0.3 * leaves, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_every_start_converges_to_one_point_where_theorem_four_holds(seed: int, smoothing: float) -> None:
    edge_index = random_graph(seed)
    weight = torch.randn(WIDTH, WIDTH, dtype=torch.float64)
    weight *= 0.9 / (most_read(edge_index) * torch.linalg.matrix_norm(weight, 2))
    free = torch.randn(NODES, WIDTH, dtype=torch.float64)
    network = PicardNetwork(maximum(weight), smoothing=smoothing, inject=Given(free)).eval()
    starts = [free, torch.zeros_like(free), 1e3 * torch.randn_like(free), -1e3 * free.abs()]
    ends = [network.solve(start, edge_index, atol=1e-13, max_steps=1500) for start in starts]
    assert all(end.good.all() for end in ends)
    for end in ends:
        torch.testing.assert_close(end.value, ends[0].value, rtol=0, atol=1e-11)
    torch.testing.assert_close(network.block(ends[0].value, edge_index) + free, ends[0].value)


@pytest.mark.parametrize("seed", range(3))
def test_a_contraction_without_a_free_function_forgets_its_input(seed: int) -> None:
    edge_index = random_graph(seed)
    weight = torch.randn(WIDTH, WIDTH, dtype=torch.float64)
    weight *= 0.9 / (math.sqrt(most_read(edge_index)) * torch.linalg.matrix_norm(weight, 2))
    f, g = torch.randn(2, NODES, WIDTH, dtype=torch.float64)
    for inject in (False, True):
        network = PicardNetwork(maximum(weight), inject=inject, steps=3000, atol=1e-13).eval()
        same = torch.allclose(network(f, edge_index), network(g, edge_index), rtol=0, atol=1e-9)
        assert same is not inject


CONVS = {
    "gcn": lambda: GCNConv(WIDTH, WIDTH),
    "sum": lambda: GraphConv(WIDTH, WIDTH),
    "mean": lambda: GraphConv(WIDTH, WIDTH, aggr="mean"),
    "sage, maximum": lambda: SAGEConv(WIDTH, WIDTH, aggr="max", project=True),
    "gin": lambda: GINConv(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU()), eps=0.3),
}


@pytest.mark.parametrize("name", list(CONVS))
def test_no_convolution_exceeds_its_bound_in_the_sum_of_norms(name: str) -> None:
    conv, edge_index = CONVS[name]().double(), random_graph(1)
    bound = lipschitz_bound(conv, edge_index, nodes=NODES, norm="sum")
    ratios = []
    for node in range(NODES):  # the extreme points of the unit ball of this norm sit at one node
        f = torch.randn(NODES, WIDTH, dtype=torch.float64)
        for channel in torch.eye(WIDTH, dtype=torch.float64):
            g = f.clone()
            g[node] += 1e-3 * channel
            with torch.no_grad():
                ratios.append(sum_norm(conv(f, edge_index) - conv(g, edge_index)) / 1e-3)
    assert max(ratios) <= bound * (1 + 1e-9) < 6 * max(ratios)


class Given(nn.Module):
    """A free function that does not depend on x."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = values

    def forward(self, x: Tensor) -> Tensor:
        return self.values


class Cube(nn.Module):
    """c y^3 in one number."""

    def __init__(self, times: float) -> None:
        super().__init__()
        self.times = times

    def forward(self, y: Tensor) -> Tensor:
        return self.times * y**3


@constant_on_ball.register
def _(module: Cube, radius: float, graph: Graph | None) -> float:
    return 3 * abs(module.times) * radius**2


def attention(bound: float, radius: float) -> LinearAttention:
    """With random weights, and the bound on the ball."""
    found = LinearAttention(WIDTH).double()
    with torch.no_grad():
        for layer in (found.query, found.key, found.value):
            nn.init.normal_(layer.weight)
        found.value.weight *= bound / lipschitz_bound(found, radius=radius)
    return found


def inside(samples: int, radius: float) -> Tensor:
    """Points of the ball, ``(samples, 4, WIDTH)``, of which the first is on its surface."""
    y = torch.randn(samples, 4, WIDTH, dtype=torch.float64)
    share = torch.rand(samples, dtype=torch.float64)
    share[0] = 1
    return radius * y * (share / y.flatten(1).norm(dim=1))[:, None, None]


@pytest.mark.parametrize("radius", [0.2, 1.0, 5.0])
def test_the_derivative_of_linear_attention_is_bounded_on_the_ball(radius: float) -> None:
    block = attention(2.0, radius)
    assert lipschitz_bound(block, radius=radius) == pytest.approx(2.0)
    for y in inside(20, radius):
        jacobian = torch.autograd.functional.jacobian(lambda u: block(u[None])[0], y)
        assert torch.linalg.matrix_norm(jacobian.reshape(y.numel(), -1), 2) <= 2.0
    ends = inside(2, radius)
    assert (block(ends[:1]) - block(ends[1:])).norm() <= 2.0 * (ends[0] - ends[1]).norm()


def test_the_bound_is_reached_by_one_token_of_one_channel() -> None:
    block = LinearAttention(1).double()
    for layer, value in zip((block.query, block.key, block.value), (0.5, -2.0, 0.33), strict=True):
        nn.init.constant_(layer.weight, value)
    at = torch.tensor([[[2.0]]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(block(at).sum(), at)
    assert lipschitz_bound(block, radius=2.0) == pytest.approx(abs(slope.item()))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("radius", [0.5, 1.0, 3.0])
@pytest.mark.parametrize(("weight", "smoothing"), [(1.0, 0.0), (-0.5, 0.5), (2.0, 0.3)])
def test_where_the_ball_is_kept_the_iteration_converges_within_its_bounds(
    seed: int, radius: float, weight: float, smoothing: float
) -> None:
    torch.manual_seed(seed)
    bound = 0.9 / abs(weight) * float(torch.rand(()))
    block = attention(bound, radius)
    free = inside(6, radius * (1 - abs(weight) * bound) * (1 - 1e-9))
    network = PicardNetwork(block, weight=weight, smoothing=smoothing, inject=Given(free)).eval()
    start = inside(6, radius * (1 - 1e-9))
    known = {"lipschitz": lipschitz_bound(block, radius=radius), "radius": radius}
    assert network.keeps_ball(start, **known).all()
    solution = network.solve(start, atol=1e-13, max_steps=2000, **known)
    assert solution.good.all()
    assert (solution.value.flatten(1).norm(dim=1) <= radius).all()
    torch.testing.assert_close(weight * block(solution.value) + free, solution.value)
    for steps in (1, 4):
        early = network.solve(start, steps=steps, **known)
        error = (early.value - solution.value).square().flatten(1).mean(1).sqrt()
        assert (error <= early.a_posteriori * (1 + 1e-9) + 1e-12).all()
        assert (error <= early.a_priori * (1 + 1e-9) + 1e-12).all()


@pytest.mark.parametrize("free", [0.9, 2.0])
def test_a_bound_on_the_ball_alone_does_not_keep_the_iteration_in_it(free: float) -> None:
    """The counterexample to theorem 3 as printed: T(y) = 0.33 y^3 has |T'| <= 0.99 on the unit ball."""
    network = PicardNetwork(Cube(0.33), smoothing=0.0, inject=True).eval()
    bound = lipschitz_bound(network.block, radius=1.0)
    assert bound == pytest.approx(0.99)
    f = torch.tensor([[free], [0.009]], dtype=torch.float64)
    assert network.keeps_ball(f, radius=1.0, lipschitz=bound).tolist() == [False, True]
    solution = network.solve(f, atol=1e-12, max_steps=200, lipschitz=bound, radius=1.0)
    assert not solution.outcomes[0].good
    assert solution.outcomes[1] is Outcome.CONVERGED
    assert solution.a_posteriori.isinf().tolist() == solution.a_priori.isinf().tolist() == [True, False]
    with pytest.raises(RuntimeError, match=r"samples \[0\] ended badly"):
        network.solve(f, atol=1e-12, max_steps=200, lipschitz=bound, radius=1.0, throw=True)


def test_other_solvers_have_a_bound_where_they_end_in_the_ball() -> None:
    network = PicardNetwork(Cube(0.1), smoothing=0.0, inject=True).eval()
    f = torch.tensor([[0.5], [0.8]], dtype=torch.float64)
    rest = network.solve(f, steps=300).value
    known = {"lipschitz": lipschitz_bound(network.block, radius=1.0), "radius": 1.0}
    solution = network.solve(f, solver="anderson", steps=2, **known)
    assert ((solution.value - rest)[0].abs() <= solution.a_posteriori[0]).all()
    assert solution.a_posteriori.isinf().tolist() == [False, True]  # 0.8 is above 1 - 0.3
    assert solution.evaluations == 2 * (2 + 1 + 1)
    faster = network.solve(f, solver={"name": "picard", "alpha": 1.5}, steps=2, **known)
    assert faster.a_posteriori.isinf().all()


def test_layers_after_the_attention_need_no_radius() -> None:
    block = attention(0.5, 2.0)
    after = nn.Sequential(block, nn.Tanh(), Residual(nn.Tanh())).double()
    assert lipschitz_bound(after, radius=2.0) == pytest.approx(1.0)
    assert lipschitz_bound(Residual(block), radius=2.0) == pytest.approx(1.5)
    assert lipschitz_bound(nn.Sequential(), radius=2.0) == 1.0


EDGES = torch.tensor([[0], [1]])
X = torch.zeros(1, 2, WIDTH)
MISTAKES: dict[str, Callable[[], Any]] = {
    "the radius of a ball": lambda: lipschitz_bound(LinearAttention(WIDTH)),
    "or a layer before": lambda: lipschitz_bound(nn.Sequential(nn.Tanh(), LinearAttention(2)), radius=1.0),
    "a radius above 0 and finite, got 0": lambda: lipschitz_bound(nn.Tanh(), radius=0),
    "a radius above 0 and finite, got -1": lambda: PicardNetwork(nn.Tanh()).solve(X, lipschitz=1, radius=-1),
    "lipschitz beside radius, got None": lambda: PicardNetwork(nn.Tanh()).solve(X, radius=1.0),
    "a graph for the norm 'sum', got none": lambda: lipschitz_bound(nn.Tanh(), norm="sum"),
    "norm 'euclidean' or 'sum', got 'max'": lambda: lipschitz_bound(nn.Tanh(), EDGES, norm="max"),
    "width >= 1, got 0": lambda: LinearAttention(0),
}


@pytest.mark.parametrize("message", list(MISTAKES))
def test_mistakes_are_answered_in_one_sentence(message: str) -> None:
    with pytest.raises(ValueError, match=ONE_SENTENCE) as caught:
        MISTAKES[message]()
    assert re.search(re.escape(message), str(caught.value))
