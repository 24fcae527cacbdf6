"""Only the last spectral layer trains, and the loss falls as far as it must."""

import pytest
import torch
from neuralop.models import FNO, TFNO, UNO
from torch import nn

from neuralop_irno import IterativeRefiner, RefinementLoss, SobolevLoss
from neuralop_irno.base.fine_tuning import last_spectral_layer, train_only
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.recipe import Recipe
from neuralop_irno.training.trainer import Trainer


def fno(**options: object) -> FNO:
    words = {"n_modes": (6, 6), "in_channels": 1, "out_channels": 1, "hidden_channels": 6, "n_layers": 3}
    return FNO(**{**words, **options})


def data() -> FieldDataset:
    x = torch.randn(12, 1, 12, 12)
    return FieldDataset(x, x.roll(1, -1))


def snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    state = model.state_dict()
    return {name: value.clone() for name, value in state.items() if isinstance(value, torch.Tensor)}


def changed(before: dict[str, torch.Tensor], model: nn.Module) -> set[str]:
    after = snapshot(model)
    return {name for name in before if not torch.equal(before[name], after[name])}


def of_last_layer(model: nn.Module) -> set[str]:
    last = last_spectral_layer(model)
    (prefix,) = [name for name, part in model.named_modules() if part is last]
    return {name for name in snapshot(model) if name.startswith(f"{prefix}.")}


@pytest.mark.parametrize("dim", [1, 2])
def test_after_training_all_else_is_the_same_to_the_bit(dim: int) -> None:
    torch.manual_seed(1)
    model = fno(n_modes=(6,) * dim)
    before = snapshot(model)
    x = torch.randn(12, 1, *[12] * dim)
    pairs = FieldDataset(x, x.roll(1, -1))
    loss = RefinementLoss(spatial=0.0, sobolev=1.0)
    train_only(model, last_spectral_layer(model))
    history = Trainer(model, Recipe(epochs=8, batch_size=4), loss, show=False).fit(pairs, pairs)
    assert changed(before, model) == of_last_layer(model)
    assert history[-1]["loss"] < history[0]["loss"]


def test_with_refinement_the_layer_and_the_correction_train_and_nothing_else() -> None:
    base = fno()
    train_only(base, last_spectral_layer(base))
    model = IterativeRefiner(base, {"name": "unet", "width": 4, "depth": 1}, steps=2, freeze_base=False)
    before = snapshot(base)
    phi = snapshot(model.correction)
    Trainer(model, Recipe(epochs=2, batch_size=4), show=False).fit(data())
    assert changed(before, base) == of_last_layer(base)
    assert changed(phi, model.correction)
    refiner = IterativeRefiner(base, "unet")  # which freezes all of it
    assert not any(weight.requires_grad for weight in refiner.base.parameters())


def test_the_loss_falls_by_what_the_parabola_says() -> None:
    """Without nonlinearities the answer is affine in the layer, and the loss along a step a parabola."""
    model = fno(non_linearity=nn.Identity(), use_channel_mlp=False)
    train_only(model, last_spectral_layer(model))
    pairs, loss = data(), SobolevLoss(order=-1)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    found = loss(model(pairs.x), pairs.y)
    found.backward()
    slopes = [weight.grad.clone() for weight in weights]
    squared = sum(float(slope.abs().square().sum()) for slope in slopes)
    answer = model(pairs.x)

    def step(size: float) -> None:
        with torch.no_grad():
            for weight, slope in zip(weights, slopes, strict=True):
                weight.sub_(slope, alpha=size)

    step(1.0)
    curvature = loss(model(pairs.x), answer).item()  # of the squared norm, along this direction
    step(-1.0)
    best = squared / (2 * curvature)
    step(best)
    fallen = loss(model(pairs.x), pairs.y).item()
    assert fallen == pytest.approx(found.item() - squared**2 / (4 * curvature), rel=1e-3)
    assert fallen < found.item()


@pytest.mark.parametrize("arch", ["tfno", "uno"])
def test_other_models_with_spectral_layers(arch: str) -> None:
    if arch == "tfno":
        model = TFNO((6, 6), in_channels=1, out_channels=1, hidden_channels=6, n_layers=2, rank=0.5)
    else:
        model = UNO(
            in_channels=1, out_channels=1, hidden_channels=6, n_layers=3, uno_out_channels=[6, 6, 6],
            uno_n_modes=[[4, 4]] * 3, uno_scalings=[[1, 1]] * 3, channel_mlp_skip="linear",
        )  # fmt: skip
    before = snapshot(model)
    train_only(model, last_spectral_layer(model))
    Trainer(model, Recipe(epochs=1, batch_size=4), show=False).fit(data())
    assert changed(before, model)
    assert changed(before, model) <= of_last_layer(model)


def test_what_cannot_be_fine_tuned() -> None:
    with pytest.raises(ValueError, match="expected a model with spectral layers, got Conv1d; try"):
        last_spectral_layer(nn.Conv1d(1, 1, 1))
    with pytest.raises(ValueError, match="expected a part of the model, got Linear; try"):
        train_only(fno(), nn.Linear(1, 1))
    model = nn.Sequential(nn.Conv1d(1, 2, 1), nn.BatchNorm1d(2), nn.Conv1d(2, 1, 1))
    with pytest.raises(ValueError, match="that training does not change, got running means in 1; try"):
        train_only(model, model[2])
