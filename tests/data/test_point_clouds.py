"""Points without a mesh: what they stand for adds up, and a torus has no seam."""

import math

import pytest
import torch
from torch import Tensor

from neuralop_irno.data.point_clouds import PointCloud, torus_neighbourhood


def scattered(count: int, dim: int = 2, seed: int = 0) -> Tensor:
    return torch.rand(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("count", "dim"), [(5, 2), (40, 2), (400, 2), (60, 3)])
def test_measures_of_a_torus_add_up_to_its_box(count: int, dim: int) -> None:
    lengths = (2.0, 0.5, 1.5)[:dim]
    pos = scattered(count, dim) * torch.tensor(lengths, dtype=torch.float64)
    _, measure = torus_neighbourhood(pos, lengths)
    assert float(measure.sum()) == pytest.approx(math.prod(lengths), rel=1e-6)
    assert (measure > 0).all()


def test_edges_go_both_ways_to_others_and_obey_eulers_formula() -> None:
    edge_index, _ = torus_neighbourhood(scattered(200), (1.0, 1.0))
    edges = {(int(a), int(b)) for a, b in edge_index.T}
    assert edges == {(b, a) for a, b in edges}
    assert all(a != b for a, b in edges)
    assert len(edges) == 6 * 200  # on a torus V - E + T = 0, and 3 T = 2 E


def test_on_a_torus_it_does_not_matter_where_the_box_begins() -> None:
    pos = scattered(150)
    here = torus_neighbourhood(pos, (1.0, 1.0))
    moved = torus_neighbourhood((pos + torch.tensor([0.37, 0.81])) % 1, (1.0, 1.0))
    torch.testing.assert_close(moved.measure, here.measure, rtol=0, atol=1e-6)
    assert torch.equal(moved.edge_index, here.edge_index)


def test_a_regular_grid_is_triangulated_the_same_way_on_both_sides_of_the_seam() -> None:
    ticks = torch.arange(8, dtype=torch.float64) / 8
    edges, measure = torus_neighbourhood(torch.cartesian_prod(ticks, ticks), (1.0, 1.0))
    assert float(measure.sum()) == pytest.approx(1)
    assert edges.shape[1] == 6 * 64  # whichever diagonals were taken


def test_only_what_is_closed_has_a_neighbourhood_and_it_is_found_once() -> None:
    cloud = PointCloud(scattered(20), (1.0, 1.0))
    assert cloud.neighbourhood is cloud.neighbourhood
    assert PointCloud(scattered(20)).neighbourhood is None


@pytest.mark.parametrize(
    ("pos", "period", "message"),
    [
        (torch.zeros(5), None, r"points \(N, d\), more than d of them, got \(5,\); try pos=torch.rand"),
        (torch.zeros(2, 2), None, r"points \(N, d\), more than d of them, got \(2, 2\)"),
        (torch.rand(9, 2), (1.0,), r"a period of 2 lengths, got \(1.0,\); try one length per axis"),
    ],
)
def test_points_and_periods_that_do_not_fit_teach(
    pos: Tensor, period: tuple[float] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^expected {message}"):
        PointCloud(pos, period)
