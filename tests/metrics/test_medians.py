"""RIGNO's errors: of quantities that may be vectors, and their medians over samples. Quantiles."""

import pytest
import torch

from neuralop_irno.metrics import errors_of_quantities, summarise_medians
from neuralop_irno.quantiles import quantile


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("shape", [(3, 4, 20), (3, 4, 5, 20), (3, 4, 6, 7)])
def test_a_quantity_is_all_that_belongs_to_it(order: int, shape: tuple[int, ...]) -> None:
    prediction, target = torch.randn(2, *shape, dtype=torch.float64)
    scores = errors_of_quantities(prediction, target, (0, 1, 1, 2), order)
    assert scores.shape == (3, 3)
    for sample in range(3):
        for quantity, own in enumerate(([0], [1, 2], [3])):
            error, truth = (
                torch.linalg.vector_norm(f[sample, own], order) for f in (prediction - target, target)
            )
            torch.testing.assert_close(scores[sample, quantity], error / (truth + 1e-10))


def test_every_field_is_a_quantity_by_default() -> None:
    prediction, target = torch.randn(2, 3, 2, 9, dtype=torch.float64)
    torch.testing.assert_close(errors_of_quantities(1.5 * target, target), torch.full((3, 2), 0.5).double())
    torch.testing.assert_close(
        errors_of_quantities(prediction, target), errors_of_quantities(prediction, target, (0, 1))
    )
    assert errors_of_quantities(prediction, 0 * target).isfinite().all()  # thanks to the floor


def test_the_order_of_the_fields_does_not_matter() -> None:
    prediction, target = torch.randn(2, 3, 3, 9, dtype=torch.float64)
    other = [2, 0, 1]
    torch.testing.assert_close(
        errors_of_quantities(prediction[:, other], target[:, other], (0, 1, 0)),
        errors_of_quantities(prediction, target, (1, 0, 0)),
    )


@pytest.mark.parametrize("samples", [1, 4, 5])
def test_medians_are_over_samples_and_means_over_quantities(samples: int) -> None:
    scores = torch.rand(samples, 2, dtype=torch.float64)
    expected = 100 * scores.quantile(0.5, dim=0).mean().item()
    summary = summarise_medians(scores)
    assert summary.mean == pytest.approx(expected)
    assert (summary.count, summary.not_finite) == (2 * samples, 0)
    wild = scores.clone()
    wild[scores.argmax(0), [0, 1]] = 1e9  # which no median notices, unless it is one of two in the middle
    if samples > 2:
        assert summarise_medians(wild).mean == pytest.approx(expected)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_a_quantile_is_that_of_the_numbers_that_are_there(share: float, dim: int) -> None:
    values = torch.randn(4, 6, 5, dtype=torch.float64)
    values[values.argmax(0), 0, 0], values[:, :, 3] = torch.nan, torch.nan
    found = quantile(values, share, dim)
    torch.testing.assert_close(found, values.nanquantile(share, dim), equal_nan=True)
    infinite = quantile(values.nan_to_num(torch.inf), share, dim)  # of which no two give nan
    assert not infinite.isnan().any()
    assert quantile(values[:0], share).isnan().all()


def test_samples_that_blew_up_are_counted_and_worse_than_any() -> None:
    nan, inf = float("nan"), float("inf")
    scores = torch.tensor([[0.1, 0.2], [0.3, nan], [0.2, 0.4], [inf, 0.3], [0.4, 0.1]])
    summary = summarise_medians(scores)
    assert summary.mean == pytest.approx(100 * (0.3 + 0.3) / 2)
    assert str(summary) == "30.0000 (2 of 10 not finite)"
    most = summarise_medians(torch.tensor([[0.1], [nan], [nan]]))
    assert most.mean == inf  # of three samples, two are lost
    assert most.not_finite == 2


def test_what_does_not_fit_teaches() -> None:
    field = torch.zeros(2, 3, 4)
    for groups in ((0, 1), (0, 0, 2), (1, 1, 2)):
        with pytest.raises(
            ValueError, match=r"^expected 3 numbers of quantities, from 0 on without a gap, got"
        ):
            errors_of_quantities(field, field, groups)
    with pytest.raises(ValueError, match=r"^expected order 1 or 2, got 3; try order=1"):
        errors_of_quantities(field, field, order=3)
    with pytest.raises(ValueError, match=r"^expected scores \(samples, quantities\), got \(3,\); try"):
        summarise_medians(torch.zeros(3))
