"""The progressive spectral loss: the weight of fine scales changes from step to step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.errors import expected
from neuralop_irno.losses.loss import Loss, by_field
from neuralop_irno.registry import call_with_options
from neuralop_irno.solution import Trajectory
from neuralop_irno.spectrum.axes import checked_axes
from neuralop_irno.spectrum.bands import even_bands
from neuralop_irno.spectrum.choice import SpectrumChoice
from neuralop_irno.spectrum.of_domain import spectrum_of
from neuralop_irno.spectrum.spectrum import InBands, Spectrum

COMPARISONS = ("complex", "amplitude", "bands")
LEAK = 1e-5
"""Floor of the energy of a band, as a share of the target's total energy."""


def spectral_error(parts: Tensor, spectrum: Spectrum, sharpness: Tensor) -> Tensor:
    r"""The weighted mean square difference of two spectra.

    .. math:: \frac{1}{\bar\rho} \sum_w \rho(w, \lambda) \, d_w
              \qquad \rho(w, \lambda) = 1 + (|w| / w_{nyq})^\lambda

    with :math:`\bar\rho` the mean of :math:`\rho` over all modes of the domain, and d the mean square
    difference per line, which sums over the lines to that of the two fields (or of their amplitudes).

    Args:
        parts: d, ``(samples, C, lines)``.
        spectrum: the spectrum of the lines.
        sharpness: lambda of each sample, ``(samples,)``.

    Shapes:
        - returns: ``(samples,)``
    """
    weight = 1 + torch.atleast_2d(spectrum.frequency) ** sharpness[:, None]
    return (parts.mean(1) * weight).sum(1) / (1 + spectrum.mean_power(sharpness))


STEEPEST = 20
"""The largest lambda: corners of a cube have 1.7 times the Nyquist frequency, and powers of it overflow."""


class SpectralLoss(Loss):
    r"""The difference of the spectra of every iterate and the truth, with weights that depend on the step.

    .. math:: L = \frac{1}{K} \sum_k L_{spec}(h_k, y; \lambda_k)

    with :math:`\lambda_k` linear in k. The larger lambda, the more modes have a weight near 1, and only those
    near the Nyquist frequency approach 2.

    On grids |w| is physical where the domain has ``lengths``: waves of equal length have equal weights in
    oblong boxes and on oblong cells, and the unit of length does not matter. w_nyq is then the *highest*
    Nyquist frequency of all axes, that of the finest one. With it all weights stay between 1 and
    :math:`1 + d^{\lambda / 2}`, more points on a coarser axis change no weight, and cubic cells, such as
    those of equal sides and sizes, have the same bits as without lengths, where the cells are taken as cubes.

    If the data have a ``period``, points are neighbours across the seam of the torus (``laplacian: knn``).

    Args:
        compare: ``complex`` compares amplitude and phase; with equal weights it is the spatial loss.
            ``amplitude`` (the paper's) ignores the phase, so that a shifted field has zero loss; for data
            whose phase is unpredictable. ``bands`` compares the root energy of radial bands only, for
            statistics rather than trajectories. On graphs a single amplitude depends on the choice of a basis
            and on the position of every node: there ``amplitude`` compares bands too.
        lambda_start: lambda at the first step.
        lambda_end: lambda at the last step, and for a plain prediction.
        spectrum: options of the spectrum on graphs, those of
            `neuralop_irno.spectrum.choice.SpectrumChoice`; its ``bands`` are those of ``compare="bands"``.
        axes: the transform along the axes of grids, one for all or a list: ``fourier`` for periodic axes,
            ``cosine`` between walls, ``windowed`` (Hann) for axes that continue beyond the field. A Fourier
            transform spreads the jump between the ends of an axis that is not periodic over all frequencies.
            Points near the ends of a windowed axis hardly count.
        reduction: over the samples, ``sum`` or ``mean``.

    Attributes:
        spectrum_used: a description of the spectra that the last call used.

    Example:
        >>> wave = torch.sin(torch.linspace(0, 6.2832, 9)[:-1])[None, None]
        >>> shifted = wave.roll(2, -1)
        >>> round(SpectralLoss(compare="amplitude")(shifted, wave).item(), 6)
        0.0
        >>> SpectralLoss(compare="complex")(shifted, wave).item() > 0.5
        True
        >>> ramp = torch.linspace(-1, 1, 32)[None, None]  # smooth between walls, a jump across them
        >>> smooth = SpectralLoss(axes="cosine")(ramp, 0 * ramp)
        >>> (smooth < SpectralLoss()(ramp, 0 * ramp)).item()
        True
    """

    def __init__(
        self,
        compare: str = "complex",
        lambda_start: float = 1.0,
        lambda_end: float = 2.0,
        spectrum: Mapping[str, Any] | None = None,
        axes: str | Sequence[str] = "fourier",
        reduction: str = "sum",
    ) -> None:
        super().__init__(reduction)
        if compare not in COMPARISONS:
            raise ValueError(expected("a comparison", repr(compare), f"one of {', '.join(COMPARISONS)}"))
        if not 0 <= min(lambda_start, lambda_end) <= max(lambda_start, lambda_end) <= STEEPEST:
            wanted = f"lambda from 0 to {STEEPEST}"
            hint = "lambda_start=1.0, lambda_end=2.0"
            raise ValueError(expected(wanted, f"{lambda_start} to {lambda_end}", hint))
        self.compare, self.lambda_start, self.lambda_end = compare, lambda_start, lambda_end
        self.choice: SpectrumChoice = call_with_options(SpectrumChoice, spectrum or {}, "the spectrum")
        self.axes = checked_axes(axes)
        self.spectrum_used = ""

    @by_field
    def per_sample(self, trajectory: Trajectory, y: Tensor) -> Tensor:
        spectrum = spectrum_of(trajectory.domain, y.device, self.choice, self.axes)
        if self.compare == "bands" or (self.compare == "amplitude" and not spectrum.sharp):
            spectrum = InBands(spectrum, even_bands(self.choice.bands))
        self.spectrum_used = spectrum.description
        y = y.to(torch.promote_types(y.dtype, torch.float32))
        truth = None if self.compare == "complex" else spectrum.energies(y)
        losses = []
        for h, progress in zip(trajectory.iterates, trajectory.progress, strict=True):
            # ``progress`` may be on another device than the states.
            progress = progress.to(y.device)
            sharpness = self.lambda_start + (self.lambda_end - self.lambda_start) * progress
            parts = spectrum.energies(h - y) if truth is None else root_difference(h, truth, spectrum)
            losses.append(spectral_error(parts, spectrum, sharpness))
        return sum(losses[1:], losses[0]) / len(losses)


def root_difference(h: Tensor, truth: Tensor, spectrum: Spectrum) -> Tensor:
    r"""The squared difference of amplitudes, :math:`\big( \sqrt{E(h)} - \sqrt{E(y)} \big)^2`, line by line.

    Args:
        h: a field.
        truth: the energies of y, ``(samples, C, lines)``.
        spectrum: the spectrum of the lines.
    """
    # Near-empty bands contain only leakage from their neighbours. Floor them so that the square root has a
    # finite gradient.
    leak = 0.0 if spectrum.sharp else LEAK
    floor = leak * truth.sum(-1, keepdim=True) + torch.finfo(truth.dtype).tiny
    return ((spectrum.energies(h) + floor).sqrt() - (truth + floor).sqrt()).square()
