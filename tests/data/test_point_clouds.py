"""Points without a mesh: what they stand for adds up, and a torus has no seam."""

import pytest
import torch
from torch import Tensor

from neuralop_irno.data.point_clouds import PointCloud


def scattered(count: int, dim: int = 2, seed: int = 0) -> Tensor:
    return torch.rand(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("count", "dim"), [(5, 2), (40, 2), (400, 2), (60, 3)])
def test_measures_of_a_torus_add_up_to_its_box(count: int, dim: int) -> None:
    lengths = (2.0, 0.5, 1.5)[:dim]
    pos = scattered(count, dim) * torch.tensor(lengths, dtype=torch.float64)
    cloud = PointCloud(pos, lengths)
    assert float(cloud.measure.sum()) == pytest.approx(float(torch.tensor(lengths).prod()), rel=1e-6)
    assert (cloud.measure > 0).all()


def test_edges_go_both_ways_to_others_and_obey_eulers_formula() -> None:
    cloud = PointCloud(scattered(200), (1.0, 1.0))
    edges = {(int(a), int(b)) for a, b in cloud.edge_index.T}
    assert edges == {(b, a) for a, b in edges}
    assert all(a != b for a, b in edges)
    assert len(edges) == 6 * 200  # on a torus V - E + T = 0, and 3 T = 2 E


def test_on_a_torus_it_does_not_matter_where_the_box_begins() -> None:
    pos = scattered(150)
    cloud, moved = (PointCloud(p, (1.0, 1.0)) for p in (pos, (pos + torch.tensor([0.37, 0.81])) % 1))
    torch.testing.assert_close(moved.measure, cloud.measure, rtol=0, atol=1e-6)
    assert torch.equal(moved.edge_index, cloud.edge_index)


def test_points_of_a_regular_grid_all_stand_for_the_same_on_average() -> None:
    ticks = torch.arange(8, dtype=torch.float64) / 8
    cloud = PointCloud(torch.cartesian_prod(ticks, ticks), (1.0, 1.0))
    assert float(cloud.measure.sum()) == pytest.approx(1)
    assert cloud.edge_index.shape[1] == 6 * 64  # whichever diagonals were taken, both sides agree


def test_an_open_domain_is_filled_to_its_hull() -> None:
    corners = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 2.0], [3.0, 2.0]], dtype=torch.float64)
    pos = torch.cat([corners, scattered(60) * torch.tensor([3.0, 2.0])])
    cloud = PointCloud(pos)
    assert float(cloud.measure.sum()) == pytest.approx(6)
    along = cloud.measure @ (2 * pos[:, 0] - pos[:, 1])  # linear functions are integrated exactly
    assert float(along) == pytest.approx(6 * (2 * 1.5 - 1.0))


@pytest.mark.parametrize(
    ("pos", "period", "message"),
    [
        (torch.zeros(5), None, r"points \(N, d\), more than d of them, got \(5,\); try pos=torch.rand"),
        (torch.zeros(2, 2), None, r"points \(N, d\), more than d of them, got \(2, 2\)"),
        (torch.rand(9, 2), (1.0,), r"a period of 2 lengths, got \(1.0,\); try one for each axis"),
    ],
)
def test_points_and_periods_that_do_not_fit_teach(
    pos: Tensor, period: tuple[float] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^expected {message}"):
        PointCloud(pos, period)
