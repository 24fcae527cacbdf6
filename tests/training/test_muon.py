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
