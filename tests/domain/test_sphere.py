"""Grids on the sphere: quadrature, masks, sizes, and how a sample names its grid."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import neuralop_irno as irno
from neuralop_irno.domain.graph import domain_of
from neuralop_irno.domain.sphere import GRIDS, SphereDomain, colatitudes, exact_degree, grid_domain, on_sphere

SHAPES = [(2, 4), (5, 9), (8, 16)]


def monomial(grid: str, shape: tuple[int, int], power: int) -> Tensor:
    """The given power of the height z over the equator, ``(1, 1, *shape)``."""
    return (colatitudes(grid, shape[0]).cos()[:, None] ** power).expand(1, 1, *shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("grid", GRIDS)
def test_means_are_exact_for_constants_and_up_to_the_degree_of_the_quadrature(grid, shape):
    domain = SphereDomain(1, shape, grid)
    constant = torch.full((1, 1, *shape), -3.0)
    assert domain.mean(constant).item() == pytest.approx(-3, rel=1e-6)
    assert domain.norm(constant).item() == pytest.approx(3, rel=1e-6)
    assert domain.norm(constant.double()).item() == pytest.approx(3, rel=1e-15)
    rows = shape[0]
    degree = {"equiangular": rows - 1, "legendre-gauss": 2 * rows - 1, "lobatto": 2 * rows - 3}[grid]
    for power in range(degree + 1):
        exact = 0 if power % 2 else 1 / (power + 1)
        assert domain.mean(monomial(grid, shape, power)).item() == pytest.approx(exact, abs=1e-14)
    assert 2 * exact_degree(grid, shape) <= degree


def test_a_mask_and_a_measure_of_its_own_take_the_place_of_the_quadrature():
    domain = SphereDomain(2, (8, 16))
    north = (torch.arange(8) < 4)[:, None].expand(2, 1, 8, 16)
    assert torch.allclose(domain.masked(north).mean(north.double()), torch.ones(2).double())
    rows = torch.rand(8, 1) + 0.1
    own, field = SphereDomain(2, (8, 16), measure=rows), torch.randn(2, 3, 8, 16)
    assert torch.allclose(own.mean(field), irno.domain.grid.GridDomain.of(field, measure=rows).mean(field))


def test_a_masked_constant_keeps_its_norm_at_another_size():
    south = (torch.arange(8) >= 4)[:, None].expand(2, 1, 8, 16)
    finer = SphereDomain(2, (8, 16)).masked(south).with_shape((16, 32))
    assert torch.allclose(finer.norm(torch.full((2, 1, 16, 32), 3.0)), torch.full((2,), 3.0))
    assert torch.allclose(finer.select(torch.tensor([1])).norm(torch.ones(1, 1, 16, 32)), torch.ones(1))


@pytest.mark.parametrize("grid", GRIDS)
def test_parts_of_a_batch_and_other_sizes_are_on_the_same_sphere(grid):
    domain = SphereDomain(3, (8, 16), grid)
    parts = domain.select(torch.tensor([0, 2])), domain.repeated(2), domain.with_shape((16, 32))
    assert [(part.samples, part.shape) for part in parts] == [(2, (8, 16)), (6, (8, 16)), (3, (16, 32))]
    for part in parts:
        assert isinstance(part, SphereDomain)
        assert part.grid == grid
        ones = torch.ones(part.samples, 1, *part.shape)
        assert torch.allclose(part.norm(ones * 2), torch.full((part.samples,), 2.0))


def test_a_sample_names_its_grid_once_for_all_of_a_batch():
    field = torch.zeros(2, 1, 4, 8)
    for named in ("lobatto", ["lobatto", "lobatto"], ("lobatto",)):
        domain = domain_of(field, {"sphere": named})
        assert isinstance(domain, irno.SphereDomain)
        assert domain.grid == "lobatto"
    assert type(domain_of(field, {})) is irno.domain.grid.GridDomain


@pytest.mark.parametrize(("known", "taught"), [
    ({"sphere": "equiangle"}, r"one grid of equiangular, .* as 'sphere', got 'equiangle'; try 'equiangular'"),
    ({"sphere": ["equiangular", "lobatto"]}, "got .'equiangular', 'lobatto'.; try a batch for each grid"),
    ({"sphere": "lobatto", "lengths": (1.0, 2.0)}, "a sphere without lengths, got .1.0, 2.0.; try"),
])  # fmt: skip
def test_an_entry_that_names_no_grid_teaches(known, taught):
    with pytest.raises(ValueError, match=f"^expected .*{taught}"):
        grid_domain(torch.zeros(2, 1, 4, 8), known)


def test_fields_that_are_on_no_sphere_teach():
    with pytest.raises(ValueError, match=r"^expected fields \(B, C, nlat, nlon\) .*, got axes \(8,\); try"):
        SphereDomain(1, (8,))
    with pytest.raises(
        ValueError, match=r"^expected the grid 'lobatto' of the model, got 'equiangular'; try"
    ):
        on_sphere(SphereDomain(1, (4, 8)), "lobatto")
    flat = grid_domain(torch.zeros(1, 1, 4, 8), {"lengths": (1.0, 2.0)})
    with pytest.raises(ValueError, match=r"^expected fields on the sphere, lobatto, got lengths"):
        on_sphere(flat, "lobatto")
    assert on_sphere(flat, None) is flat
