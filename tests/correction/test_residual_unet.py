"""The residual U-Net: any size, zero at first, its formula, its x-part hoisted, its blocks modulated."""

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralop_irno import ResidualUNet
from neuralop_irno.correction.antialias import doubled, halved
from neuralop_irno.correction.convolution import NORMS
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.padding import MODES
from neuralop_irno.registry import CORRECTIONS

SHAPES = [(1,), (17,), (1, 6), (13, 7), (3, 5, 4)]


def awake(phi: Any) -> Any:
    """The same correction with drawn values where it starts at zero, in double precision."""
    for weight in phi.parameters():
        if not weight.any():
            nn.init.normal_(weight, std=0.3)
    return phi.double().eval()


def fields(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    return torch.randn(2, 2, *shape).double(), torch.randn(2, 1, *shape).double()


@pytest.mark.parametrize("shape", SHAPES)
def test_every_size_padding_and_norm_keeps_the_shape_and_starts_at_zero(shape: tuple[int, ...]) -> None:
    x, h = fields(shape)
    for padding, norm, depth, blur in itertools.product(MODES, NORMS, (0, 2), (True, False)):
        options = {"depth": depth, "padding": padding, "norm": norm, "blur": blur}
        phi = ResidualUNet(2, 1, len(shape), width=4, **options).double()
        assert torch.equal(phi(x, h), torch.zeros_like(h))
        update = awake(phi)(x, h)
        assert update.shape == h.shape
        assert update.isfinite().all()
        assert update.abs().max() > 0


def test_it_is_its_formula() -> None:
    x, h = fields((12, 8))
    phi = awake(ResidualUNet(2, 1, width=4, depth=1))

    def block(part: Any, v: Tensor) -> Tensor:
        update = part.first(F.gelu(part.first_norm(v)))
        return v + part.second(F.gelu(part.second_norm(update)))

    v = block(phi.levels.before, phi.first(torch.cat([x, h], 1)))
    coarse = block(phi.levels.coarser.before, halved(phi.levels.wider(v), phi.padding))
    v = block(phi.levels.after, v + doubled(phi.levels.narrower(coarse), (12, 8), phi.padding))
    wanted = phi.last(F.gelu(phi.norm(v)))
    assert torch.allclose(phi(x, h), wanted, rtol=0, atol=1e-13)
    assert torch.equal(phi(phi.prepare(x, GridDomain.of(x)), h), phi(x, h))


def test_the_channels_grow_by_half_of_the_width() -> None:
    phi = ResidualUNet(2, 1, width=6, depth=3)
    levels = [part for name, part in phi.named_modules() if name.endswith("before")]
    assert [part.first.weight.shape[:2] for part in levels] == [(c, c) for c in (6, 9, 12, 15)]


def test_scalars_modulate_every_block() -> None:
    x, h = fields((8, 8))
    phi = awake(ResidualUNet(2, 1, width=4, depth=2, scalars=3))
    prepared, scalars = phi.prepare(x, GridDomain.of(x)), torch.randn(2, 3).double()
    untrained = phi(phi.conditioned(prepared, scalars), h)
    for place, width in enumerate(phi.film.widths):
        nn.init.zeros_(phi.film.last.bias)
        start = sum(phi.film.widths[:place])
        with torch.no_grad():
            phi.film.last.bias[start : start + width] = 1.0
        changed = phi(phi.conditioned(prepared, scalars), h)
        assert (changed - untrained).abs().max() > 1e-6
    with pytest.raises(ValueError, match=r"^expected scalars per sample for this correction, got none"):
        phi(x, h)


def test_blocks_begin_as_the_identity() -> None:
    x, h = fields((8, 6))
    phi = ResidualUNet(2, 1, width=4, depth=0).double()
    nn.init.normal_(phi.last.weight)
    entered = phi.first(torch.cat([x, h], 1))
    assert torch.equal(phi.levels(entered, iter(())), entered)


def test_by_name_with_a_frame_it_commutes_with_every_shift_to_the_last_bit() -> None:
    words = {"name": "residual_unet", "width": 4, "depth": 2, "frame": True}
    phi = awake(CORRECTIONS.build(words, in_channels=2, out_channels=1, dim=2))
    x, h = fields((13, 8))
    shifted = phi(x.roll((3, 5), (2, 3)), h.roll((3, 5), (2, 3)))
    assert torch.equal(shifted, phi(x, h).roll((3, 5), (2, 3)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, r"^expected width >= 1, got 0"),
        ({"depth": 11}, r"^expected depth from 0 to 10, got 11"),
        ({"norm": "layr"}, r"^expected a norm, got 'layr'; .*layer"),
        ({"dim": 4}, r"^expected dim to be 1, 2 or 3, got 4"),
    ],
)
def test_options_that_do_not_fit_teach(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResidualUNet(2, 1, **options)
