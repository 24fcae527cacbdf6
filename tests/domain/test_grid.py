"""Means and norms on grids are integrals; resampling keeps what linear interpolation can keep."""

import math

import pytest
import torch
from torch import Tensor

from neuralop_irno.domain.grid import GridDomain, resample

SHAPES = [(1,), (8,), (7, 4), (3, 1, 5)]


def wave(*shape: int) -> Tensor:
    """3 + sin(x_1) .. sin(x_d) on a periodic grid, (1, 1, *S)."""
    field = torch.ones(1, 1, *shape, dtype=torch.float64)
    for axis, n in enumerate(shape, start=2):
        sine = torch.sin(torch.arange(n, dtype=torch.float64) * (2 * math.pi / n))
        field = field * sine.reshape(-1, *[1] * (field.dim() - axis - 1))
    return 3 + field


@pytest.mark.parametrize("shape", [(4,), (5,), (16, 9), (4, 6, 5)])
def test_mean_and_norm_are_the_integrals_of_a_known_function_on_every_grid(shape: tuple[int, ...]) -> None:
    field = wave(*shape)
    domain = GridDomain.of(field)
    assert (domain.samples, domain.shape) == (1, shape)
    assert domain.mean(field).item() == pytest.approx(3, abs=1e-14)
    assert domain.norm(field).item() == pytest.approx(math.sqrt(9 + 0.5 ** len(shape)), rel=1e-14)
    assert domain.inner(field, field - 3).item() == pytest.approx(0.5 ** len(shape), rel=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
def test_norm_and_inner_product_obey_their_axioms(shape: tuple[int, ...]) -> None:
    a, b, c = torch.randn(3, 4, 2, *shape, dtype=torch.float64)
    domain = GridDomain.of(a)
    scale = torch.tensor([2.0, -0.5, 0.0, 3.0], dtype=torch.float64)
    scaled = domain.spread(scale, a) * a
    torch.testing.assert_close(domain.inner(scaled + b, c), scale * domain.inner(a, c) + domain.inner(b, c))
    torch.testing.assert_close(domain.inner(a, b), domain.inner(b, a))
    torch.testing.assert_close(domain.norm(scaled), scale.abs() * domain.norm(a))
    assert (domain.inner(a, b).abs() <= domain.norm(a) * domain.norm(b) * (1 + 1e-12)).all()
    assert (domain.norm(a + b) <= (domain.norm(a) + domain.norm(b)) * (1 + 1e-12)).all()


def test_copying_channels_or_cells_changes_no_mean() -> None:
    field = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    norm = GridDomain.of(field).norm(field)
    wider, finer = field.repeat(1, 2, 1, 1), field.repeat_interleave(3, 2).repeat_interleave(2, 3)
    for other in (wider, finer):
        torch.testing.assert_close(GridDomain.of(other).norm(other), norm)


@pytest.mark.parametrize("shape", SHAPES)
def test_taking_samples_and_putting_them_back(shape: tuple[int, ...]) -> None:
    field = torch.randn(5, 2, *shape)
    domain, keep = GridDomain.of(field), torch.tensor([1, 4])
    part, values = domain.take(field, keep), torch.randn(2, 2, *shape)
    assert torch.equal(part, field[[1, 4]])
    assert torch.equal(domain.put(field, keep, part), field)
    before = field.clone()
    changed = domain.put(field, keep, values)
    assert torch.equal(field, before)
    assert torch.equal(domain.take(changed, keep), values)
    assert torch.equal(changed[[0, 2, 3]], field[[0, 2, 3]])
    chosen = domain.select(keep)
    assert (chosen.samples, chosen.shape) == (2, shape)
    assert torch.equal(chosen.mean(part), domain.mean(field)[keep])
    scale = torch.tensor([2.0, 3.0])
    assert torch.equal(chosen.spread(scale, part) * part, torch.stack([2 * field[1], 3 * field[4]]))


def test_nobody_kept_is_a_domain_too() -> None:
    field = torch.randn(3, 1, 4)
    nobody = torch.zeros(0, dtype=torch.long)
    domain = GridDomain.of(field).select(nobody)
    assert domain.mean(GridDomain.of(field).take(field, nobody)).shape == (0,)


@pytest.mark.parametrize("new", [(5, 9), (7, 3), (13, 2), (1, 1)])
def test_open_axes_keep_linear_functions(new: tuple[int, int]) -> None:
    def plane(rows: int, columns: int) -> Tensor:
        x = torch.linspace(0, 1, rows, dtype=torch.float64)[:, None]
        y = torch.linspace(0, 1, columns, dtype=torch.float64)[None, :]
        return (1 + 2 * x - 3 * y + 4 * x * y)[None, None]

    carried = resample(plane(7, 5), new, [False, False])
    torch.testing.assert_close(carried, plane(*new), rtol=0, atol=1e-13)


@pytest.mark.parametrize("closed", [[True, True], [False, True], [False, False]])
def test_constants_stay_and_the_same_grid_changes_nothing(closed: list[bool]) -> None:
    field = torch.randn(2, 3, 6, 5)
    assert resample(field, (6, 5), closed) is field
    same = resample(torch.full((1, 1, 6, 5), 0.7), (4, 11), closed)
    torch.testing.assert_close(same, torch.full((1, 1, 4, 11), 0.7))
    assert resample(field, (3, 8), closed).shape == (2, 3, 3, 8)


@pytest.mark.parametrize("n", [4, 7])
def test_a_periodic_axis_refined_and_coarsened_again_is_the_identity(n: int) -> None:
    field = torch.randn(1, 2, n, dtype=torch.float64)
    fine = resample(field, [3 * n], [True])
    assert torch.equal(fine[..., ::3], field)
    assert torch.equal(resample(fine, [n], [True]), field)
    torch.testing.assert_close(fine[..., -1], field[..., -1] / 3 + field[..., 0] * 2 / 3)


def test_a_smooth_wave_is_carried_to_second_order() -> None:
    def error(n: int) -> float:
        return (resample(wave(n), [3 * n], [True]) - wave(3 * n)).abs().max().item()

    assert error(16) / error(32) == pytest.approx(4, rel=0.1)


def test_carrying_commutes_with_shifts_of_the_coarse_grid() -> None:
    field = torch.randn(1, 1, 5, dtype=torch.float64)
    there = resample(field.roll(2, -1), [20], [True])
    torch.testing.assert_close(there, resample(field, [20], [True]).roll(8, -1))


def test_a_grid_of_one_cell_becomes_a_constant() -> None:
    for closed in (True, False):
        assert torch.equal(resample(torch.tensor([[[2.5]]]), [3], [closed]), torch.full((1, 1, 3), 2.5))


def test_gradients_pass_through_the_resampling() -> None:
    field = torch.randn(1, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: resample(f, (5, 3), [True, False]), field)


def latitudes(rows: int) -> Tensor:
    edges = torch.linspace(-math.pi / 2, math.pi / 2, rows + 1, dtype=torch.float64)
    return (edges[1:] + edges[:-1])[:, None].div(2).cos()


@pytest.mark.parametrize("measure", [latitudes(6), torch.rand(4, 6, 1).double(), torch.rand(6, 5).double()])
def test_a_measure_weighs_means_and_norms(measure: Tensor) -> None:
    field = torch.randn(4, 2, 6, 5, dtype=torch.float64)
    domain = GridDomain.of(field, measure=measure)
    weights = torch.broadcast_to(measure, (4, 6, 5))[:, None]
    expected = (weights * field).sum((1, 2, 3)) / (2 * weights.sum((1, 2, 3)))
    torch.testing.assert_close(domain.mean(field), expected)
    constant = torch.full_like(field, -0.7)
    torch.testing.assert_close(domain.norm(constant), torch.full((4,), 0.7, dtype=torch.float64))
    keep = torch.tensor([1, 3])
    torch.testing.assert_close(domain.select(keep).norm(field[keep]), domain.norm(field)[keep])
    finer = domain.with_shape((12, 5)) if measure.shape[-1] == 1 else domain.with_shape((12, 10))
    constant = torch.full((4, 2, *finer.shape), -0.7, dtype=torch.float64)
    torch.testing.assert_close(finer.norm(constant), torch.full((4,), 0.7, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("measure", [None, latitudes(6)])
def test_norms_scale_with_the_field_alone_in_a_batch_and_under_vmap(
    dtype: torch.dtype, measure: Tensor | None
) -> None:
    """At every size that the precision has: beside samples of other sizes, zeros and infinities too."""
    field = torch.randn(1, 2, 6, 5, dtype=dtype)
    finfo = torch.finfo(dtype)
    steps = [0.0, *(float(finfo.tiny) ** (k / 4) for k in (3.5, 2, 1, 0)), float(finfo.max) ** 0.9]
    sizes = torch.tensor(steps, dtype=dtype)
    batch = sizes[:, None, None, None] * field
    domain = GridDomain.of(batch, measure=measure)
    found, unit = domain.norm(batch), GridDomain.of(field, measure=measure).norm(field)
    torch.testing.assert_close(found, sizes * unit)
    alone = GridDomain.of(field, measure=measure)
    for size, norm in zip(sizes, found, strict=True):
        torch.testing.assert_close(alone.norm(size * field)[0], norm)
    torch.testing.assert_close(torch.vmap(alone.norm)(batch[:, None])[:, 0], found)
    batch[1] = torch.inf
    assert domain.norm(batch).isfinite().tolist() == [True, False, True, True, True, True]


def test_equal_cells_have_the_numbers_of_no_measure() -> None:
    field = torch.randn(2, 3, 6, 5)
    for value in (1.0, 4.0):
        equal = GridDomain.of(field, measure=torch.full((6, 1), value))
        torch.testing.assert_close(equal.norm(field), GridDomain.of(field).norm(field))


def test_the_cosine_of_the_latitude_is_the_area_on_a_sphere() -> None:
    rows = 64
    latitude = torch.asin(torch.linspace(-1, 1, 2001, dtype=torch.float64))  # by equal areas
    middle = (torch.arange(rows, dtype=torch.float64) + 0.5) / rows * math.pi - math.pi / 2
    field = middle.cos().square()[:, None].expand(1, 1, rows, 8)
    found = GridDomain.of(field, measure=latitudes(rows)).mean(field).item()
    assert found == pytest.approx(latitude.cos().square().mean().item(), rel=2e-3)
    assert GridDomain.of(field).mean(field).item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    "lengths",
    [
        (2.0, 1.0), [2, 1], torch.tensor([2.0, 1.0]), torch.tensor([[2.0, 1.0]] * 3),
        [torch.tensor([2.0] * 3), torch.tensor([1.0] * 3)],  # as tuples are collated
    ],
)  # fmt: skip
def test_lengths_of_a_batch(lengths: object) -> None:
    field = torch.zeros(3, 1, 4, 2)
    domain = GridDomain.of_sample(field, {"lengths": lengths, "other": 1})
    assert domain.lengths == (2.0, 1.0)
    assert domain.select(torch.tensor([0])).lengths == domain.with_shape((8, 4)).lengths == (2.0, 1.0)
    assert "in a box of 2 x 1" in repr(domain)
    one = GridDomain.of_sample(torch.zeros(3, 1, 4), {"lengths": torch.tensor([0.5] * 3)})
    assert one.lengths == (0.5,)


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"lengths": torch.tensor([[2.0, 1.0], [2.0, 1.0], [3.0, 1.0]])}, "one box for all samples"),
        ({"lengths": (1.0,)}, "lengths > 0 of the 2 sides"),
        ({"lengths": (1.0, 0.0)}, "lengths > 0 of the 2 sides"),
        ({"lengths": "wide"}, "lengths of the 2 sides"),
        ({"measure": torch.ones(2, 1)}, r"a measure that broadcasts with \(4, 2\) or \(3, 4, 2\)"),
        ({"measure": torch.tensor([[1.0], [-1.0], [1.0], [1.0]])}, "a measure >= 0"),
        ({"measure": torch.zeros(4, 1)}, "a measure >= 0"),
    ],
)
def test_what_is_no_box_and_no_measure_is_refused(known: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GridDomain.of_sample(torch.zeros(3, 1, 4, 2), known)
    with pytest.raises(TypeError, match="a measure as a tensor of real numbers"):
        GridDomain(1, (2,), measure=torch.ones(2).long())
