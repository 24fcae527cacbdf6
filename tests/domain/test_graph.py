"""Means and norms on points weigh by measure, per graph; interpolation reproduces what it is given."""

import math

import pytest
import torch
from torch import Tensor

from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain


def intervals(n: int, samples: int = 1) -> tuple[GraphDomain, Tensor]:
    """Uneven cells of [0, 1] and their midpoints, the same for each sample."""
    edges = torch.linspace(0, 1, n + 1, dtype=torch.float64) ** 2
    measure, middle = edges.diff(), (edges[1:] + edges[:-1]) / 2
    batch = torch.arange(samples).repeat_interleave(n)
    pos = middle[:, None].repeat(samples, 1)
    return GraphDomain(batch, samples, pos=pos, measure=measure.repeat(samples)), pos


def test_the_mean_of_a_linear_function_is_exact_on_uneven_cells() -> None:
    domain, pos = intervals(13)
    torch.testing.assert_close(domain.mean(4 * pos + 1), torch.tensor([3.0]).double())  # the midpoint rule
    both = torch.cat([4 * pos + 1, torch.ones_like(pos)], 1)  # channels share the mean
    torch.testing.assert_close(domain.mean(both), torch.tensor([2.0]).double())


def test_a_finer_mesh_has_the_same_norm() -> None:
    def norm(n: int) -> float:
        domain, pos = intervals(n)
        return domain.norm(torch.sin(math.pi * pos)).item()

    assert norm(40) == pytest.approx(math.sqrt(0.5), rel=2e-3)
    assert abs(norm(80) - math.sqrt(0.5)) < 0.3 * abs(norm(40) - math.sqrt(0.5))


def test_splitting_nodes_with_their_measure_changes_nothing() -> None:
    domain, _ = intervals(5, samples=2)
    field = torch.randn(10, 3, dtype=torch.float64)
    assert domain.measure is not None
    split = GraphDomain(
        domain.batch.repeat_interleave(2), 2, measure=(domain.measure / 2).repeat_interleave(2)
    )
    torch.testing.assert_close(split.norm(field.repeat_interleave(2, 0)), domain.norm(field))


def test_without_a_measure_every_node_weighs_the_same_whatever_the_size_of_its_graph() -> None:
    batch = torch.tensor([0, 1, 1, 1])
    field = torch.tensor([[4.0], [1.0], [2.0], [6.0]])
    domain = GraphDomain(batch, 2)
    assert domain.mean(field).tolist() == [4.0, 3.0]
    scaled = GraphDomain(batch, 2, measure=torch.tensor([5.0, 0.1, 0.1, 0.1]))  # only ratios count
    torch.testing.assert_close(scaled.mean(field), domain.mean(field))


def test_a_grid_given_as_points_has_the_grids_norms() -> None:
    field, other = torch.randn(2, 3, 2, 4, 5, dtype=torch.float64)
    grid, points = GridDomain.of(field), GraphDomain(torch.arange(3).repeat_interleave(20), 3)

    def nodes(field: Tensor) -> Tensor:
        return field.flatten(2).movedim(1, 2).flatten(0, 1)

    torch.testing.assert_close(points.norm(nodes(field)), grid.norm(field))
    torch.testing.assert_close(
        points.inner(nodes(field), nodes(other)), grid.inner(field, other), rtol=0, atol=1e-14
    )


def test_taking_graphs_and_putting_them_back() -> None:
    batch = torch.tensor([2, 0, 1, 2, 0, 2])  # nodes in no order
    pos, measure = torch.rand(6, 2), torch.rand(6)
    domain = GraphDomain(batch, 3, pos=pos, measure=measure)
    field, keep = torch.randn(6, 4), torch.tensor([0, 2])
    part, rows = domain.take(field, keep), [0, 1, 3, 4, 5]
    assert torch.equal(part, field[rows])
    assert torch.equal(domain.put(field, keep, part), field)
    before = field.clone()
    changed = domain.put(field, keep, -part)
    assert torch.equal(field, before)
    assert torch.equal(changed[2], field[2])
    assert torch.equal(domain.take(changed, keep), -part)

    chosen = domain.select(keep)
    assert chosen.batch.tolist() == [1, 0, 1, 0, 1]
    assert chosen.pos is not None
    assert torch.equal(chosen.pos, pos[rows])
    torch.testing.assert_close(chosen.norm(part), domain.norm(field)[keep])
    scale = torch.tensor([10.0, 1.0, 0.1])
    torch.testing.assert_close(
        chosen.spread(scale[keep], part) * part, domain.take(domain.spread(scale, field) * field, keep)
    )


def test_a_graph_without_nodes_has_a_mean_of_zero() -> None:
    domain = GraphDomain(torch.tensor([0, 0]), 2)
    assert domain.mean(torch.ones(2, 1)).tolist() == [1.0, 0.0]
