"""Losses in a box of known lengths: waves of equal length weigh equally, in every box and on all cells."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from neuralop_irno import SobolevLoss, SpatialLoss, SpectralLoss, Trajectory
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.losses.loss import Loss
from neuralop_irno.spectrum.axes import AXES, cosine_transform, window
from neuralop_irno.spectrum.of_domain import spectrum_of

CPU = torch.device("cpu")
BOXES = [
    ((8,), (3.0,)), ((9,), (0.2,)),
    ((8, 6), (1.0, 1.0)), ((9, 4), (1.0, 2.5)), ((5, 7), (2.0, 0.3)), ((6, 1), (1.0, 0.01)),
    ((4, 6, 5), (1.0, 0.5, 3.0)), ((3, 4, 4), (0.1, 1.0, 1.0)),
]  # fmt: skip
LOSSES = {
    "complex": SpectralLoss("complex", 1.0, 1.7),
    "amplitude": SpectralLoss("amplitude", 1.0, 1.7),
    "bands": SpectralLoss("bands", 1.0, 1.7),
    "sobolev": SobolevLoss(-1.0),
    "sobolev 1": SobolevLoss(1.0),
}
every_loss = pytest.mark.parametrize("name", LOSSES)


def value(loss: Loss, h: Tensor, y: Tensor, lengths: tuple[float, ...] | None = None) -> float:
    trajectory = Trajectory((h,), (torch.ones(len(h)),), GridDomain.of(h, lengths))
    return loss.per_sample(trajectory, y).sum().item()


def naive(h: Tensor, y: Tensor, lengths: tuple[float, ...], name: str) -> float:
    """The formulas for one sample of one channel, wave by wave, with wavenumbers per unit of length."""
    dim, modes = h.dim(), itertools.product(*[range(n) for n in h.shape])
    a, b = torch.fft.fftn(h, norm="ortho"), torch.fft.fftn(y, norm="ortho")
    waves = [torch.fft.fftfreq(n, d=side / n).tolist() for n, side in zip(h.shape, lengths, strict=True)]
    nyquist = max(n / side / 2 for n, side in zip(h.shape, lengths, strict=True) if n > 1)
    cube = math.prod(lengths) ** (1 / dim)
    total, weights = 0.0, 0.0
    for place in modes:
        k = math.hypot(*[own[i] for own, i in zip(waves, place, strict=True)])
        difference = (a[place] - b[place]).abs() if name != "amplitude" else a[place].abs() - b[place].abs()
        rho = 1 + (k * cube) ** 2 if name == "sobolev 1" else 1 + (k / nyquist) ** 1.7
        rho = 1 / (1 + (k * cube) ** 2) if name == "sobolev" else rho
        total += rho * float(difference) ** 2
        weights += rho
    return total / (h.numel() if "sobolev" in name else weights)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "bands"])
@pytest.mark.parametrize(("shape", "lengths"), BOXES)
def test_the_formula_wave_by_wave(shape: tuple[int, ...], lengths: tuple[float, ...], name: str) -> None:
    h, y = torch.randn(2, 2, 1, *shape, dtype=torch.float64)
    formula = sum(naive(h[b, 0], y[b, 0], lengths, name) for b in range(2))
    assert value(LOSSES[name], h, y, lengths) == pytest.approx(formula, rel=1e-5)


@every_loss
def test_waves_of_equal_length_weigh_equally(name: str) -> None:
    """Along each axis of a box (3, 1) with cells of (3/48, 1/8): 6 waves and 2 of length 1/2."""
    x, y = torch.arange(48, dtype=torch.float64) / 48, torch.arange(8, dtype=torch.float64) / 8
    along_x = torch.cos(2 * math.pi * 6 * x)[:, None].expand(48, 8)[None, None]
    along_y = torch.cos(2 * math.pi * 2 * y).expand(48, 8)[None, None]
    zero = torch.zeros_like(along_x)
    found, other = (value(LOSSES[name], wave, zero, (3.0, 1.0)) for wave in (along_x, along_y))
    assert found == pytest.approx(other, rel=1e-5)
    blind, blind_other = (value(LOSSES[name], wave, zero) for wave in (along_x, along_y))
    assert blind != pytest.approx(blind_other, rel=1e-2)


@pytest.mark.parametrize("name", ["complex", "amplitude", "bands"])
def test_two_copies_of_an_oblong_box_on_a_square_have_its_loss(name: str) -> None:
    """But for the mean of rho, which is taken over the waves of either box, twice as many on the square."""
    h, y = torch.randn(2, 1, 2, 16, 8, dtype=torch.float64)
    sums = []
    for copies in (1, 2):
        side = (2.0, float(copies))
        both = [field.repeat(1, 1, 1, copies) for field in (h, y)]
        found = value(LOSSES[name], both[0], both[1], side)
        spectrum = spectrum_of(GridDomain.of(both[0], side), CPU)
        mean_rho = 1 + spectrum.mean_power(torch.tensor([1.7])).item()
        sums.append((found * (1 if name == "bands" else mean_rho), mean_rho))
    assert sums[0][0] == pytest.approx(sums[1][0], rel=1e-5)
    assert sums[0][1] == pytest.approx(sums[1][1], rel=0.02)


@every_loss
@pytest.mark.parametrize(("shape", "lengths"), BOXES)
def test_no_unit_of_length_and_no_order_of_axes_matters(
    shape: tuple[int, ...], lengths: tuple[float, ...], name: str
) -> None:
    h, y = torch.randn(2, 2, 1, *shape, dtype=torch.float64)
    found = value(LOSSES[name], h, y, lengths)
    scaled = tuple(1000 * side for side in lengths)
    assert value(LOSSES[name], h, y, scaled) == pytest.approx(found, rel=1e-5)
    turned = [field.permute(0, 1, *range(field.dim() - 1, 1, -1)) for field in (h, y)]
    assert value(LOSSES[name], turned[0], turned[1], lengths[::-1]) == pytest.approx(found, rel=1e-5)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("shape", "lengths"), [((9,), (0.3,)), ((8, 8), (0.7, 0.7)), ((6, 3), (0.2, 0.1)), ((5, 5, 5), (3, 3, 3))]
)
def test_cubic_cells_have_the_bits_of_unknown_lengths(
    shape: tuple[int, ...], lengths: tuple[float, ...], dtype: torch.dtype, name: str
) -> None:
    h, y = torch.randn(2, 2, 1, *shape, dtype=dtype)
    assert value(LOSSES[name], h, y, lengths) == value(LOSSES[name], h, y)


@pytest.mark.parametrize("shape", [(1,), (2,), (9,), (8, 5), (3, 4, 5)])
@pytest.mark.parametrize("axes", [("cosine",), ("fourier", "cosine"), ("cosine", "fourier"), ("windowed",)])
def test_energies_sum_to_the_mean_square(shape: tuple[int, ...], axes: tuple[str, ...]) -> None:
    kinds = tuple(itertools.islice(itertools.cycle(axes), len(shape)))
    field = torch.randn(2, 3, *shape, dtype=torch.float64)
    energy = spectrum_of(GridDomain.of(field), CPU, axes=kinds).energies(field).sum(-1)
    for axis, (n, kind) in enumerate(zip(shape, kinds, strict=True), start=2):
        if kind == "windowed":  # of the field times the window, which has mean square 1
            assert window(n).square().mean().item() == pytest.approx(1)
            field = field * window(n).reshape(-1, *[1] * (field.dim() - axis - 1))
    torch.testing.assert_close(energy, field.flatten(2).square().mean(-1))


@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_a_cosine_has_one_line_at_its_frequency(count: int) -> None:
    place = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    spectrum = spectrum_of(GridDomain(1, (count,)), CPU, axes="cosine")
    for k in range(count):
        energies = spectrum.energies(torch.cos(math.pi * k * place)[None, None]).squeeze((0, 1))
        assert energies[k].item() == pytest.approx(1.0 if k == 0 else 0.5, rel=1e-6)
        assert energies.sum().item() == pytest.approx(energies[k].item(), rel=1e-6)
        assert spectrum.frequency[k].item() == pytest.approx(k / count)  # k / 2 waves, of count / 2


def test_the_transform_is_orthonormal() -> None:
    for count in (1, 2, 5, 8):
        basis = cosine_transform(torch.eye(count, dtype=torch.float64), 1)
        torch.testing.assert_close(basis @ basis.T, torch.eye(count, dtype=torch.float64))


@pytest.mark.parametrize("kind", ["cosine", "windowed"])
@pytest.mark.parametrize("field", ["ramp", "wave"])
def test_a_field_that_does_not_close_leaks_less(kind: str, field: str) -> None:
    x = (torch.arange(64, dtype=torch.float64) + 0.5) / 64
    values = x - 0.5 if field == "ramp" else torch.sin(2 * math.pi * 2.5 * x + 1)

    def fine(axes: str) -> float:
        spectrum = spectrum_of(GridDomain(1, (64,)), CPU, axes=axes)
        energies = spectrum.energies(values[None, None]).squeeze((0, 1))
        return (energies[spectrum.frequency > 0.5].sum() / energies.sum()).item()

    assert fine(kind) < 0.05 * fine("fourier")


@pytest.mark.parametrize("axes", [*itertools.product(AXES, repeat=2)])
@pytest.mark.parametrize("compare", ["complex", "amplitude", "bands"])
def test_gradients_are_exact(axes: tuple[str, str], compare: str) -> None:
    h, y = torch.randn(2, 2, 1, 4, 3, dtype=torch.float64)
    losses = [SpectralLoss(compare, 2.0, 2.0, axes=axes), SobolevLoss(-1.0, axes=axes)]
    for loss in losses:
        assert torch.autograd.gradcheck(
            lambda field, loss=loss: loss(field, y, lengths=(1.0, 2.0)), h.clone().requires_grad_()
        )


@pytest.mark.parametrize("axes", ["cosine", ("fourier", "cosine")])
def test_equal_weights_make_cosines_the_spatial_loss(axes: str | tuple[str, str]) -> None:
    h, y = torch.randn(2, 2, 1, 9, 8, dtype=torch.float64)
    flat = SpectralLoss("complex", 0.0, 0.0, axes=axes)
    torch.testing.assert_close(flat(h, y), SpatialLoss()(h, y))
    torch.testing.assert_close(SobolevLoss(0.0, axes=axes)(h, y), SpatialLoss()(h, y))


def test_axes_are_checked() -> None:
    y = torch.zeros(1, 1, 4, 4)
    with pytest.raises(ValueError, match=r"expected axes of fourier, cosine, windowed, got 'cosines'"):
        SpectralLoss(axes="cosines")
    with pytest.raises(ValueError, match="expected axes for each of 2 dimensions"):
        SobolevLoss(axes=["cosine"])(y, y)
    points = torch.zeros(3, 1)
    with pytest.raises(ValueError, match="expected axes='fourier' away from grids"):
        SpectralLoss(axes="cosine")(points, points, edge_index=torch.tensor([[0, 1], [1, 2]]))


@pytest.mark.parametrize("name", ["complex", "sobolev"])
def test_equal_weights_are_the_spatial_loss_with_a_measure_too(name: str) -> None:
    h, y = torch.randn(2, 2, 3, 6, 5, dtype=torch.float64)
    measure = torch.rand(2, 6, 1, dtype=torch.float64)
    flat = SpectralLoss("complex", 0.0, 0.0) if name == "complex" else SobolevLoss(0.0)
    torch.testing.assert_close(flat(h, y, measure=measure), SpatialLoss()(h, y, measure=measure))
