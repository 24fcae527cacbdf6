"""Intervals, noise and costs are what they say."""

import copy
import math
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner, RefinementLoss
from neuralop_irno._neuralop import FNO
from neuralop_irno.correction.correction import FunctionCorrection
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.data.solvers.mesh_fields import heat_in_wind
from neuralop_irno.recipe import Recipe
from neuralop_irno.solver.gradient import gradient_rule
from neuralop_irno.study.controls import widened, with_compute_shared
from neuralop_irno.study.cost import answer_mib, megaflops, peak_mib, training_mib
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
    above = widened({"name": "unet", "width": 4}, "width", target, lambda words: words["width"] ** 2, True)
    assert above["width"] == next(width for width in range(4, 200) if width**2 >= target)
    with pytest.raises(ValueError, match="expected a correction with a width to widen"):
        widened({"name": "fno"}, "width", target, lambda words: 0.0)


def test_arithmetic_is_counted_by_hand() -> None:
    data = FieldDataset(torch.zeros(3, 2, 10, 10), torch.zeros(3, 3, 10, 10))
    model = nn.Conv2d(2, 3, 3, padding=1)
    assert megaflops(model, data) == pytest.approx(2 * 2 * 3 * 9 * 100 / 1e6)


def test_fourier_transforms_are_counted() -> None:
    """5 N log2 N of a complex one of 8 points, half of it of two real ones of 8 x 6, in three channels."""

    class Transforms(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            waves = torch.fft.fft(torch.fft.rfft2(x), dim=2)
            return torch.fft.irfft2(waves, s=(8, 6))

    data = FieldDataset(torch.zeros(1, 3, 8, 6), torch.zeros(1, 3, 8, 6))
    by_hand = 2 * 3 * 2.5 * 48 * math.log2(48) + 3 * 4 * 5 * 8 * math.log2(8)
    assert megaflops(Transforms(), data) == pytest.approx(by_hand / 1e6, abs=1e-5)


def fno_by_hand(channels: int, modes: int, points: int, layers: int) -> float:
    """The spectral part of an FNO on a square: transforms there and back, and a complex matrix per mode."""
    transforms = 2 * channels * 2.5 * points**2 * math.log2(points**2)
    products = 4 * 2 * channels**2 * modes * (modes // 2 + 1)
    return layers * (transforms + products) / 1e6


@pytest.mark.parametrize("layers", [1, 3])
def test_the_spectral_layers_of_an_fno_are_counted_by_hand(layers: int) -> None:
    """What is added by a spectral layer, beside its linear skip and its two pointwise layers."""
    data = FieldDataset(torch.zeros(1, 2, 16, 16), torch.zeros(1, 1, 16, 16))

    def count(n_layers: int) -> float:
        fno = FNO(n_modes=(6, 6), in_channels=2, out_channels=1, hidden_channels=4, n_layers=n_layers)
        return megaflops(fno, data)

    pointwise = layers * 2 * (4 * 4 + 2 * 4 * 2) * 16**2 / 1e6
    assert count(1 + layers) - count(1) == pytest.approx(fno_by_hand(4, 6, 16, layers) + pointwise, rel=1e-4)


SPECTRAL: dict[str, dict[str, Any]] = {
    name: {"name": name, "n_modes": [4, 4], "hidden_channels": 4, "n_layers": 1, **options}
    for name, options in {"fno": {}, "tfno": {"rank": 0.5}}.items()
}


@pytest.mark.parametrize("correction", [*SPECTRAL.values(), "unet", "mgno"], ids=str)
def test_every_step_of_a_refiner_has_the_same_arithmetic(correction: Any) -> None:
    x = torch.zeros(1, 2, 16, 16)
    data, base = FieldDataset(x, x[:, :1]), nn.Conv2d(2, 1, 1)
    one, two, three = (
        megaflops(IterativeRefiner(base, correction, steps=steps), data) for steps in (1, 2, 3)
    )
    assert three - two == pytest.approx(two - one, rel=1e-6)
    if correction in SPECTRAL.values():
        assert two - one > 2 * 4 * 2.5 * 16**2 * math.log2(16**2) / 1e6  # its transforms alone


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_arithmetic_does_not_depend_on_the_precision(dtype: torch.dtype) -> None:
    class Spectral(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(5, 2, 2, dtype=dtype.to_complex()))
            self.last = nn.Conv1d(2, 1, 3, padding=1, dtype=dtype)

        def forward(self, x: Tensor) -> Tensor:
            waves = torch.einsum("bik,kio->bok", torch.fft.rfft(x), self.weight)
            return self.last(torch.fft.irfft(waves, n=8))

    x = torch.zeros(1, 2, 8, dtype=dtype)
    by_hand = 2 * 2 * 2.5 * 8 * 3 + 4 * 2 * 2 * 2 * 5 + 2 * 2 * 3 * 8
    assert megaflops(Spectral(), FieldDataset(x, x[:, :1])) == pytest.approx(by_hand / 1e6)


@pytest.mark.parametrize(
    ("gradient", "replay", "epochs"),
    [("detached", 16.0, 30), ("detached", 0.0, 75), ("unrolled", 0.0, 120), ("from_truth", 0.0, 30)],
)
def test_a_network_as_dear_as_all_steps_trains_for_as_much_arithmetic(
    gradient: str, replay: float, epochs: int
) -> None:
    """Phi is counted as it is evaluated: K of the refiner's evaluations are one of the network's."""
    recipe = Recipe(epochs=120, replay=replay)
    shared = with_compute_shared(recipe, gradient_rule(gradient), 4)
    assert (shared.epochs, shared.replay) == (epochs, 0)
    if replay:
        return
    seen = 0

    def count(x: Tensor, h: Tensor) -> Tensor:
        nonlocal seen
        seen += len(h)
        return 0 * h

    x = torch.zeros(4000, 1, 2)
    solver = "denoising" if gradient == "from_truth" else "picard"
    phi = FunctionCorrection(count)
    model = IterativeRefiner(lambda x: x, phi, solver=solver, steps=4, gradient=gradient).train()
    model(x, y=x)
    assert 120 * seen / len(x) / 4 == pytest.approx(epochs, rel=0.03)


@pytest.mark.parametrize("layers", [1, 5])
def test_complex_products_are_four_real_ones(layers: int) -> None:
    x = torch.zeros(1, 2, 6)

    class Products(nn.Module):
        def __init__(self, dtype: torch.dtype) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2, 2, dtype=dtype))

        def forward(self, x: Tensor) -> Tensor:
            h = x.to(self.weight.dtype)
            for _ in range(layers):
                h = torch.einsum("oi,bix->box", self.weight, h)
            return h.real

    real, complex_ = (megaflops(Products(d), FieldDataset(x, x)) for d in (torch.float32, torch.complex64))
    assert real == pytest.approx(layers * 2 * 2 * 2 * 6 / 1e6)
    assert complex_ == pytest.approx(4 * real)


def test_the_peak_of_memory_is_what_is_held_at_once() -> None:
    x = torch.zeros(2**18)  # one MiB

    def one_after_another() -> None:
        h = x
        for _ in range(10):
            h = h + 1

    assert peak_mib(one_after_another) == 2  # the next while the last is still there
    assert peak_mib(lambda: [x + k for k in range(10)]) == 10
    assert peak_mib(lambda: x.view(2, -1).add_(1)) == 0
    y = x.clone().requires_grad_()
    assert peak_mib(lambda: (y.sin().cos().exp() * 2).sum().backward()) >= 3  # kept for the way back


def test_memory_depends_on_nothing_that_was_done_before() -> None:
    """Of unrolled steps it grows by every step; of replayed ones it does not; and always the same."""
    torch.manual_seed(0)
    data = FieldDataset(torch.randn(8, 1, 32, 32), torch.randn(8, 1, 32, 32))
    base = nn.Conv2d(1, 1, 1)

    def taken(gradient: str, steps: int, batch: int = 4) -> float:
        model = IterativeRefiner(
            base, {"name": "unet", "width": 4, "depth": 1}, steps=steps, gradient=gradient
        )
        before = copy.deepcopy(model.state_dict())
        found = training_mib(model, Recipe(epochs=5, batch_size=batch), RefinementLoss(), data)
        assert all(torch.equal(model.state_dict()[name], kept) for name, kept in before.items())
        return found

    one, two, three = (taken("unrolled", steps) for steps in (1, 2, 3))
    assert three - two == pytest.approx(two - one, rel=0.2)
    assert taken("unrolled", 2) == two
    assert taken("unrolled", 2, batch=8) > 1.5 * two
    assert taken("detached", 6) < 1.1 * one
    model = IterativeRefiner(base, {"name": "unet", "width": 4}, steps=2)
    assert answer_mib(model, data) == answer_mib(model, data) < one
