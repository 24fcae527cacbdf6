"""Grids halved and doubled without aliasing: constants stay, short waves go, and derivatives are exact."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from neuralop_irno import UNet
from neuralop_irno.correction.antialias import _doubled, _halved, _Resized, doubled, halved
from neuralop_irno.domain.padding import MODES

# torch compiles its own forward-mode rules with torch.jit when they are first used.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning")

SHAPES = [(1,), (2,), (17,), (1, 1), (1, 6), (13, 7), (16, 16), (9, 2), (1, 1, 1), (3, 5, 4), (7, 1, 2)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", MODES)
def test_constants_stay_at_every_size_and_padding(mode: str, shape: tuple[int, ...]) -> None:
    modes = [mode] * len(shape)
    cell = torch.tensor([[3.0, -7.0]]).reshape(1, 2, *[1] * len(shape))
    field = cell.expand(1, 2, *shape)
    coarse = halved(field, modes)
    assert coarse.shape[2:] == tuple((n + 1) // 2 for n in shape)
    assert torch.equal(coarse, cell.expand_as(coarse))
    assert torch.equal(doubled(coarse, shape, modes), field)


def test_the_longest_waves_stay_and_those_that_the_coarse_grid_cannot_show_go() -> None:
    n = 64
    at = torch.arange(n, dtype=torch.float64)
    for waves in range(1, n // 2 + 1):
        wave = torch.cos(2 * math.pi * waves * at / n)[None, None]
        left = halved(wave, ["circular"]).square().mean().sqrt() / wave.square().mean().sqrt()
        if waves <= n // 16:
            assert left > 0.8
        if waves > n // 4:  # the shortest of the coarse grid has n / 4 waves
            assert left < 0.07
        if waves > 0.28 * n:
            assert left < 0.02


def test_doubling_is_the_transpose_of_halving_on_even_rings() -> None:
    """<halved f, c> = <f, doubled c> / 4 in the plane."""
    modes = ["circular"] * 2
    f, c = torch.randn(1, 2, 12, 8, dtype=torch.float64), torch.randn(1, 2, 6, 4, dtype=torch.float64)
    torch.testing.assert_close((halved(f, modes) * c).sum(), (f * doubled(c, (12, 8), modes)).sum() / 4)


@pytest.mark.parametrize("shape", [(1,), (5,), (6,), (3, 4), (2, 1, 3)])
@pytest.mark.parametrize("mode", ["circular", "zero"])
def test_derivatives_are_what_finite_differences_say(mode: str, shape: tuple[int, ...]) -> None:
    modes = [mode] * len(shape)
    field = torch.randn(1, 2, *shape, dtype=torch.float64, requires_grad=True)
    finer = [2 * n - 1 for n in shape]

    def both(field: Tensor) -> tuple[Tensor, Tensor]:
        return halved(field.sin(), modes), doubled(field.sin(), finer, modes)

    assert torch.autograd.gradcheck(both, field, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(both, field)


def test_a_compiler_and_vmap_see_the_same() -> None:
    """A compiler traces the sums of slices themselves; planes in float32 and below are convolved."""
    for dtype, rtol in ((torch.float64, 1e-14), (torch.float32, 1e-5), (torch.bfloat16, 0.03)):
        fields = torch.randn(3, 2, 2, 16, 14, dtype=dtype)
        for finer, plain in ((False, _halved), (True, _doubled)):
            alone = torch.stack([plain(field.double()) for field in fields]).to(dtype)
            eager = torch.stack([_Resized.apply(field, finer) for field in fields])
            torch.testing.assert_close(eager, alone, rtol=rtol, atol=rtol)
            mapped = torch.vmap(lambda field, finer=finer: _Resized.apply(field, finer))(fields)
            torch.testing.assert_close(mapped, alone, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("shape", [(6,), (6, 4), (4, 2, 6)])
def test_autocast_does_not_lower_their_precision(shape: tuple[int, ...]) -> None:
    field, modes = torch.randn(2, 3, *shape), ["circular"] * len(shape)
    finer = [2 * n for n in shape]
    alone = halved(field, modes), doubled(field, finer, modes)
    with torch.autocast("cpu", torch.bfloat16):
        within = halved(field, modes), doubled(field, finer, modes)
    for one, other in zip(within, alone, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dim", [2, 3])
def test_channels_last_memory_stays_channels_last(dim: int) -> None:
    layout = {2: torch.channels_last, 3: torch.channels_last_3d}[dim]
    field = torch.randn(2, 3, *(6, 4, 5)[:dim]).contiguous(memory_format=layout)
    modes = ["circular"] * dim
    coarse = halved(field, modes)
    for each in (coarse, doubled(coarse, field.shape[2:], modes)):
        assert each.movedim(1, -1).stride(-1) == 1


@pytest.mark.parametrize("shape", [(64,), (32, 16), (33, 16), (16, 8, 16), (50,)])
def test_a_unet_of_random_weights_nearly_commutes_with_odd_shifts(shape: tuple[int, ...]) -> None:
    axes = tuple(range(2, 2 + len(shape)))

    def change(blur: bool) -> Tensor:
        """The change of the update by shifts, relative to it."""
        torch.manual_seed(0)
        phi = UNet(2, 1, len(shape), width=8, depth=2, blur=blur)
        torch.nn.init.normal_(phi.last.weight)
        x, h = torch.randn(4, 2, *shape), torch.randn(4, 1, *shape)
        with torch.no_grad():
            update = phi(x, h)
            moved = [phi(x.roll(s, axes), h.roll(s, axes)) - update.roll(s, axes) for s in shifts]
        return torch.stack([each.norm() for each in moved]).max() / update.norm()

    shifts = list(itertools.product((1, 3), repeat=len(shape)))
    odd = any(n % 4 for n in shape)  # their seams are at other cells after a shift
    assert change(blur=True) < (0.15 if odd else 0.08)
    assert change(blur=True) < 0.5 * change(blur=False)
