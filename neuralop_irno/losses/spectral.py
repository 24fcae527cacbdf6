"""The progressive spectral loss: as the iteration goes on, fine scales weigh more."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.errors import expected
from neuralop_irno.losses.loss import Loss
from neuralop_irno.solution import Trajectory
from neuralop_irno.spectrum.choice import spectrum_of
from neuralop_irno.spectrum.spectrum import Spectrum

COMPARISONS = ("complex", "amplitude", "bands")
ENERGY_FLOOR = 1e-6
"""Bands below this share of the target's energy are compared as if they held it: no band blows up."""


def spectral_weight(frequency: Tensor, sharpness: Tensor) -> Tensor:
    r""":math:`\rho(w, \lambda) = 1 + (|w| / w_{nyq})^\lambda`, ``(samples, modes)``.

    Args:
        frequency: relative to the Nyquist frequency, ``(modes,)`` or ``(samples, modes)``.
        sharpness: lambda of each sample, ``(samples,)``.
    """
    return 1 + torch.atleast_2d(frequency) ** sharpness[:, None]


def spectral_error(difference: Tensor, multiplicity: Tensor, weight: Tensor) -> Tensor:
    r"""The weighted mean square difference of two spectra.

    .. math:: \frac{1}{M \bar\rho} \sum_w \rho(w) \, d_w
              \qquad d_w = |\hat h - \hat y|^2 \text{ or } \big| |\hat h| - |\hat y| \big|^2

    over the full spectrum: a coefficient that stands for two modes counts twice.

    Shapes:
        - difference: of coefficients or of their amplitudes, ``(samples, C, modes)``
        - multiplicity: ``(modes,)`` or ``(samples, modes)``
        - weight: ``(samples, modes)``
        - returns: ``(samples,)``
    """
    squares = difference.abs().square() if difference.is_complex() else difference.square()
    counted = weight * multiplicity
    # (1/M) sum rho d / ((1/M) sum rho): the two 1/M cancel.
    return (squares.mean(1) * counted).sum(1) / counted.sum(1)


class SpectralLoss(Loss):
    r"""Every iterate's spectrum against the truth's, with weights that move to fine scales.

    .. math:: L = \frac{1}{K} \sum_k L_{spec}(h_k, y; \lambda_k)

    with :math:`\lambda_k` linear in k. A larger lambda leaves the low modes at weight 1 and lets only
    those near the Nyquist frequency approach 2.

    Args:
        compare: ``complex`` sees amplitude and phase, and with equal weights it *is* the spatial loss.
            ``amplitude`` is the paper's: it is blind to phase, so a shifted field costs nothing; right
            where the phase is unpredictable. ``bands`` compares the root energy of radial bands only,
            for statistics rather than trajectories.
        lambda_start: at the first step.
        lambda_end: at the last step, and for a plain prediction.
        bands: how many, for ``compare="bands"``.
        reduction: over the samples, ``sum`` or ``mean``.

    Example:
        >>> wave = torch.sin(torch.linspace(0, 6.2832, 9)[:-1])[None, None]
        >>> shifted = wave.roll(2, -1)
        >>> round(SpectralLoss(compare="amplitude")(shifted, wave).item(), 6)
        0.0
        >>> SpectralLoss(compare="complex")(shifted, wave).item() > 0.5
        True
    """

    def __init__(
        self,
        compare: str = "complex",
        lambda_start: float = 1.0,
        lambda_end: float = 2.0,
        bands: int = 16,
        reduction: str = "sum",
    ) -> None:
        super().__init__(reduction)
        if compare not in COMPARISONS:
            raise ValueError(expected("a comparison", repr(compare), f"one of {', '.join(COMPARISONS)}"))
        if min(lambda_start, lambda_end) < 0 or bands < 1:
            raise ValueError(
                expected(
                    "lambda >= 0 and bands >= 1",
                    f"lambda {lambda_start} to {lambda_end}, bands {bands}",
                    "lambda_start=1.0, lambda_end=2.0, bands=16",
                )
            )
        self.compare, self.bands = compare, bands
        self.lambda_start, self.lambda_end = lambda_start, lambda_end

    def per_sample(self, trajectory: Trajectory, y: Tensor) -> Tensor:
        spectrum = spectrum_of(trajectory.domain, y.device)
        truth = spectrum.analyse(y)
        losses = []
        for h, progress in zip(trajectory.iterates, trajectory.progress, strict=True):
            sharpness = self.lambda_start + (self.lambda_end - self.lambda_start) * progress
            losses.append(self._error(spectrum, spectrum.analyse(h), truth, sharpness))
        return sum(losses[1:], losses[0]) / len(losses)

    def _error(self, spectrum: Spectrum, h: Tensor, y: Tensor, sharpness: Tensor) -> Tensor:
        if self.compare != "bands":
            weight = spectral_weight(spectrum.frequency, sharpness)
            amplitudes = self.compare == "amplitude"
            difference = spectrum.amplitude(h) - spectrum.amplitude(y) if amplitudes else h - y
            return spectral_error(difference, spectrum.multiplicity, weight)
        if spectrum.frequency.dim() > 1:
            raise ValueError(
                expected("a grid for compare='bands'", "graphs", "compare='amplitude', by eigenspace")
            )
        energy_h, energy_y = (band_energy(c, spectrum, self.bands) for c in (h, y))
        floor = ENERGY_FLOOR * energy_y.sum(-1, keepdim=True) + torch.finfo(energy_y.dtype).tiny
        difference = (energy_h + floor).sqrt() - (energy_y + floor).sqrt()
        weight = spectral_weight(band_centres(spectrum, self.bands), sharpness)
        return (difference.square().mean(1) * weight).sum(1) / weight.mean(1)


def band_of(spectrum: Spectrum, bands: int) -> Tensor:
    """The band of each mode: bands of equal width from 0 to the highest frequency, ``(modes,)``."""
    relative = spectrum.frequency / spectrum.frequency.max().clamp(min=1e-12)
    return (relative * bands).long().clamp(max=bands - 1)


def band_centres(spectrum: Spectrum, bands: int) -> Tensor:
    """The middle frequency of each band, ``(bands,)``."""
    middle = torch.arange(bands, device=spectrum.frequency.device) + 0.5
    return middle / bands * spectrum.frequency.max()


def band_energy(coefficients: Tensor, spectrum: Spectrum, bands: int) -> Tensor:
    """The share of the mean square that each radial band holds, ``(samples, C, bands)``.

    The bands sum to the mean square of the field (Parseval).
    """
    energy = coefficients.abs().square() * spectrum.multiplicity / spectrum.multiplicity.sum()
    result = energy.new_zeros(*energy.shape[:2], bands)
    return result.index_add(2, band_of(spectrum, bands), energy)
