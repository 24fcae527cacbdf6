"""Muon: orthogonal updates for matrices, AdamW for the rest, resumable."""

import copy

import pytest
import torch
from torch import nn

from neuralop_irno.training.muon import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(4, 4), (3, 9), (9, 3), (1, 5), (5, 1)])
def test_singular_values_come_close_to_one(shape: tuple[int, int]) -> None:
    values = torch.linalg.svdvals(orthogonalised(torch.randn(shape, dtype=torch.float64)))
    assert ((values > 0.5) & (values < 1.3)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_all_but_real_matrices_take_the_steps_of_adamw(dtype: torch.dtype) -> None:
    start = torch.randn((5,) if dtype == torch.float32 else (5, 3), dtype=dtype)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    muon = Muon([ours], lr=0.1, weight_decay=0.1, betas=(0.9, 0.97))
    adamw = torch.optim.AdamW([theirs], lr=0.03, weight_decay=0.1, betas=(0.9, 0.97))
    for _ in range(4):
        gradient = torch.randn_like(start)
        for parameter, optimizer in ((ours, muon), (theirs, adamw)):
            parameter.grad = gradient.clone()
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(6, 2), (2, 3, 3)])
def test_matrices_of_one_shape_each_take_their_own_step(shape: tuple[int, ...]) -> None:
    starts = [torch.randn(shape, dtype=torch.float64) for _ in range(3)]
    weights = [nn.Parameter(start.clone()) for start in starts]
    muon = Muon(weights, lr=0.1, weight_decay=0.5)
    gradients = [[torch.randn_like(start) for start in starts] for _ in range(2)]
    for step in gradients:
        for weight, gradient in zip(weights, step, strict=True):
            weight.grad = gradient.clone()
        muon.step()
    rows = shape[0]
    for place, expected in enumerate(starts):
        momentum = torch.zeros_like(expected)
        for step in gradients:
            momentum = 0.95 * momentum + step[place]
            direction = orthogonalised((step[place] + 0.95 * momentum).reshape(rows, -1))
            scale = max(1, rows / direction.shape[1]) ** 0.5
            expected = (1 - 0.1 * 0.5) * expected - 0.1 * scale * direction.reshape(shape)
        torch.testing.assert_close(weights[place].data, expected)


def test_it_goes_on_from_its_state() -> None:
    def network() -> tuple[nn.Module, Muon]:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv1d(2, 3, 3), nn.GELU(), nn.Conv1d(3, 1, 3))
        return net, Muon(net.parameters(), lr=0.02, weight_decay=0.1, betas=(0.9, 0.97))

    def update(net: nn.Module, optimizer: Muon, seed: int) -> None:
        optimizer.zero_grad()
        x = torch.randn(4, 2, 9, generator=torch.Generator().manual_seed(seed))
        net(x).square().mean().backward()
        optimizer.step()

    net, optimizer = network()
    for seed in range(2):
        update(net, optimizer, seed)
    again, other = network()
    again.load_state_dict(net.state_dict())
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for pair in ((net, optimizer), (again, other)):
        update(*pair, seed=2)
    for mine, theirs in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(mine, theirs)
