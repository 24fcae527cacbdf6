"""Laws 4, 7 and 11 on the sphere, and rolls in longitude."""

from __future__ import annotations

import math

import pytest
import torch
from neuralop.models import SFNO
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner, Recipe, RefinementLoss, SobolevLoss, SpectralLoss, Trainer
from neuralop_irno.diagnostics.spectral_error import band_errors
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.domain.sphere import (
    GRIDS,
    SphereDomain,
    colatitudes,
    exact_degree,
    nyquist_degree,
    padding_across_poles,
    row_weights,
)
from neuralop_irno.domain.sphere_maps import SphereMaps
from neuralop_irno.formats import current_model
from neuralop_irno.spectrum.of_domain import spectrum_of

SHAPES = [(6, 12), (7, 9)]


def legendre(degree: int, order: int, z: Tensor) -> Tensor:
    """The associated Legendre function, normalised on the sphere, from its closed form."""
    powers = [
        (-1) ** k * math.comb(degree, k) * math.comb(2 * degree - 2 * k, degree)
        * math.perm(degree - 2 * k, order) * z ** (degree - 2 * k - order)
        for k in range((degree - order) // 2 + 1)
    ]  # fmt: skip
    scale = (2 * degree + 1) / (4 * math.pi) * math.factorial(degree - order) / math.factorial(degree + order)
    return math.sqrt(scale) / 2**degree * (1 - z**2).clamp(min=0) ** (order / 2) * sum(powers)


def harmonic(grid: str, shape: tuple[int, int], degree: int, order: int) -> Tensor:
    """A complex spherical harmonic on a grid, ``shape``; its mean square is 1 / (4 pi)."""
    along = legendre(degree, abs(order), colatitudes(grid, shape[0]).cos())
    longitude = 2 * torch.pi * torch.arange(shape[1]).double() / shape[1]
    return along[:, None] * torch.exp(1j * order * longitude)


def coefficient(grid: str, field: Tensor, degree: int, order: int) -> Tensor:
    weight = 2 * torch.pi / field.shape[-1] * 2 / field.shape[-2] * row_weights(grid, field.shape[-2])
    return (field * harmonic(grid, tuple(field.shape[-2:]), degree, order).conj() * weight).sum((-2, -1))


def band_limited(grid: str, shape: tuple[int, int], degree: int, seed: int = 0) -> Tensor:
    """A real field of harmonics up to a degree; with the same seed the same one on every grid."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for one in range(degree + 1):
        for order in range(one + 1):
            real, imaginary = torch.randn(2, generator=generator, dtype=torch.float64)
            parts.append((harmonic(grid, shape, one, order) * torch.complex(real, imaginary)).real)
    return sum(parts)[None, None]


@pytest.mark.parametrize("compare", ["complex", "amplitude"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("grid", GRIDS)
def test_the_spectral_loss_is_the_sum_over_harmonics(grid, shape, compare):
    h, y = torch.randn(2, 1, 1, *shape, dtype=torch.float64)
    finest, highest, sharpness = nyquist_degree(shape), exact_degree(grid, shape), 1.7
    total, rest, modes, weights = 0.0, [h[0, 0], y[0, 0]], 0, 0.0
    for degree in range(finest + 1):
        rho = 1 + (degree / finest) ** sharpness
        weights, modes = weights + (2 * degree + 1) * rho, modes + 2 * degree + 1
        for order in range(-degree, degree + 1) if degree <= highest else ():
            found = [coefficient(grid, field[0, 0], degree, order) for field in (h, y)]
            wave = harmonic(grid, shape, degree, order)
            rest = [field - (c * wave) for field, c in zip(rest, found, strict=True)]
            apart = found[0] - found[1] if compare == "complex" else found[0].abs() - found[1].abs()
            total += rho * float(apart.abs()) ** 2 / (4 * math.pi)
    means = SphereDomain(1, shape, grid)
    rest = [field.real[None, None] for field in rest]
    left = (
        means.norm(rest[0] - rest[1]) if compare == "complex" else means.norm(rest[0]) - means.norm(rest[1])
    )
    total += 2 * float(left) ** 2  # all that is finer counts as the finest harmonics, whose rho is 2
    loss = SpectralLoss(compare=compare, lambda_end=sharpness)(h, y, sphere=grid)
    assert loss.item() == pytest.approx(total / (weights / modes), rel=1e-6)


@pytest.mark.parametrize("grid", GRIDS)
def test_energies_sum_to_the_norm_and_a_degree_is_one_frequency(grid):
    shape = (8, 16)
    domain, field = SphereDomain(2, shape, grid), torch.randn(2, 3, 8, 16, dtype=torch.float64)
    spectrum = spectrum_of(domain, field.device)
    assert torch.allclose(spectrum.energies(field).sum(-1).mean(1), domain.inner(field, field))
    inside = torch.rand(2, 1, 8, 16) > 0.5
    masked, field = domain.masked(inside), field * inside
    energies = spectrum_of(masked, field.device).energies(field)
    assert torch.allclose(energies.sum(-1).mean(1), masked.inner(field, field))
    wave = harmonic(grid, shape, 3, 2).real[None, None]
    size = domain.inner(wave, wave)
    sobolev = SobolevLoss(order=1.0)(wave, torch.zeros_like(wave), sphere=grid)
    assert sobolev.item() == pytest.approx(float((1 + 3**2) * size[0]), rel=1e-6)
    bands = band_errors([wave], torch.zeros_like(wave), bands=nyquist_degree(shape), sphere=grid)
    assert bands.error[0].argmax().item() == 3
    assert bands.error[0].max().item() == pytest.approx(size[0].item(), rel=1e-6)


def on_a_sphere(name: str, grid: str, cells: tuple[int, int]) -> IterativeRefiner:
    size = {"width": 4, "depth": 1} if name != "mgno" else {"width": 4, "levels": 1, "layers": 2}
    model = IterativeRefiner(
        lambda x: x[:, :1], {"name": name, "dim": 2, **size}, steps=2, in_channels=2, out_channels=1,
        gradient="unrolled",
        resolution={"cells": cells, "extent": "fixed", "sphere": grid},
    )  # fmt: skip
    for weight in model.correction.parameters():
        nn.init.normal_(weight, std={"unet": 0.3, "residual_unet": 0.1, "mgno": 0.05}[name])
    return model


@pytest.mark.parametrize("name", ["unet", "residual_unet", "mgno"])
@pytest.mark.parametrize("grid", GRIDS)
def test_rolling_in_longitude_changes_neither_loss_nor_update(grid, name):
    model = on_a_sphere(name, grid, (8, 16)).train()
    x, y = torch.randn(2, 2, 8, 16), torch.randn(2, 1, 8, 16)
    loss = RefinementLoss(spectral=1.0, sobolev=1.0, fixed_point=0.1)
    found = []
    for shift in (0, 2, 6):
        rolled, truth = x.roll(shift, 3), y.roll(shift, 3)
        trajectory = model(rolled, y=truth)
        found.append((loss(trajectory, truth), (trajectory.last - rolled[:, :1]).roll(-shift, 3)))
    for value, update in found[1:]:
        assert value.item() == pytest.approx(found[0][0].item(), rel=1e-5)
        assert (update - found[0][1]).abs().max() < 1e-4


RATIOS = [2.0, 4.0, 1.4]


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("coarse", [(5, 8), (6, 12), (7, 9)])
@pytest.mark.parametrize("grid", GRIDS)
def test_maps_carry_harmonics_exactly_and_restrict_what_they_prolonged(grid, coarse, ratio):
    fine = (round(ratio * coarse[0]), round(ratio * coarse[1]))
    maps = SphereMaps.between(grid, fine, coarse)
    field = torch.randn(2, 3, *coarse, dtype=torch.float64)
    assert torch.allclose(maps.restrict(maps.prolong(field)), field, atol=1e-12)
    degree = min(coarse[0] - 2, (coarse[1] - 1) // 2)
    low, high = (band_limited(grid, shape, degree) for shape in (coarse, fine))
    assert torch.allclose(maps.prolong(low), high, atol=1e-11)
    assert torch.allclose(maps.restrict(high), low, atol=1e-11)
    assert torch.allclose(maps.prolong(field.roll(coarse[1], 3)), maps.prolong(field), atol=1e-12)


@pytest.mark.parametrize("grid", GRIDS)
def test_waves_finer_than_the_coarse_grid_has_along_a_circle_of_latitude_vanish(grid):
    maps = SphereMaps.between(grid, (16, 32), (8, 16))
    assert maps.restrict(harmonic(grid, (16, 32), 11, 9).real[None, None]).abs().max() < 1e-12


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("name", ["unet", "residual_unet", "mgno"])
@pytest.mark.parametrize("grid", GRIDS)
def test_the_answer_on_a_finer_grid_restricts_to_that_of_training(grid, name, ratio):
    cells = (6, 12)
    model = on_a_sphere(name, grid, cells).double().eval()
    fine = (round(ratio * 6), round(ratio * 12))
    x, finer = (
        torch.cat([band_limited(grid, shape, 4, seed) for seed in (0, 1)], 1) for shape in (cells, fine)
    )
    with torch.no_grad():
        coarse, answer = model(x), model(finer)
    assert (coarse - x[:, :1]).abs().max() > 1e-6
    restricted = SphereMaps.between(grid, fine, cells).restrict(answer)
    assert torch.allclose(restricted, coarse, atol=1e-9 * float(coarse.abs().max()))


def sfno(**options) -> SFNO:
    return SFNO(n_modes=(6, 6), in_channels=2, out_channels=1, hidden_channels=4, n_layers=1, **options)


@pytest.mark.parametrize("grid", ["equiangular", "legendre-gauss"])
@pytest.mark.parametrize("name", ["unet", "residual_unet", "mgno"])
def test_an_untrained_refiner_around_sfno_has_its_bits_and_its_grid(name, grid):
    base = sfno()
    for part in base.modules():
        if hasattr(part, "sht_grids"):
            part.sht_grids = [grid] * 2
    model = IterativeRefiner(base, {"name": name, "width": 4}, steps=3).eval()
    x = torch.randn(2, 2, 6, 12)
    assert torch.equal(model(x), base(x))
    domain = model.problem((x,), {}).domain
    assert isinstance(domain, SphereDomain)
    assert domain.grid == model.resolution.sphere == grid
    assert model.correction.padding == ("poles" if grid == "equiangular" else "between_poles", "circular")
    with pytest.raises(ValueError, match=rf"^expected the grid {grid!r} of the model, got 'lobatto'"):
        model(x, sphere="lobatto")
    with pytest.raises(ValueError, match=r"^expected a sphere without lengths"):
        model(x, lengths=(1.0, 1.0))


def test_a_base_with_transforms_of_torch_harmonics_is_on_their_first_grid():
    harmonics = pytest.importorskip("torch_harmonics")

    class Filtered(nn.Module):
        def __init__(self):
            super().__init__()
            sizes = {"lmax": 4, "mmax": 4}
            self.analyse = harmonics.RealSHT(8, 16, grid="legendre-gauss", **sizes)
            self.synthesise = harmonics.InverseRealSHT(8, 16, grid="lobatto", **sizes)

        def forward(self, x):
            return self.synthesise(self.analyse(x))

    model = IterativeRefiner(Filtered(), "unet", in_channels=1, out_channels=1)
    assert model.resolution.sphere == "legendre-gauss"
    assert model.correction.padding == ("between_poles", "circular")
    with pytest.raises(ValueError, match=r"^expected the grid 'lobatto' of the model, got 'legendre-gauss'"):
        IterativeRefiner(Filtered(), "unet", in_channels=1, out_channels=1, resolution={"sphere": "lobatto"})(
            torch.zeros(1, 1, 8, 16)
        )


@pytest.mark.parametrize("grid", GRIDS)
def test_another_size_of_a_sphere_is_another_spacing_and_grids_differ_at_the_poles(grid):
    stated = on_a_sphere("unet", grid, (8, 16)).eval()
    plain = IterativeRefiner(
        lambda x: x[:, :1], stated.correction, steps=2, in_channels=2, out_channels=1,
        resolution={"cells": (8, 16), "sphere": grid},
    ).eval()  # fmt: skip
    x = torch.randn(1, 2, 16, 32)
    assert torch.equal(plain(x), stated(x))
    with pytest.raises(ValueError, match=r"^expected a sphere of one size, got extent 'grows'; try"):
        Resolution(sphere=grid, extent="grows")
    stated.correction.padding = padding_across_poles("lobatto" if grid == "legendre-gauss" else GRIDS[1])
    with pytest.raises(ValueError, match=r"^expected padding across the poles .*; try padding=\["):
        stated(x)


def test_coarser_updates_are_on_the_sphere_that_samples_or_the_model_name():
    data = [{"x": torch.randn(2, 8, 16), "y": torch.randn(1, 8, 16)} for _ in range(2)]
    named = [{**sample, "sphere": "lobatto"} for sample in data]
    stated, plain = (on_a_sphere("unet", "lobatto", (8, 16)) for _ in range(2))
    plain.correction.load_state_dict(stated.correction.state_dict())
    plain.resolution = Resolution(extent="fixed")
    recipe = Recipe(epochs=1, batch_size=2, resolutions=[2])
    for model, samples in ((stated, data), (plain, named)):
        Trainer(model, recipe, show=False).fit(samples, samples)
    pairs = zip(stated.correction.parameters(), plain.correction.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_a_file_of_before_spheres_is_not_taken_for_one_on_a_sphere():
    arch = {
        "model_arch": "sfno",
        "n_modes": [6, 6],
        "in_channels": 2,
        "out_channels": 1,
        "hidden_channels": 4,
    }
    old = current_model({"base": {**arch, "n_layers": 1}, "correction": "unet"}, version=3)
    assert old["correction"] == {"padding": "circular", "name": "unet"}
    with pytest.raises(ValueError, match=r"^expected padding across the poles .*; try padding=\['poles'"):
        IterativeRefiner(**old)(torch.zeros(1, 2, 6, 12))
    assert current_model({"base": arch, "correction": "unet"}, version=4)["correction"] == "unet"
