"""freeze_base decides whether a base trains, also where the base is an adapter with an opinion of its own."""

from functools import partial

import pytest
import torch
from torch import nn

from neuralop_irno import IterativeRefiner
from neuralop_irno.base.fine_tuning import train_only
from neuralop_irno.base.operator import BaseOperator

UNET = {"name": "unet", "width": 4, "depth": 1}


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))


@pytest.mark.parametrize("adapter", [True, False, None], ids=["frozen", "thawed", "no adapter"])
@pytest.mark.parametrize("freeze", [True, False])
def test_freeze_base_decides_whatever_the_adapter_was_built_with(freeze: bool, adapter: bool | None) -> None:
    module = network()
    base = module if adapter is None else BaseOperator(module, frozen=adapter)
    model = IterativeRefiner(
        base, UNET, freeze_base=freeze, gradient="unrolled", in_channels=2, out_channels=1
    ).train()
    assert model.base.frozen is freeze
    assert module.training is not freeze
    x, y = torch.randn(2, 2, 8, 8), torch.randn(2, 1, 8, 8)
    model(x, y=y).last.square().sum().backward()
    assert all((p.grad is None) is freeze for p in module.parameters())


def test_weights_that_did_not_train_before_do_not_train_when_the_base_is_thawed() -> None:
    module = nn.Sequential(nn.Conv2d(2, 4, 1), nn.Conv2d(4, 1, 1))
    base = BaseOperator(train_only(module, module[1]), frozen=True)
    IterativeRefiner(base, UNET, freeze_base=False, in_channels=2, out_channels=1)
    assert [name for name, p in module.named_parameters() if p.requires_grad] == ["1.weight", "1.bias"]


@pytest.mark.parametrize("part", [lambda net: partial(net, scale=2.0), lambda net: net.forward])
def test_a_partial_or_a_method_of_a_module_is_a_base_with_its_weights(part) -> None:
    class Scaled(nn.Conv2d):
        def forward(self, x, scale=1.0):
            return scale * super().forward(x)

    net = Scaled(2, 1, 1)
    model = IterativeRefiner(part(net), UNET, in_channels=2, out_channels=1).train()
    assert not net.training
    assert not net.weight.requires_grad
    assert [key for key, value in model.state_dict().items() if value is not None and "base" in key] == [
        "base.module.network.weight", "base.module.network.bias"
    ]  # fmt: skip
    x = torch.randn(2, 2, 8, 8)
    assert torch.equal(model.eval()(x), part(net)(x))
    assert model.unknown((), {"scale": 1.0, "sclae": 1.0}) == ["sclae"]
