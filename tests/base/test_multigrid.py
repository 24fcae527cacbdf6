"""Multigrid patches: what a network of points answers is what it answers on the whole plane."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neuralop_irno import IterativeRefiner, MultigridPatches


def first_channel(levels: int) -> nn.Conv2d:
    """A network that answers with the finest of its inputs, doubled."""
    network = nn.Conv2d(levels + 1, 1, 1, bias=False)
    with torch.no_grad():
        network.weight.zero_()[0, 0] = 2.0
    return network


@pytest.mark.parametrize("shape", [(32, 32), (64, 32)], ids=str)
@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("padding", [0.0, 0.25])
def test_patches_are_joined_where_they_were(levels: int, padding: float, shape: tuple[int, int]) -> None:
    x = torch.randn(3, 1, *shape)
    base = MultigridPatches(first_channel(levels), levels, padding)
    torch.testing.assert_close(base(x), 2 * x)


def test_the_surroundings_reach_the_network() -> None:
    network = first_channel(1)
    with torch.no_grad():
        network.weight[0, 1] = 1.0
    base, x = MultigridPatches(network), torch.zeros(1, 1, 16, 16)
    far = x.clone()
    far[..., 0, 0] = 1.0  # in the first patch; a coarse point of all four
    changed = (base(far) - base(x)).abs().reshape(2, 8, 2, 8).amax((1, 3))
    assert bool((changed > 0).all())


def test_it_is_a_base_like_any_other() -> None:
    base = MultigridPatches(first_channel(1))
    model = IterativeRefiner(base, {"name": "unet", "width": 2, "depth": 1, "dim": 2}, steps=2).eval()
    x = torch.randn(2, 1, 16, 16)
    torch.testing.assert_close(model(x), 2 * x)


def test_sides_that_cannot_be_cut_are_refused() -> None:
    with pytest.raises(ValueError, match="with sides that 4 divides, got "):
        MultigridPatches(first_channel(2), 2)(torch.zeros(1, 1, 10, 8))
    with pytest.raises(ValueError, match="large enough for patches at 2 levels"):
        MultigridPatches(first_channel(2), 2)(torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match="expected levels >= 1"):
        MultigridPatches(first_channel(1), 0)
