"""The mean and deviation of a data set: what counts, how much, and what is shared."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from neuralop_irno import IterativeRefiner, measured_units
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.data.frames import Frames, FrameWindows
from neuralop_irno.data.graphs import GraphDataset
from neuralop_irno.data.scaling import Scaling

PHI = {"name": "unet", "width": 4, "depth": 1, "dim": 1}
CLOSE = {"rtol": 1e-7, "atol": 1e-7}


def pairs(samples: int = 6, seed: int = 0) -> FieldDataset:
    """Two fields to one, in double precision, with deviations that differ from 1."""
    x = torch.randn(samples, 2, 8, generator=torch.Generator().manual_seed(seed)).double()
    return FieldDataset(x * torch.tensor([[3.0], [0.2]]), x[:, :1].roll(1, -1) + 0.5 * x[:, 1:] ** 2)


def moved(data: FieldDataset) -> FieldDataset:
    """The same data in other units."""
    return FieldDataset(data.x * torch.tensor([[20.0], [7.0]]).double() - 300.0, data.y * 250 + 101325.0)


def base(dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv1d(2, 1, 3, padding=1, padding_mode="circular", dtype=dtype)


def test_the_units_are_the_mean_and_deviation_over_all_samples() -> None:
    data = pairs(7)
    found = measured_units(base(), data, base=True)
    for scaling, field in ((found.x, data.x), (found.y, data.y)):
        columns = field.movedim(1, 0).flatten(1)
        torch.testing.assert_close(torch.tensor(scaling.mean).double(), columns.mean(1), **CLOSE)
        torch.testing.assert_close(torch.tensor(scaling.std).double(), columns.std(1, correction=0), **CLOSE)
    assert found.base


def test_units_follow_the_data_also_far_from_zero() -> None:
    one, other = measured_units(base(), pairs()), measured_units(base(), moved(pairs()))
    assert other.y.std == pytest.approx([250 * one.y.std[0]], rel=1e-9)
    assert other.y.mean == pytest.approx([250 * one.y.mean[0] + 101325], rel=1e-12)
    far = FieldDataset(pairs().x, pairs().y * 1e-3 + 1e8)
    assert measured_units(base(), far).y.std == pytest.approx([1e-3 * one.y.std[0]], rel=1e-3)


def test_a_constant_channel_has_the_deviation_one() -> None:
    x = torch.cat([torch.randn(4, 1, 8), torch.full((4, 1, 8), 0.1)], 1)
    assert measured_units(base(torch.float32), FieldDataset(x, x[:, :1])).x.std[1] == 1


class Counting(Frames):
    fields, padding, metric, scaling = ("u", "v"), ("circular",), "vrmse", Scaling.none(2)
    lengths = (5, 4)

    def read(self, trajectory: int, places: range) -> Tensor:
        frames = [torch.tensor([[place, 100.0 + 10 * place]] * 4).T for place in places]
        return torch.stack(frames)

    def known(self, trajectory: int, places: range) -> Tensor:
        return torch.full((1, 4), 7.0)


def test_the_frames_of_a_window_share_the_units_of_their_field() -> None:
    data = FrameWindows(Counting(), inputs=2, outputs=1)
    found = measured_units(nn.Conv1d(5, 2, 1), data)
    assert found.x.mean[:2] == found.x.mean[2:4] == found.y.mean
    assert found.x.std[:2] == found.x.std[2:4] == found.y.std
    assert (found.x.mean[4], found.x.std[4]) == (7.0, 1.0)


def test_frames_along_an_axis_of_time_share_the_units_of_their_field() -> None:
    x = torch.randn(4, 3, 2, 8)  # samples, times, fields
    operator = IterativeRefiner(
        lambda x: x[:, -1], PHI, layout="B T C X -> B C X", in_channels=6, out_channels=2
    )
    found = measured_units(operator.base, FieldDataset(x, x[:, 0]))
    assert found.x.mean[:2] == found.x.mean[2:4] == found.x.mean[4:]
    assert found.x.mean[0] == pytest.approx(x[:, :, 0].double().mean().item(), abs=1e-6)
    assert found.x.std[1] == pytest.approx(x[:, :, 1].double().std(correction=0).item(), rel=1e-6)


def ring(nodes: int, seed: int) -> Data:
    draw = torch.Generator().manual_seed(seed)
    place = torch.arange(nodes)
    x = torch.randn(nodes, 1, generator=draw)
    measure = torch.rand(nodes, generator=draw) + 0.1
    edges = torch.stack([place, place.roll(1)])
    pos = torch.stack([place.cos(), place.sin()], 1)
    edges = torch.cat([edges, edges.flip(0)], 1)
    return Data(x=x, y=2 * x + 101325, edge_index=edges, pos=pos, measure=measure)


def test_graphs_weigh_alike_and_their_nodes_by_measure() -> None:
    graphs = [ring(nodes, nodes) for nodes in (5, 12, 7)]
    found = measured_units(nn.Linear(1, 1), GraphDataset(graphs)).x
    weights = [graph.measure.double() / graph.measure.double().sum() for graph in graphs]
    means = [float(w @ graph.x[:, 0].double()) for w, graph in zip(weights, graphs, strict=True)]
    squares = [float(w @ graph.x[:, 0].double() ** 2) for w, graph in zip(weights, graphs, strict=True)]
    mean = sum(means) / 3
    assert found.mean == pytest.approx([mean], rel=1e-5)
    assert found.std == pytest.approx([(sum(squares) / 3 - mean**2) ** 0.5], rel=1e-5)


def test_points_outside_of_a_mask_do_not_count() -> None:
    class Masked(FieldDataset):
        def __getitem__(self, index: int) -> dict[str, Any]:
            return {**super().__getitem__(index), "mask": torch.arange(8) < 5}

    data = pairs()
    inside = measured_units(base(), FieldDataset(data.x[..., :5], data.y[..., :5]))
    for condition in ((), ("mask",)):
        found = measured_units(base(), Masked(data.x, data.y), condition=condition)
        for one, other in ((found.x, inside.x), (found.y, inside.y)):
            assert (*one.mean, *one.std) == pytest.approx((*other.mean, *other.std))
