"""Law 10: what should train gets a gradient, and what is frozen does not move by a bit."""

import pytest
import torch
from neuralop.models import FNO
from torch import nn

from neuralop_irno import IterativeRefiner, RefinementLoss


def operator(kind: type[FNO] = FNO) -> nn.Module:
    model = kind(
        n_modes=(4, 4), in_channels=1, out_channels=1, hidden_channels=4, n_layers=1, norm="group_norm"
    )
    # A base with buffers that training would move. The batch norm comes first: behind a layer it would
    # subtract what the layer's bias adds, and that bias would have no gradient but rounding.
    return nn.Sequential(nn.BatchNorm2d(1), model)


CORRECTIONS = [
    {"name": "unet", "width": 4, "depth": 2},
    # Groups of two channels: a norm of one channel subtracts the bias before it, as a batch norm does.
    {"name": "unet", "width": 12, "depth": 1, "norm": "group", "padding": ["circular", "reflect"]},
    {"name": "fno", "n_modes": [4, 4], "hidden_channels": 4, "n_layers": 1},
]


@pytest.mark.parametrize("correction", CORRECTIONS)
@pytest.mark.parametrize("freeze", [True, False])
def test_gradients_and_frozen_bits(correction: dict[str, object], freeze: bool) -> None:
    base = operator()
    model = IterativeRefiner(
        base, correction, steps=3, alpha={"name": "learned", "value": 0.5}, freeze_base=freeze,
        gradient="unrolled", in_channels=1, out_channels=1,
    )  # fmt: skip
    before = {
        name: value.clone() for name, value in base.state_dict().items() if isinstance(value, torch.Tensor)
    }
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    loss = RefinementLoss(spectral=0.5, fixed_point=0.1)
    x, y = torch.randn(2, 4, 1, 8, 8)
    model.train()
    for _ in range(3):
        optimizer.zero_grad()
        loss(model(x, y=y), y).backward()
        optimizer.step()
    trained = {n: p for n, p in model.named_parameters() if not (freeze and n.startswith("base."))}
    silent = [name for name, p in trained.items() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent
    moved = {
        name: not torch.equal(before[name], value)
        for name, value in base.state_dict().items()
        if isinstance(value, torch.Tensor)
    }
    assert any(moved.values()) is not freeze
    if freeze:
        assert all(p.grad is None for p in base.parameters())
        assert not base.training


def test_a_base_that_trains_gets_its_gradient_by_default() -> None:
    model = IterativeRefiner(operator(), CORRECTIONS[0], in_channels=1, out_channels=1, freeze_base=False)
    x, y = torch.randn(2, 4, 1, 8, 8)
    RefinementLoss()(model.train()(x, y=y), y).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.base.parameters())
    with pytest.raises(ValueError, match="a gradient rule that reaches a base that trains, got detached"):
        IterativeRefiner(
            operator(), CORRECTIONS[0], in_channels=1, out_channels=1, freeze_base=False, gradient="detached"
        )


def test_train_and_eval_keep_a_frozen_base_in_evaluation_mode() -> None:
    base = operator()
    model = IterativeRefiner(base, CORRECTIONS[0], in_channels=1, out_channels=1)
    assert not model.train().base.module.training
    assert model.correction.training
    thawed = IterativeRefiner(operator(), CORRECTIONS[0], in_channels=1, out_channels=1, freeze_base=False)
    assert thawed.train().base.module.training
