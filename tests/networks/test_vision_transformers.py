"""The four vision transformers of the Picard paper, as options of one: formulas, shifts, and every weight."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from neuralop_irno.networks.attention import AttentionIntegral, Layer
from neuralop_irno.networks.tokens import patch_nodes, with_shifts
from neuralop_irno.networks.transformer import PicardViT

KINDS: dict[str, dict[str, Any]] = {
    "ViT": {},
    "ViTsmall": {"shifted": True, "local": True},
    "ViTparallel": {"branches": 2},
    "ViT3D": {"frames": 2},
}


def field(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def built(kind: str, **options: Any) -> PicardViT:
    given: dict[str, Any] = {"patch": 2, "width": 8, "heads": 2, "steps": 2, **KINDS[kind], **options}
    return PicardViT(3, 4, **given).double()


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_a_loop_and_every_weight_learns(kind: str) -> None:
    model, x = built(kind, layers=2), field(3, 3, 4, 6)
    answer = model(x)
    assert answer.shape == (3, 4, 4, 6)
    torch.testing.assert_close(answer, torch.cat([model(sample[None]) for sample in x]))
    answer.square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


@pytest.mark.parametrize("kind", KINDS)
def test_shifts_by_patches_commute_on_a_torus(kind: str) -> None:
    model, x = built(kind, homogeneous=True), field(2, 3, 8, 6)
    torch.testing.assert_close(model(x.roll((2, 4), (2, 3))), model(x).roll((2, 4), (2, 3)))


@pytest.mark.parametrize("kind", KINDS)
def test_steps_add_no_parameters_and_one_of_them_is_the_ordinary_model(kind: str) -> None:
    x = field(1, 3, 4, 4)
    once, twice = built(kind, steps=1, smoothing=0.0), built(kind, steps=2, smoothing=0.0)
    twice.load_state_dict(once.state_dict())
    free, nodes = once.encode(x)
    block = once.network.block
    u = free + block(free, nodes)
    torch.testing.assert_close(once(x), once.decode(u, x))
    torch.testing.assert_close(twice(x), once.decode(free + block(u, nodes), x))


def test_local_attention_is_its_formula() -> None:
    integral = AttentionIntegral(4, heads=1, local=True).double()
    assert integral.sharpness is not None
    with torch.no_grad():
        integral.sharpness.fill_(0.7)
    nodes = patch_nodes([5], [1], [False], like=field(1))
    assert nodes.measure is not None
    u = field(2, 5, 4)
    with torch.no_grad():
        sharp = AttentionIntegral(4, heads=1).double()
        sharp.load_state_dict({k: v for k, v in integral.state_dict().items() if k != "sharpness"})
        wide = torch.cat([sharp.project.weight[:4] * math.exp(0.7), sharp.project.weight[4:]])
        sharp.project.weight.copy_(wide)
        found = integral(u, nodes)
        for own in range(5):  # the integral at a node is that over all others
            other = torch.arange(5) != own
            measure = torch.where(other, nodes.measure, 1e-300)
            alone = sharp(u, replace(nodes, measure=measure))
            torch.testing.assert_close(found[:, own], alone[:, own])


def test_local_attention_needs_two_tokens() -> None:
    with pytest.raises(ValueError, match="expected at least 2 tokens for local attention, got 1; try"):
        built("ViTsmall")(field(1, 3, 2, 2))


def test_branches_are_sums_of_integrals_and_of_perceptrons() -> None:
    layer = Layer(4, 2, branches=3).double()
    nodes = patch_nodes([6], [1], [True], like=field(1))
    u = field(2, 6, 4)
    every = [layer, *layer.beside]
    between = u + sum(each.integral(each.first(u), nodes) for each in every)  # type: ignore[operator]
    answer = between + sum(each.perceptron(each.second(between)) for each in every)  # type: ignore[operator]
    torch.testing.assert_close(layer(u, nodes), answer)
    with pytest.raises(ValueError, match="branches >= 1, got 0"):
        Layer(4, 2, branches=0)


@pytest.mark.parametrize("closed", [True, False])
def test_patches_are_embedded_with_those_half_a_patch_away(closed: bool) -> None:
    x = field(1, 1, 4, 6)
    found = with_shifts(x, [2, 1], [closed, True])
    assert found.shape == (1, 5, 4, 6)
    assert torch.equal(found[:, :1], x)
    for place, (down, right) in enumerate([(-2, -1), (-2, 1), (2, -1), (2, 1)], 1):
        moved = x.roll((down, right), (2, 3))
        if not closed:
            moved[:, :, slice(None, 2) if down > 0 else slice(2, None)] = 0
        assert torch.equal(found[:, place : place + 1], moved)


def test_frames_are_channels_one_after_the_other() -> None:
    model = built("ViT3D", patch=[1, 2, 2])
    x = field(1, 3, 4, 4)
    tokens, _ = model.encode(x)
    assert tokens.shape == (1, 2 * 4, 8)
    later = tokens.clone()
    later[:, 4:] += 1  # those of the second frame
    before, after = model.decode(tokens, x), model.decode(later, x)
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.isclose(before[:, 2:], after[:, 2:]).all()
    with pytest.raises(ValueError, match="expected as many out_channels in every frame, got 4 in 3 frames"):
        built("ViT3D", frames=3)
