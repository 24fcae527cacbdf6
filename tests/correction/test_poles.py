"""Padding across the poles: beyond a pole a field goes on at the opposite meridian."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import neuralop_irno as irno
from neuralop_irno.correction.antialias import doubled, halved
from neuralop_irno.correction.local import LocalNO
from neuralop_irno.correction.mgno import MgNO
from neuralop_irno.correction.residual_unet import ResidualUNet
from neuralop_irno.correction.unet import UNet
from neuralop_irno.domain.padding import _pad_by_joining, pad, padding_modes
from neuralop_irno.domain.sphere import GRIDS, SphereDomain, colatitudes, padding_across_poles

# torch compiles its own forward-mode rules with torch.jit when they are first used.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning")


def smooth(colatitude: Tensor, longitude: Tensor) -> Tensor:
    """A polynomial of the coordinates in space, which is smooth at the poles."""
    x, y = colatitude.sin() * longitude.cos(), colatitude.sin() * longitude.sin()
    z = colatitude.cos()
    return x * z + 2 * x * y - y + 0.5 * z**3


@pytest.mark.parametrize("columns", [8, 2])
@pytest.mark.parametrize("grid", GRIDS)
def test_a_smooth_field_goes_on_beyond_both_poles(grid, columns):
    width, rows = 3, 6
    angle, longitude = colatitudes(grid, rows), 2 * torch.pi * torch.arange(columns).double() / columns
    first = 1 if padding_across_poles(grid)[0] == "poles" else 0
    north, south = angle[first : first + width].flip(0), angle[rows - first - width : rows - first].flip(0)
    beyond = torch.cat([-north, angle, 2 * torch.pi - south])
    padded = pad(smooth(angle[:, None], longitude)[None, None], padding_across_poles(grid), [(3, 3), (0, 0)])
    assert torch.allclose(padded[0, 0], smooth(beyond[:, None], longitude), atol=1e-12)


@pytest.mark.parametrize("mode", ["poles", "between_poles"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (3, 4)])
def test_derivatives_are_what_finite_differences_say_also_of_odd_rows(shape, mode):
    field = torch.randn(1, 2, *shape, dtype=torch.float64, requires_grad=True)
    padded = lambda field: pad(field, (mode, "circular"), [(2, 3), (1, 1)])  # noqa: E731
    assert torch.autograd.gradcheck(padded, field, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda field: padded(field.sin()).square(), field)


CORRECTIONS = {
    "unet": (UNet, {"width": 4, "depth": 2}, 4),
    "residual_unet": (ResidualUNet, {"width": 4, "depth": 2}, 4),
    "mgno": (MgNO, {"width": 4, "levels": 2}, 4),
}


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", CORRECTIONS)
def test_rolling_by_the_coarsest_cells_rolls_the_update(name, grid):
    kind, options, cells = CORRECTIONS[name]
    phi = kind(2, 1, padding=padding_across_poles(grid), **options)
    for weight in phi.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight)
    x, h = torch.randn(2, 2, 9, 12), torch.randn(2, 1, 9, 12)
    for shift in (cells, -2 * cells):
        rolled = phi(x.roll(shift, 3), h.roll(shift, 3)).roll(-shift, 3)
        assert (rolled - phi(x, h)).abs().max() < 1e-4
    assert phi.periodic == (False, True)
    assert phi.receptive_field is None


@pytest.mark.parametrize("name", CORRECTIONS)
def test_what_is_near_across_a_pole_is_seen(name):
    kind, options, _ = CORRECTIONS[name]
    phi = kind(1, 1, padding=("poles", "circular"), **options).double()
    for weight in phi.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight)
    h = torch.zeros(1, 1, 16, 32, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(phi(torch.randn_like(h), h)[0, 0, 1, 0], h)
    across, aside = slope[0, 0, 1, 16].abs(), slope[0, 0, 14, 16].abs()
    assert across > 100 * aside


def test_other_axes_and_flat_layers_teach():
    for modes in (["poles", "zero"], ["circular", "poles"]):
        with pytest.raises(ValueError, match=r"^expected longitudes with padding 'circular' after .*; try"):
            padding_modes(modes, 2)
    with pytest.raises(ValueError, match=r"^expected a flat grid for local integrals, got \['poles'"):
        LocalNO(1, 1, padding=("poles", "circular"))
    phi, field = UNet(1, 1, width=2, depth=1), torch.zeros(1, 1, 4, 8)
    with pytest.raises(
        ValueError, match=r"^expected padding across the poles .*; try padding=\['poles', 'circ"
    ):
        phi.prepare(field, SphereDomain(1, (4, 8)))
    model = irno.IterativeRefiner(torch.nn.Conv2d(1, 1, 1), {"name": "mgno", "width": 2})
    with pytest.raises(ValueError, match=r"^expected padding across the poles for MgNO on a sphere"):
        model(field, sphere="equiangular")


@pytest.mark.parametrize("mode", ["poles", "between_poles"])
def test_a_compiler_sees_the_same_padding_and_constants_stay(mode):
    field = torch.randn(1, 2, 3, 5)
    for widths in (((1, 1), (1, 1)), ((2, 4), (0, 2))):
        joined = _pad_by_joining(field, (mode, "circular"), widths)
        assert torch.equal(joined, pad(field, (mode, "circular"), widths))
    for shape in ((1, 1), (2, 3), (9, 12), (8, 7)):
        ones = torch.ones(1, 1, *shape)
        coarse = halved(ones, (mode, "circular"))
        assert torch.equal(coarse, torch.ones_like(coarse))
        assert torch.equal(doubled(coarse, shape, (mode, "circular")), ones)
