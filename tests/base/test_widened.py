"""All modes for the last spectral layer: the same answer, new modes that train, and their file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from neuralop.models import FNO, TFNO, UNO
from torch import nn

from neuralop_irno import IterativeRefiner, last_spectral_layer, train_only, widen_last_spectral_layer
from neuralop_irno._neuralop import build_model, described

SIZES = {"in_channels": 1, "out_channels": 1, "hidden_channels": 4, "n_layers": 2}
KINDS = {
    "fno": lambda modes: FNO(n_modes=modes, **SIZES),
    "fewer than the most": lambda modes: FNO(n_modes=modes, max_n_modes=tuple(n + 2 for n in modes), **SIZES),
    "separable": lambda modes: FNO(n_modes=modes, separable=True, **SIZES),
    "dense tfno": lambda modes: TFNO(n_modes=modes, factorization=None, **SIZES),
    "tucker": lambda modes: TFNO(n_modes=modes, rank=0.5, **SIZES),
}


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("points", [8, 9])
@pytest.mark.parametrize("modes", [4, 5, 12])
@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_the_same_on_the_grid_and_on_finer_ones(
    kind: str, modes: int, points: int, dim: int
) -> None:
    model = KINDS[kind]((modes,) * dim)
    fields = [torch.randn(2, 1, *[size] * dim) for size in (points, points + 3)]
    before = [model(x) for x in fields]
    assert widen_last_spectral_layer(model, [points] * dim) is model
    for x, answer in zip(fields, before, strict=True):
        torch.testing.assert_close(model(x), answer, rtol=1e-5, atol=1e-6)


def test_new_modes_have_gradients_and_everything_else_is_frozen() -> None:
    model = widen_last_spectral_layer(FNO(n_modes=(4, 4), **SIZES), (8, 8))
    layer = last_spectral_layer(model)
    train_only(model, layer)
    weight = layer.weight.tensor
    assert weight.shape == (4, 4, 8, 5)
    new = torch.ones(8, 5, dtype=torch.bool)
    new[2:6, :3] = False  # around frequency 0, and from it on along the last axis
    assert (weight[..., new] == 0).all()
    assert (weight[..., ~new] != 0).all()
    model(torch.randn(2, 1, 8, 8)).square().sum().backward()
    assert (weight.grad.abs().amax((0, 1)) > 0).all()
    assert {name for name, part in model.named_parameters() if part.grad is not None} == {
        "fno_blocks.convs.1.bias", "fno_blocks.convs.1.weight.tensor"
    }  # fmt: skip


def test_a_frozen_layer_stays_frozen() -> None:
    model = FNO(n_modes=(4,), **SIZES).requires_grad_(False)
    widen_last_spectral_layer(model, [8])
    assert not any(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize("kind", ["fno", "tucker"])
def test_a_widened_base_is_saved_and_loaded(kind: str, tmp_path: Path) -> None:
    base = widen_last_spectral_layer(KINDS[kind]((4, 4)), (8, 8))
    with torch.no_grad():
        last_spectral_layer(base).weight.tensor.normal_()
    model = IterativeRefiner(base, {"name": "unet", "width": 4, "depth": 0}).eval()
    x = torch.randn(2, 1, 8, 8)
    model.save_pretrained(tmp_path)
    again = IterativeRefiner.from_pretrained(tmp_path).eval()
    assert torch.equal(again(x), model(x))
    other = build_model(described(base))
    other.load_state_dict(base.state_dict())
    assert torch.equal(other(x), base(x))


@pytest.mark.filterwarnings("ignore:FNO.forward")
def test_what_cannot_be_widened() -> None:
    with pytest.raises(ValueError, match="expected the points along each of 2 axes, got \\[8\\]; try"):
        widen_last_spectral_layer(FNO(n_modes=(4, 4), **SIZES), [8])
    wanted = (
        "expected a SpectralConv of real fields as the last layer, got SpectralConv of complex fields; try"
    )
    with pytest.raises(ValueError, match=wanted):
        widen_last_spectral_layer(FNO(n_modes=(4, 4), complex_data=True, **SIZES), [8, 8])
    with pytest.raises(ValueError, match="expected a model with spectral layers, got Linear; try"):
        widen_last_spectral_layer(nn.Linear(1, 1), [8])


def test_a_uno_whose_last_layer_has_a_grid_of_its_own() -> None:
    model = UNO(
        in_channels=1, out_channels=1, hidden_channels=6, n_layers=3, uno_out_channels=[6, 6, 6],
        uno_n_modes=[[4, 4]] * 3, uno_scalings=[[1, 1], [0.5, 0.5], [2, 2]], channel_mlp_skip="linear",
    )  # fmt: skip
    x = torch.randn(2, 1, 12, 12)
    before = model(x)
    widen_last_spectral_layer(model, [6, 6])
    torch.testing.assert_close(model(x), before, rtol=1e-5, atol=1e-6)
