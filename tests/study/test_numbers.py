"""Intervals, noise and costs are what they say."""

import math

import pytest
import torch
from scipy import stats
from torch import nn

from neuralop_irno.data.dataset import FieldDataset
from neuralop_irno.data.mesh_fields import heat_in_wind
from neuralop_irno.study.controls import widened
from neuralop_irno.study.cost import forget_peak, megaflops, peak_mib
from neuralop_irno.study.noise import Noisy
from neuralop_irno.study.table import mean_of


@pytest.mark.parametrize("count", [2, 3, 10])
def test_the_interval_is_students(count: int) -> None:
    values = torch.randn(count, dtype=torch.float64).tolist()
    found = mean_of(values)
    low, high = stats.t.interval(0.95, count - 1, loc=found.mean, scale=stats.sem(values))
    assert found.mean == pytest.approx(sum(values) / count)
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high))


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    draws = torch.randn(2000, 3, dtype=torch.float64).tolist()
    held = [abs(mean.mean) <= mean.half for mean in map(mean_of, draws)]
    assert sum(held) / len(held) == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 2000))


def test_noise_is_of_each_channels_size_and_always_the_same() -> None:
    scale = torch.tensor([1.0, 10.0])[:, None, None]
    x = scale * torch.randn(50, 2, 16, 16)
    data = FieldDataset(x, x[:, :1])
    noisy = Noisy(data, 0.3)
    noise = torch.stack([noisy[i]["x"] - data[i]["x"] for i in range(len(data))])
    torch.testing.assert_close(noise.std((0, 2, 3)), 0.3 * x.std((0, 2, 3)), rtol=0.03, atol=0)
    assert torch.equal(noisy[3]["x"], noisy[3]["x"])
    assert torch.equal(noisy[3]["y"], data[3]["y"])
    assert torch.equal(data[3]["x"], x[3])


def test_noise_on_graphs_is_on_nodes() -> None:
    data = heat_in_wind(samples=(1, 1, 2), spacing=0.15)["test"]
    noisy = Noisy(data, 0.1)
    assert noisy[0].x.shape == data[0].x.shape
    assert torch.equal(noisy[0].edge_index, data[0].edge_index)
    moved = (noisy[0].x - data[0].x).abs().mean(0)
    assert ((moved > 0) == (torch.cat([graph.x for graph in data]).std(0) > 0)).all()


@pytest.mark.parametrize("target", [5.0, 100.0, 4096.0, 4100.0])
def test_widening_comes_as_close_as_whole_numbers_allow(target: float) -> None:
    found = widened({"name": "unet", "width": 4}, "width", target, lambda words: words["width"] ** 2)
    best = min(range(4, 200), key=lambda width: abs(width**2 - target))
    assert found["width"] == best
    with pytest.raises(ValueError, match="expected a correction with a width to widen"):
        widened({"name": "fno"}, "width", target, lambda words: 0.0)


def test_arithmetic_is_counted_by_hand() -> None:
    data = FieldDataset(torch.zeros(3, 2, 10, 10), torch.zeros(3, 3, 10, 10))
    model = nn.Conv2d(2, 3, 3, padding=1)
    assert megaflops(model, data) == pytest.approx(2 * 2 * 3 * 9 * 100 / 1e6)


def test_the_peak_of_memory_is_seen_and_forgotten() -> None:
    forget_peak()
    before = peak_mib()
    held = torch.ones(64 * 2**20 // 4)
    assert peak_mib() > before + 50
    del held
