"""Local integrals and derivatives: the same operator on every grid, and local."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from neuralop_irno.correction.local import LocalNO


def awake(**options) -> LocalNO:
    torch.manual_seed(0)
    phi = LocalNO(1, 1, **{"width": 3, "layers": 2, "radius": 0.2, "rings": 2, **options}).double()
    nn.init.normal_(phi.last.weight)
    return phi


def wave(count: int, dim: int, padding: str) -> Tensor:
    place = torch.arange(count, dtype=torch.float64) / count
    if padding != "circular":
        place = torch.arange(count, dtype=torch.float64) / count + 0.5 / count
    field = torch.sin(2 * math.pi * place + 0.3)
    for _ in range(dim - 1):
        field = field[..., None] * torch.cos(2 * math.pi * place + 0.1)
    return field[None, None]


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_finer_grids_give_what_converges(dim: int) -> None:
    coarse, more = (20, {}) if dim < 3 else (8, {"radius": 0.15, "rings": 1})
    phi = awake(dim=dim, **more)
    answers = []
    for factor in (1, 2, 4) if dim < 3 else (1, 2, 3):
        u = wave(factor * coarse, dim, "circular")
        every = (..., *[slice(None, None, factor)] * dim)
        with torch.no_grad():
            answers.append(phi(u, u.square())[every])
    first, second = ((a - answers[-1]).norm() / answers[-1].norm() for a in answers[:2])
    assert second < 0.5 * first
    assert dim == 3 or second < 0.06


@pytest.mark.parametrize("padding", ["circular", "zero", "replicate", "reflect"])
@pytest.mark.parametrize("dim", [1, 2])
def test_a_cell_changes_its_neighbourhood_only(dim: int, padding: str) -> None:
    phi = awake(dim=dim, padding=padding, layers=1)
    u = torch.randn(1, 1, *[24] * dim, dtype=torch.float64)
    changed = u.clone()
    changed[(..., *[12] * dim)] += 1
    with torch.no_grad():
        moved = (phi(u, u) - phi(changed, u)).abs()[0, 0]
    far = torch.ones_like(moved, dtype=torch.bool)
    reach = math.floor(0.2 * 24)
    far[(slice(12 - reach, 13 + reach),) * dim] = False
    assert not moved[far].any()
    assert moved.any()


def test_untrained_it_changes_nothing_and_small_grids_are_refused() -> None:
    phi = LocalNO(1, 1, dim=1)
    u = torch.randn(1, 1, 32)
    assert not phi(u, u).any()
    with pytest.raises(ValueError, match="at least 30 cells along each axis"):
        phi(u[..., :20], u[..., :20])
