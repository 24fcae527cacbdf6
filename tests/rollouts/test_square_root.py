"""The square-root update against Kalman's formulas, written out."""

import pytest
import torch
from torch import Tensor

from neuralop_irno.assimilation.spreading import circles, grid_points
from neuralop_irno.assimilation.square_root import analysis, relaxed, taper

N, NOISE = 7, 0.6
OBSERVED = torch.tensor([4, 0, 5])
VALUES = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
ONES = torch.ones(N, len(OBSERVED), dtype=torch.float64)


def ensemble(members: int, n: int = N) -> Tensor:
    """Members with correlated values."""
    generator = torch.Generator().manual_seed(members)
    mixing = torch.randn(n, n, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return torch.randn(members, n, generator=generator, dtype=torch.float64) @ mixing + torch.arange(n)


def kalman(mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance after the observation, by the textbook."""
    h = torch.eye(N, dtype=torch.float64)[OBSERVED]
    gain = covariance @ h.T @ torch.linalg.inv(h @ covariance @ h.T + NOISE**2 * torch.eye(len(h)).double())
    return mean + gain @ (VALUES - h @ mean), (torch.eye(N).double() - gain @ h) @ covariance


@pytest.mark.parametrize("members", [2, 4, 30])
def test_mean_and_covariance_are_kalmans_of_the_sample_covariance(members: int) -> None:
    before = ensemble(members)
    after = analysis(before, OBSERVED, VALUES, NOISE, ONES)
    mean, covariance = kalman(before.mean(0), before.T.cov())
    torch.testing.assert_close(after.mean(0), mean, rtol=0, atol=1e-11)
    torch.testing.assert_close(after.T.cov(), covariance, rtol=0, atol=1e-11)


def test_many_members_of_a_gaussian_come_to_its_kalman_update() -> None:
    mixing = torch.randn(N, N, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mean, covariance = kalman(torch.arange(N).double(), mixing.T @ mixing)
    errors = []
    for members in (300, 30_000):
        after = analysis(ensemble(members), OBSERVED, VALUES, NOISE, ONES)
        errors.append([(after.mean(0) - mean).norm(), (after.T.cov() - covariance).norm()])
    few, many = torch.tensor(errors)
    assert many.norm() < 0.25 * few.norm()  # a hundred times more of them: a tenth of the error, give or take
    assert (many < 0.05 * torch.tensor([mean.norm(), covariance.norm()])).all()


def test_observations_one_after_the_other_say_what_they_say_at_once() -> None:
    """Without a taper. Members may differ by a rotation: mean and covariance are the same."""
    before = ensemble(12)
    at_once = analysis(before, OBSERVED, VALUES, NOISE, ONES)
    in_turn = before
    for place, value in zip(OBSERVED, VALUES, strict=True):
        in_turn = analysis(in_turn, place[None], value[None], NOISE, ONES[:, :1])
    torch.testing.assert_close(in_turn.mean(0), at_once.mean(0), rtol=0, atol=1e-11)
    torch.testing.assert_close(in_turn.T.cov(), at_once.T.cov(), rtol=0, atol=1e-11)


def test_neither_the_order_of_members_nor_that_of_observations_matters() -> None:
    before, weights = ensemble(9), torch.rand(N, len(OBSERVED)).double()
    weights[OBSERVED] = torch.eye(3).double()
    after = analysis(before, OBSERVED, VALUES, NOISE, weights)
    members, places = torch.randperm(9), torch.tensor([2, 0, 1])
    shuffled = analysis(before[members], OBSERVED[places], VALUES[places], NOISE, weights[:, places])
    torch.testing.assert_close(shuffled, after[members], rtol=0, atol=1e-12)


def test_hardly_any_noise_replaces_what_the_members_can_reach() -> None:
    """All of it where they span the space; of fewer, no combination comes any closer."""
    everywhere, told = torch.arange(N), torch.randn(N).double()
    whole = torch.ones(N, N, dtype=torch.float64)
    after = analysis(ensemble(20), everywhere, told, 1e-4, whole)
    torch.testing.assert_close(after, told.expand(20, N), rtol=0, atol=1e-2)
    torch.testing.assert_close(after.mean(0), told, rtol=0, atol=1e-5)
    few = ensemble(4)
    left = told - analysis(few, everywhere, told, 1e-4, whole).mean(0)
    assert left.norm() > 0.1
    torch.testing.assert_close((few - few.mean(0)) @ left, torch.zeros(4).double(), rtol=0, atol=1e-5)


def test_a_taper_is_a_covariance_on_every_torus() -> None:
    """Whatever the radius, in as many dimensions as the circles of the torus need."""
    for shape in [(40,), (8, 9), (4, 5, 4)]:
        sides, closed = [1.0] * len(shape), [True] * len(shape)
        points = circles(grid_points(shape, sides, closed), sides, closed)
        distance = torch.cdist(points, points)
        for radius in (0.1, 0.3, 0.5, 2.0):
            matrix = taper(distance, radius, points.shape[1])
            assert torch.linalg.eigvalsh(matrix).min() > -1e-9
            torch.testing.assert_close(
                matrix.diagonal(), torch.ones(len(matrix)).double(), rtol=0, atol=1e-12
            )
            assert (matrix[distance >= radius] == 0).all()


def test_relaxation_gives_the_spread_back_and_moves_no_mean() -> None:
    before = ensemble(8)
    after = analysis(before, OBSERVED, VALUES, NOISE, ONES)
    for share in (0.0, 0.4, 1.0):
        found = relaxed(before, after, share)
        torch.testing.assert_close(found.mean(0), after.mean(0), rtol=0, atol=1e-12)
        wanted = torch.lerp(after.std(0), before.std(0), share)
        torch.testing.assert_close(found.std(0), wanted, rtol=0, atol=1e-12)
    alike = torch.ones(3, N).double()
    assert torch.equal(relaxed(alike, alike, 0.5), alike)


def test_what_is_tapered_to_nothing_is_untouched() -> None:
    weights = ONES.clone()
    weights[[1, 2, 3, 6]] = 0
    weights[OBSERVED] = torch.eye(3).double()
    before = ensemble(5)
    after = analysis(before, OBSERVED, VALUES, NOISE, weights)
    torch.testing.assert_close(after[:, [1, 2, 3, 6]], before[:, [1, 2, 3, 6]], rtol=0, atol=1e-14)
    # Each observed value by itself: Kalman's update of one number.
    variance = before.var(0)[OBSERVED]
    wanted = before.mean(0)[OBSERVED] + variance / (variance + NOISE**2) * (VALUES - before.mean(0)[OBSERVED])
    torch.testing.assert_close(after.mean(0)[OBSERVED], wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        after.std(0)[OBSERVED], variance.sqrt() * NOISE / (variance + NOISE**2).sqrt(), rtol=0, atol=1e-12
    )
