"""Transolver: slices sum to one; points have no order; padding and batch-mates change nothing."""

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from neuralop_irno import IterativeRefiner, PointOperator
from neuralop_irno.model_config import channels_of
from neuralop_irno.models import Transolver
from neuralop_irno.models.baselines.transolver import PhysicsAttention


def network(dim: int = 2) -> nn.Module:
    return Transolver(2, 1, dim, width=8, layers=2, heads=2, slices=3).double().eval()


def points(samples: int, count: int, dim: int = 2) -> tuple[Tensor, Tensor]:
    return torch.randn(samples, count, 2).double(), torch.rand(samples, count, dim).double()


def graph(count: int) -> Data:
    (x,), (pos,) = points(1, count)
    return Data(x=x, pos=pos, edge_index=torch.randint(count, (2, 3 * count)))


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("temperature", [-1.0, 0.5, 1e3])
def test_the_weights_of_each_point_in_the_slices_sum_to_one(temperature: float) -> None:
    attention = PhysicsAttention(8, heads=2, slices=5).double()
    nn.init.constant_(attention.temperature, temperature)
    weights = attention.slices(torch.randn(3, 7, 8).double())
    assert weights.shape == (3, 2, 7, 5)
    assert (weights > 0).all()
    close(weights.sum(-1), torch.ones(3, 2, 7).double())


def test_slices_that_hold_all_points_alike_give_every_point_the_mean() -> None:
    attention = PhysicsAttention(4, heads=1, slices=3).double()
    for part in attention.slice.parameters():
        nn.init.zeros_(part)
    h = torch.randn(2, 6, 4).double()
    expected = attention.out(attention.value(attention.values(h).mean(1, keepdim=True)))
    torch.testing.assert_close(attention(h), expected.expand(2, 6, 4), rtol=1e-4, atol=1e-5)  # of 1e-5


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_permuting_the_points_permutes_the_answer(dim: int) -> None:
    net, (x, pos), order = network(dim), points(2, 9, dim), torch.randperm(9)
    close(net(x[:, order], pos[:, order]), net(x, pos)[:, order])


def test_padding_changes_nothing() -> None:
    net, (x, pos) = network(), points(2, 9)
    mask = torch.tensor([True] * 6 + [False] * 3)
    short = net(x[:, :6], pos[:, :6])
    x[:, 6:], pos[:, 6:] = 1e3, -50.0
    close(net(x, pos, mask)[:, :6], short)


def test_a_batch_equals_its_samples_and_shared_coordinates_are_those_of_each() -> None:
    net, (x, pos) = network(), points(3, 9)
    close(net(x, pos), torch.cat([net(*one) for one in zip(x[:, None], pos[:, None], strict=True)]))
    close(net(x, pos[0]), net(x, pos[:1].expand(3, -1, -1)))


def test_graphs_of_different_sizes_are_refined_as_each_alone_and_as_points() -> None:
    net, graphs = network(), [graph(9), graph(5), graph(7)]
    model = IterativeRefiner(net, {"name": "meshgraph", "width": 4, "steps": 1}, steps=2).double().eval()
    nn.init.normal_(model.correction.last.weight)
    each = [model(one) for one in graphs]
    close(model(Batch.from_data_list(graphs)), torch.cat(each))
    close(model.base(graphs[1]), net(graphs[1].x[None], graphs[1].pos[None])[0])
    x, pos = points(2, 9)
    named = PointOperator(net, **Transolver.POINT_ARGUMENTS)
    by_name = IterativeRefiner(named, model.correction, steps=2, in_channels=2, out_channels=1).eval()
    assert torch.equal(model(x, pos), by_name(x, pos))
    assert not torch.equal(model(x, pos), net(x, pos))


def test_a_config_has_its_channels_from_the_last_axis_of_points() -> None:
    sample = {"x": torch.zeros(9, 2), "pos": torch.zeros(9, 2), "y": torch.zeros(9, 1)}
    for base in ("transolver", {"model_arch": "transolver", "width": 8}):
        assert channels_of(sample, {"base": base}) == (2, 1)


def test_every_weight_learns() -> None:
    net, (x, pos) = network(), points(2, 9)
    net(x, pos).square().sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


def test_options_and_points_that_do_not_fit_teach() -> None:
    x, pos = points(1, 9)
    cases = {
        r"^expected a width that 3 heads divide, got 8; try width=6$": lambda: Transolver(
            1, 1, width=8, heads=3
        ),
        r"^expected slices >= 1, got 0; try": lambda: Transolver(1, 1, slices=0),
        r"^expected pos with 3 coordinates, got \(1, 9, 2\); try dim=2$": lambda: network(3)(x, pos),
        r"^expected x with 2 channels, got \(1, 9, 4\); try in_channels=4$": lambda: network(2)(
            torch.cat([x, x], -1), pos
        ),
    }
    for message, mistake in cases.items():
        with pytest.raises(ValueError, match=message):
            mistake()
