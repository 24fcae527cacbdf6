"""Layers keep to their bound, in training and after it; and stay what a layer is: saved, moved, copied."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from conftest import identity
from test_norms import largest, written_out
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch_geometric.nn import GATConv, GCNConv, GINConv, SAGEConv

from neuralop_irno import IterativeRefiner, PicardNetwork, spectrally_normalised
from neuralop_irno.lipschitz import orthogonal
from neuralop_irno.lipschitz.normalisation import free_layers
from neuralop_irno.models import RIGNO  # noqa: F401 - graph networks are known here
from neuralop_irno.registry import CORRECTIONS


def wide(module: nn.Module, times: float = 5.0) -> nn.Module:
    """With weights that stretch."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(times)
    return module


def convolution() -> nn.Conv1d:
    layer = nn.Conv1d(3, 3, 3, padding=1, padding_mode="circular").double()
    wide(layer)
    return layer


def test_a_layer_keeps_to_its_bound_while_it_learns() -> None:
    layer = spectrally_normalised(convolution(), bound=0.9)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.3)
    x = torch.randn(8, 3, 16, dtype=torch.float64)
    for _ in range(20):
        optimizer.zero_grad()
        (-layer(x).square().mean()).backward()  # it would grow without end
        optimizer.step()
        assert 0.85 < largest(written_out(layer, (16,))) <= 0.9 + 1e-12


def test_a_layer_within_the_bound_is_left_as_it_is() -> None:
    layer = nn.Linear(4, 4)
    with torch.no_grad():
        layer.weight.mul_(0.1)
    before = layer.weight.detach().clone()
    assert torch.equal(spectrally_normalised(layer).weight, before)


def test_a_layer_that_starts_at_zero_stays_there_and_learns() -> None:
    layer = nn.Linear(3, 2)
    nn.init.zeros_(layer.weight)
    spectrally_normalised(layer)(torch.ones(1, 3)).sum().backward()
    (original,) = [p for name, p in layer.named_parameters() if name.endswith("original")]
    assert layer.weight.abs().max() == 0
    assert torch.equal(original.grad, torch.ones(2, 3))


def test_its_gradient_is_what_finite_differences_say() -> None:
    layer = spectrally_normalised(convolution())
    x = torch.randn(2, 3, 5, dtype=torch.float64)
    names, values = zip(*layer.named_parameters(), strict=True)

    def answer(*parameters: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    assert torch.autograd.gradcheck(answer, values)


def test_what_was_kept_of_a_weight_is_not_used_for_another() -> None:
    layer = spectrally_normalised(nn.Linear(4, 4))
    layer(torch.ones(1, 4))
    for parameter in layer.parameters():
        parameter.data.mul_(100)  # behind autograd's back
    assert largest(layer.weight.detach()) <= 1 + 1e-6


def test_training_and_evaluation_and_a_second_look_agree_to_the_bit() -> None:
    layer, x = spectrally_normalised(wide(nn.Linear(6, 6))), torch.randn(2, 6)
    assert torch.equal(layer.train()(x), layer.eval()(x))
    plain, again = layer(x), checkpoint(layer, x, use_reentrant=False)
    assert torch.equal(plain, again)
    with torch.inference_mode():
        assert torch.equal(layer(x), plain)


MODULES = {
    "linear": lambda: nn.Linear(4, 4),
    "convolution": lambda: nn.Conv2d(4, 4, 3, padding=1),
    "gcn": lambda: GCNConv(4, 4),
    "sage": lambda: SAGEConv(4, 4),
    "gin": lambda: GINConv(nn.Sequential(nn.Linear(4, 4), nn.ReLU())),
    "gat": lambda: GATConv(4, 4),
}


@pytest.mark.parametrize("name", list(MODULES))
@pytest.mark.parametrize("held", [spectrally_normalised, lambda module: orthogonal(nn.Linear(4, 4))])
def test_it_is_saved_and_copied_like_any_module(name: str, held: object) -> None:
    module = held(wide(MODULES[name]()))
    assert not any(key.endswith(".weight") and "parametrizations" not in key for key in module.state_dict())
    other = held(MODULES[name]())
    other.load_state_dict(module.state_dict(), strict=True)
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    for twin in (other, copy.deepcopy(module)):
        for mine, theirs in zip(module.parameters(), twin.parameters(), strict=True):
            assert torch.equal(mine, theirs)


def test_autocast_does_not_reach_the_norm() -> None:
    layer = spectrally_normalised(wide(nn.Linear(32, 32)))
    alone = layer.weight
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer.weight, alone)
        assert layer(torch.randn(2, 32)).dtype == torch.bfloat16


def test_a_compiled_layer_answers_the_same() -> None:
    layer, x = spectrally_normalised(wide(nn.Linear(4, 4))), torch.randn(2, 4)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), layer(x))


def test_transforms_of_functions_see_through_it() -> None:
    layer = spectrally_normalised(convolution())
    parameters = {name: 1.1 * p.detach() for name, p in layer.named_parameters()}
    x = torch.randn(2, 3, 6, dtype=torch.float64)

    def answer(given: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(layer, given, (x,)).square().sum()

    transformed = torch.func.grad(answer)(parameters, x)
    each = torch.func.vmap(torch.func.grad(answer), (None, 0))(parameters, x[:, None])
    leaves = {name: p.requires_grad_() for name, p in parameters.items()}
    usual = torch.autograd.grad(answer(leaves, x), list(leaves.values()))
    for name, expected in zip(leaves, usual, strict=True):
        torch.testing.assert_close(transformed[name], expected)
        torch.testing.assert_close(each[name].sum(0), expected)


def test_every_step_of_an_iteration_uses_one_norm() -> None:
    block = wide(spectrally_normalised(nn.Linear(4, 4), 0.5))
    counted: list[int] = []
    part = block.parametrizations["weight"][0]
    norm = part.norm
    part.norm = lambda weight: (counted.append(1), norm(weight))[1]
    network = PicardNetwork(block, steps=6, gradient="checkpointed").train()
    network(torch.randn(2, 4)).sum().backward()
    assert len(counted) == 1


def test_a_correction_is_bounded_by_one_word_or_one_call() -> None:
    words = {"name": "unet", "width": 4, "depth": 1, "norm": "none"}
    x = torch.randn(2, 1, 8, 8)
    by_name = {"name": "bounded", "bound": 0.5, "correction": words}
    models = [
        IterativeRefiner(identity, correction, in_channels=1, out_channels=1).eval()
        for correction in (by_name, words)
    ]
    spectrally_normalised(models[1].correction, 0.5)
    for model in models:
        assert torch.equal(model(x), x)  # the last layer still starts at zero
        parts = [part for part in model.modules() if hasattr(part, "parametrizations")]
        assert len(parts) == 8
        assert all(len(part.parametrizations.weight) == 1 for part in parts)
    models[1].load_state_dict(models[0].state_dict(), strict=True)


FREE = {
    "fno": ({"name": "fno", "n_modes": [4, 4], "hidden_channels": 4, "n_layers": 1}, "SpectralConv"),
    "attention": ({"name": "pyg:GAT", "hidden_channels": 4}, "GATConv"),
}


@pytest.mark.parametrize("name", FREE)
def test_corrections_with_layers_that_stay_free_are_not_called_bounded(name: str) -> None:
    correction, layers = FREE[name]
    words = {"name": "bounded", "correction": correction}
    with pytest.raises(ValueError, match=rf"can all be held to a norm, got one with .*{layers}.*; try"):
        CORRECTIONS.build(words, in_channels=1, out_channels=1, dim=2)


@pytest.mark.parametrize("name", ["unet", "mgno", "meshgraph", "rigno", "pyg:GraphSAGE", "picard_vit"])
def test_corrections_of_matrices_and_convolutions_are_bounded(name: str) -> None:
    phi = CORRECTIONS.build({"name": "bounded", "correction": name}, in_channels=1, out_channels=1, dim=2)
    held = [part for part in phi.modules() if hasattr(part, "parametrizations")]
    assert held
    assert free_layers(phi) == []
