"""Adapters start as nothing, have the parameters that were asked for, and alone are trained."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from neuralop.models import FNO, TFNO, UNO
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner
from neuralop_irno.base.adapters import KINDS, FrequencyAdapter, LowRank, adapters_of, with_adapters
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.recipe import Recipe
from neuralop_irno.registry import MODELS
from neuralop_irno.training.trainer import Trainer

FNO_OPTIONS: dict[str, Any] = {"in_channels": 1, "out_channels": 2, "hidden_channels": 6, "n_layers": 2}
MODELS_OF: dict[str, Callable[[], nn.Module]] = {
    "fno": lambda: FNO(n_modes=(6, 6), **FNO_OPTIONS),
    "tfno": lambda: TFNO(n_modes=(6, 4), rank=0.5, **FNO_OPTIONS),
    "uno": lambda: UNO(
        in_channels=1, out_channels=2, hidden_channels=6, lifting_channels=6, projection_channels=6,
        n_layers=3,
        uno_out_channels=[6, 4, 6], uno_n_modes=[[6, 6], [4, 4], [6, 6]],
        uno_scalings=[[0.5, 0.5], [1, 1], [2, 2]], channel_mlp_skip="linear",
    ),
}  # fmt: skip
CASES = [(name, kind) for name in MODELS_OF for kind in KINDS]
X = torch.randn(3, 1, 16, 12, generator=torch.Generator().manual_seed(0))


def built(name: str) -> nn.Module:
    torch.manual_seed(1)
    return MODELS_OF[name]()


def trained_by(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_at_first_the_answer_is_the_same_to_the_bit_on_every_grid(name: str, kind: str) -> None:
    plain, adapted = built(name), with_adapters(built(name), kind, 30_000)
    for x in (X, torch.randn(1, 1, 8, 8), torch.randn(1, 1, 32, 20)):
        assert torch.equal(adapted(x), plain(x))


@pytest.mark.parametrize("parameters", [8_000, 30_011, 100_000])
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_they_have_the_parameters_that_were_asked_for(name: str, kind: str, parameters: int) -> None:
    model = with_adapters(built(name), kind, parameters)
    assert trained_by(model) == pytest.approx(parameters, rel=0.1)
    own = sum(weight.numel() for weight in adapters_of(model).parameters())
    assert own == trained_by(model)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_they_alone_are_trained_and_lower_the_loss(name: str, kind: str) -> None:
    model = with_adapters(built(name), kind, 30_000)
    own = {id(weight) for weight in adapters_of(model).parameters()}
    before = copy.deepcopy(dict(model.named_parameters()))
    data = FieldDataset(X, torch.cat([X, X.roll(1, -1)], 1))
    history = Trainer(model, Recipe(epochs=12, batch_size=3), show=False).fit(data, data)
    for at, weight in model.named_parameters():
        assert torch.equal(weight, before[at]) is (id(weight) not in own), at
    assert history[-1]["loss"] < history[0]["loss"]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_copy_and_a_state_dict_hold_them(name: str, kind: str) -> None:
    model = with_adapters(built(name), kind, 30_000)
    for weight in adapters_of(model).parameters():
        nn.init.normal_(weight, std=0.3)
    answer = model(X)
    assert not torch.equal(answer, built(name)(X))
    assert torch.equal(copy.deepcopy(model)(X), answer)
    other = with_adapters(built(name), kind, 30_000)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(X), answer)


def test_lora_is_the_product_of_two_matrices() -> None:
    layer = nn.Sequential(nn.Linear(3, 2), nn.Conv2d(2, 2, 3), nn.Conv1d(4, 5, 1))
    before = copy.deepcopy(layer)
    with_adapters(layer, "lora", 3 * (5 + 9))
    first, second = adapters_of(layer)
    nn.init.normal_(first.out)
    change = layer[0].weight - before[0].weight
    torch.testing.assert_close(change, first.out @ first.into / 3)
    assert torch.linalg.matrix_rank(change) == 2
    assert torch.equal(layer[1].weight, before[1].weight)
    assert torch.equal(layer[2].weight, before[2].weight)
    assert isinstance(second, LowRank)


@pytest.mark.parametrize("shape", [(12,), (15,), (16, 12), (32, 24), (15, 11), (9, 8, 10)])
def test_a_frequency_adapter_multiplies_every_wave_by_its_own_filter(shape: tuple[int, ...]) -> None:
    """A wave of the grid comes out with the amplitude and the phase of its filter, on every grid."""
    dim = len(shape)
    modes, wave = [*[8] * (dim - 1), 4], [*[3] * (dim - 1), 2]
    adapter = FrequencyAdapter(1, 1, modes, rank=1).double()
    for weight in (adapter.into, adapter.out):
        nn.init.ones_(weight)
    nn.init.normal_(adapter.filters)
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) / n for n in shape), indexing="ij")
    phase = 2 * torch.pi * sum(w * places for w, places in zip(wave, axes, strict=True))
    real, imaginary = adapter.filters[(0, *(8 // 2 + w for w in wave[:-1]), wave[-1])]
    found = adapter(phase.cos()[None, None], shape)
    expected = real * phase.cos() - imaginary * phase.sin()
    torch.testing.assert_close(found[0, 0], expected, rtol=0, atol=1e-12)


def test_it_reaches_waves_that_the_layer_cuts_off() -> None:
    model = FNO(n_modes=(4, 4), **FNO_OPTIONS)
    layer = model.fno_blocks.convs[0]
    u = torch.zeros(1, 6, 16, 16)
    u[:] = (2 * torch.pi * 3 * torch.arange(16) / 16).cos()[:, None]  # the layer keeps -2 .. 1
    assert (layer(u) - layer(0 * u)).abs().max() < 1e-6
    with_adapters(model, "frequency", 5_000)
    nn.init.normal_(layer.adapter.filters)
    assert (layer(u) - layer(0 * u)).abs().max() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_a_refiner_around_it_is_read_back(kind: str, tmp_path: Any) -> None:
    fno = MODELS.lookup("fno")(n_modes=(4, 4), **FNO_OPTIONS)
    model = with_adapters(fno, kind, 10_000)
    for weight in adapters_of(model).parameters():
        nn.init.normal_(weight, std=0.3)
    refiner = IterativeRefiner(model, {"name": "unet", "width": 4, "depth": 0}, steps=1).eval()
    path = refiner.save(tmp_path / "adapted.safetensors", with_base=True)
    again = IterativeRefiner.from_checkpoint(path).eval()
    assert torch.equal(again(X), refiner(X))


def test_what_cannot_have_them_teaches() -> None:
    def running() -> Tensor:
        return with_adapters(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), "lora", 40)

    cases = {
        r"^expected a kind of adapters, got 'lorra'; try 'lora'": lambda: with_adapters(
            built("fno"), "lorra", 9
        ),
        r"^expected a model with layers for .* frequency, got Linear, which has none": lambda: with_adapters(
            nn.Linear(2, 2), "frequency", 40
        ),
        r"^expected parameters of adapters of a whole rank, each 4, got 6; try parameters=8": lambda: (
            with_adapters(nn.Linear(2, 2), "lora", 6)
        ),
        r"^expected frozen parts that training does not change, got running means in 1": running,
    }
    for message, mistake in cases.items():
        with pytest.raises(ValueError, match=message):
            mistake()
