"""Points alone: measure, edges and interpolation follow from coordinates, in any numbering."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from neuralop_irno.domain import points as module
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.points import PointDomain, neighbourhood_of
from neuralop_irno.domain.spacing import PointSet


def point_set(pos: Tensor) -> PointSet:
    return PointSet(pos.double().numpy())


def interpolate(values: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Of several fields, ``(B, n, C)``, at once."""
    return torch.stack([module.interpolate(part, point_set(source), point_set(target)) for part in values])


def cloud(pos: Tensor, period: float | None = None) -> PointDomain:
    sides = None if period is None else torch.full((1, pos.shape[1]), period)
    return PointDomain(torch.zeros(len(pos), dtype=torch.long), 1, pos, period=sides)


def lattice(n: int, dim: int) -> Tensor:
    return torch.cartesian_prod(*[torch.arange(float(n)) / n] * dim).reshape(-1, dim)


CLOUDS = {
    "scattered": torch.rand(40, 2),
    "lattice": lattice(6, 2),
    "in space": torch.rand(40, 3),
    "a line": torch.rand(20, 1),
    "some of them twice": torch.rand(20, 2).repeat(2, 1),
    "all of them one": torch.zeros(9, 2),
    "two": torch.rand(2, 2),
}


@pytest.mark.parametrize("period", [None, 1.0])
@pytest.mark.parametrize("pos", CLOUDS.values(), ids=CLOUDS)
def test_renumbering_renumbers_measure_and_edges(pos: Tensor, period: float | None) -> None:
    order = torch.randperm(len(pos))
    once, moved = cloud(pos, period), cloud(pos[order], period)
    torch.testing.assert_close(moved.measure, once.measure[order])
    joined = {tuple(edge) for edge in once.edges.index.T.tolist()}
    assert {(order[a].item(), order[b].item()) for a, b in moved.edges.index.T.tolist()} == joined
    assert {(b, a) for a, b in joined} == joined
    assert bool((once.measure >= 0).all())
    assert once.measure.sum() > 0


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_measure_of_a_periodic_box_is_about_its_volume(dim: int) -> None:
    even = cloud(lattice({1: 32, 2: 12, 3: 6}[dim], dim), 1.0).measure
    torch.testing.assert_close(even, torch.full_like(even, 1 / len(even)), rtol=0.35, atol=0)
    assert cloud(torch.rand(400, dim), 1.0).measure.sum().item() == pytest.approx(1, rel=0.35)


def test_the_measure_follows_the_density_in_the_plane_and_on_a_surface_in_space() -> None:
    x, y = torch.rand(2, 1500, generator=torch.Generator().manual_seed(0))
    plane = torch.stack([x.square(), y], 1)  # the density falls from one side to the other
    cylinder = torch.stack([plane[:, 0].sin(), plane[:, 0].cos(), y], 1)
    for pos in (plane, cylinder):
        measure = cloud(pos).measure
        halves = [measure[(plane[:, 0] < 0.5)], measure[(plane[:, 0] >= 0.5)]]
        assert (halves[0].sum() / halves[1].sum()).item() == pytest.approx(1, rel=0.3)


def test_some_samples_of_a_batch_are_as_if_they_were_alone() -> None:
    sizes, batch = (7, 1, 12), torch.tensor([0] * 7 + [1] + [2] * 12)
    order = torch.randperm(20)
    pos = torch.rand(20, 2)
    whole = PointDomain(batch[order], 3, pos[order])
    part = whole.select(torch.tensor([0, 2]))
    assert isinstance(part, PointDomain)
    torch.testing.assert_close(part.measure, PointDomain(part.batch, 2, part.pos).measure)
    assert part.edges.index.shape[1] == sum(
        neighbourhood_of(point_set(pos[batch == i])).edges.shape[1] for i in (0, 2)
    )
    assert whole.edges.index.shape[1] == part.edges.index.shape[1]  # one point alone has none
    assert sizes == tuple(whole.batch.bincount().tolist())


def test_a_geometry_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built, build = [], module._neighbourhood
    monkeypatch.setattr(module, "_neighbourhood", lambda points: built.append(1) or build(points))
    pos, batch = torch.rand(30, 2), torch.arange(3).repeat_interleave(30)
    for _ in range(2):
        part = PointDomain(batch, 3, pos.repeat(3, 1)).select(torch.tensor([1]))
        assert part.edges.index.shape[0] == 2
    assert built == [1]


def test_points_without_coordinates_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^expected the coordinates of the points, got none; try pos="):
        PointDomain.of(torch.zeros(3, 1), {})
    assert GraphDomain.of(torch.zeros(3, 1), {}).measure is None


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_interpolation_reproduces_nodes_and_constants(dim: int) -> None:
    source = torch.rand(20, dim, dtype=torch.float64)
    values = torch.randn(2, 20, 3, dtype=torch.float64)
    order = torch.randperm(20)[:7]
    torch.testing.assert_close(interpolate(values, source, source[order]), values[:, order])
    elsewhere = torch.rand(9, dim, dtype=torch.float64)
    ones = interpolate(torch.ones_like(values), source, elsewhere)
    torch.testing.assert_close(ones, torch.ones(2, 9, 3, dtype=torch.float64))


def test_interpolation_stays_between_its_neighbours_and_is_linear_in_the_values() -> None:
    source, target = torch.rand(30, 2), torch.rand(11, 2)
    a, b = torch.randn(2, 1, 30, 2)
    there = interpolate(a, source, target)
    assert there.min() >= a.min()
    assert there.max() <= a.max()
    both = interpolate(2 * a - b, source, target)
    torch.testing.assert_close(both, 2 * there - interpolate(b, source, target), rtol=1e-4, atol=1e-5)


def test_interpolation_works_with_fewer_points_than_neighbours_and_in_float32() -> None:
    one = interpolate(torch.tensor([[[3.0]]]), torch.zeros(1, 2), torch.rand(4, 2))
    assert one.dtype == torch.float32
    assert torch.equal(one, torch.full((1, 4, 1), 3.0))


def test_a_coinciding_target_takes_that_value_alone_with_a_gradient_to_it_alone() -> None:
    source = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    values = torch.tensor([[[1.0], [5.0], [9.0], [2.0]]], requires_grad=True)
    at_one = interpolate(values, source, torch.tensor([[1.0]]))
    assert at_one.item() == 5.0
    (gradient,) = torch.autograd.grad(at_one.sum(), values)
    assert gradient.flatten().tolist() == [0.0, 1.0, 0.0, 0.0]


def test_points_of_another_geometry_teach() -> None:
    with pytest.raises(ValueError, match=r"^expected points in 2 dimensions, got 3; try source and target"):
        interpolate(torch.ones(1, 4, 1), torch.rand(4, 2), torch.rand(5, 3))
