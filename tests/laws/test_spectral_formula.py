"""Law 4: our spectral loss is the paper's formula, written naively with a full complex FFT."""

import itertools

import pytest
import torch

from neuralop_irno import SpatialLoss, SpectralLoss, Trajectory
from neuralop_irno.diagnostics.spectral_error import band_energy
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.spectrum.fourier import FourierSpectrum

SIZES = [(8,), (9,), (1,), (8, 6), (9, 8), (5, 7), (6, 4, 8), (5, 4, 3)]


def naive(h: torch.Tensor, y: torch.Tensor, sharpness: float, compare: str) -> float:
    """(1/M) (1/mean rho) sum_w rho(w) d_w, mode by mode, for one sample of one channel."""
    shape = h.shape
    a, b = torch.fft.fftn(h, norm="ortho"), torch.fft.fftn(y, norm="ortho")
    frequencies = [torch.fft.fftfreq(n) for n in shape]
    total, weights, modes = 0.0, 0.0, 0
    for place in itertools.product(*[range(n) for n in shape]):
        relative = sum((2 * f[i]) ** 2 for f, i in zip(frequencies, place, strict=True)) ** 0.5
        rho = 1 + float(relative) ** sharpness
        difference = (a[place] - b[place]).abs() if compare == "complex" else a[place].abs() - b[place].abs()
        total += rho * float(difference) ** 2
        weights += rho
        modes += 1
    return total / modes / (weights / modes)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("compare", ["complex", "amplitude"])
def test_formula(shape: tuple[int, ...], compare: str) -> None:
    h, y = torch.randn(2, 2, 3, *shape, dtype=torch.float64)
    loss = SpectralLoss(compare=compare, lambda_start=1.0, lambda_end=1.7)
    expected = sum(sum(naive(h[b, c], y[b, c], 1.7, compare) for c in range(3)) / 3 for b in range(2))
    assert loss(h, y).item() == pytest.approx(expected, rel=1e-6)


def test_lambda_is_linear_in_the_step_and_per_sample() -> None:
    y = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    iterates = tuple(torch.randn(3, 2, 1, 8, 8, dtype=torch.float64))
    progress = tuple(torch.full((2,), p) for p in (0.0, 0.5, 1.0))
    trajectory = Trajectory(iterates, progress, GridDomain(2, (8, 8)))
    expected = (
        sum(
            naive(h[b, 0], y[b, 0], sharpness, "complex")
            for h, sharpness in zip(iterates, (1.0, 1.5, 2.0), strict=True)
            for b in range(2)
        )
        / 3
    )
    loss = SpectralLoss(lambda_start=1.0, lambda_end=2.0)
    assert loss(trajectory, y).item() == pytest.approx(expected, rel=1e-6)
    mixed = Trajectory(iterates[:1], (torch.tensor([0.0, 1.0]),), GridDomain(2, (8, 8)))
    expected = naive(iterates[0][0, 0], y[0, 0], 1.0, "complex") + naive(
        iterates[0][1, 0], y[1, 0], 2.0, "complex"
    )
    assert loss(mixed, y).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shape", SIZES)
def test_parseval(shape: tuple[int, ...]) -> None:
    field = torch.randn(2, 3, *shape, dtype=torch.float64)
    spectrum = FourierSpectrum(shape)
    energy = (spectrum.analyse(field).abs() ** 2 * spectrum.multiplicity).sum(-1)
    torch.testing.assert_close(energy / spectrum.multiplicity.sum(), field.flatten(2).square().mean(-1))
    assert spectrum.multiplicity.sum() == field[0, 0].numel()
    torch.testing.assert_close(spectrum.energies(field).sum(-1), field.flatten(2).square().mean(-1))
    bands = band_energy(spectrum, field, 5)
    torch.testing.assert_close(bands.sum(-1), field.flatten(2).square().mean(-1))


def test_equal_weights_make_the_complex_comparison_the_spatial_loss() -> None:
    h, y = torch.randn(2, 2, 1, 9, 8, dtype=torch.float64)
    spectral = SpectralLoss(compare="complex", lambda_start=0.0, lambda_end=0.0)
    torch.testing.assert_close(spectral(h, y), SpatialLoss()(h, y))


def test_amplitude_is_blind_to_a_shift_and_complex_is_not() -> None:
    y = torch.randn(1, 1, 16, 16, dtype=torch.float64)
    shifted = y.roll((3, 5), (2, 3))
    assert SpectralLoss(compare="amplitude")(shifted, y).item() < 1e-25
    assert SpectralLoss(compare="bands")(shifted, y).item() < 1e-25
    assert SpectralLoss(compare="complex")(shifted, y).item() > 0.5


def test_a_finer_grid_does_not_change_the_loss_of_a_smooth_field() -> None:
    def pair(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.arange(n, dtype=torch.float64) * (2 * torch.pi / n)
        wave = torch.sin(x)[:, None] * torch.cos(2 * x)[None, :]
        return wave[None, None], (0.5 * wave)[None, None]

    flat = SpectralLoss(lambda_start=0.0, lambda_end=0.0)
    values = [flat(*pair(n)).item() for n in (16, 32, 64)]
    assert values == pytest.approx([values[0]] * 3, rel=1e-10)


def test_empty_bands_do_not_blow_up() -> None:
    y = torch.ones(1, 1, 16, 16)
    h = (y + 1e-3 * torch.randn_like(y)).requires_grad_()
    loss = SpectralLoss(compare="bands")(h, y)
    loss.backward()
    assert loss < 1e-3
    assert h.grad is not None
    assert h.grad.isfinite().all()


def test_float32_ffts_under_autocast() -> None:
    h, y = torch.randn(2, 2, 1, 12, 10)
    with torch.autocast("cpu", torch.bfloat16):
        inside = SpectralLoss()(h.bfloat16(), y.bfloat16())
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, SpectralLoss()(h.bfloat16().float(), y.bfloat16().float()))
