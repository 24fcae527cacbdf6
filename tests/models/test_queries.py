"""DeepONet and MultiONet at any points: each apart, on the grid the grid form, and in a refiner."""

import pytest
import torch
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner, PointOperator
from neuralop_irno.domain.grid import axis_points, points_of_axes
from neuralop_irno.models import DeepONet, MultiONet

KINDS = {
    "deeponet": lambda **sizes: DeepONet(2, 3, functions=4, width=8, depth=2, **sizes),
    "multionet": lambda **sizes: MultiONet(2, 3, functions=4, depth=2, **sizes),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def network(kind: str, dim: int = 2, periodic: bool = True) -> nn.Module:
    net = KINDS[kind](dim=dim, sensors=4, periodic=periodic).double()
    nn.init.normal_(net.bias)
    return net


def sensors(dim: int, periodic: bool) -> Tensor:
    like = torch.zeros(1).double()
    return points_of_axes([axis_points(4, periodic, like)] * dim).reshape(-1, dim)


@each_kind
@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_on_the_grid_of_the_sensors_it_is_the_grid_form(kind: str, dim: int, periodic: bool) -> None:
    net, x = network(kind, dim, periodic), torch.randn(2, 2, *[4] * dim).double()
    rows = x.flatten(2).mT
    expected = net(x).flatten(2).mT
    for points in ({"pos": sensors(dim, periodic)}, {"queries": sensors(dim, periodic).expand(2, -1, -1)}):
        torch.testing.assert_close(net(rows, **points), expected, rtol=0, atol=1e-12)


@each_kind
def test_the_answer_at_a_query_depends_on_no_other_query_and_on_no_other_sample(kind: str) -> None:
    net, x, queries = network(kind), torch.randn(3, 16, 2).double(), torch.rand(3, 7, 2).double()
    answer = net(x, queries=queries)
    for place in range(7):
        torch.testing.assert_close(net(x, queries=queries[:, place : place + 1]), answer[:, [place]])
    torch.testing.assert_close(net(x[1:2], queries=queries[1:2]), answer[1:2])
    torch.testing.assert_close(net(x, queries=queries[0])[0], answer[0])
    assert torch.equal(net(x, torch.zeros(16, 2), queries), answer)  # the places of the sensors are no input


@each_kind
def test_a_periodic_one_is_periodic(kind: str) -> None:
    net, x, queries = network(kind), torch.randn(2, 16, 2).double(), torch.rand(5, 2).double()
    torch.testing.assert_close(net(x, queries=queries + torch.tensor([1.0, -2.0])), net(x, queries=queries))


@each_kind
def test_scattered_sensors_need_no_grid(kind: str) -> None:
    net, queries = KINDS[kind](scattered=7), torch.rand(5, 2)
    assert net(torch.randn(2, 7, 2), queries=queries).shape == (2, 5, 3)
    with pytest.raises(ValueError, match=r"^expected points beside the values at 7 scattered sensors, got x"):
        net(torch.randn(2, 2, 4, 4))


def test_multionet_with_one_layer_is_the_product_of_two_layers() -> None:
    net = MultiONet(1, 1, dim=1, sensors=4, functions=3, depth=1).double()
    x, place = torch.randn(2, 4, 1).double(), torch.rand(5, 1).double()
    angle = 2 * torch.pi * place
    gelu = nn.functional.gelu
    branch = gelu(net.branch[0](x[..., 0]))
    trunk = gelu(net.trunk[0](torch.cat([angle.cos(), angle.sin()], 1)))
    torch.testing.assert_close(net(x, queries=place)[..., 0], branch @ trunk.T / 3**0.5)


@each_kind
def test_a_refiner_answers_at_the_points_of_the_call(kind: str) -> None:
    net = network(kind).float()
    base = PointOperator(net, fields="x", pos="pos", queries="queries")
    sizes = {"in_channels": 2, "out_channels": 3}
    model = IterativeRefiner(base, {"name": "meshgraph", "width": 4, "steps": 1}, steps=2, **sizes).eval()
    x, pos, queries = torch.randn(2, 16, 2), sensors(2, True).float(), torch.rand(2, 9, 2)
    assert torch.equal(model(x, pos, queries), net(x, pos, queries))
    assert torch.equal(model(x, pos), net(x, pos))
    nn.init.normal_(model.correction.last.weight)
    assert not torch.equal(model(x, pos, queries), net(x, pos, queries))


@each_kind
def test_sensors_and_points_that_do_not_fit_teach(kind: str) -> None:
    net = network(kind)
    cases = {
        r"^expected x at 16 sensors, \(B, 16, 2\), got \(1, 9, 2\); try scattered=9": (
            torch.zeros(1, 9, 2),
            2,
        ),
        r"^expected points with 2 coordinates, got \(5, 3\); try dim=3": (torch.zeros(1, 16, 2), 3),
    }
    for message, (x, dim) in cases.items():
        with pytest.raises(ValueError, match=message):
            net(x.double(), queries=torch.rand(5, dim).double())
    with pytest.raises(ValueError, match=r"^expected sensors >= 1, got 0; try"):
        KINDS[kind](sensors=0)
