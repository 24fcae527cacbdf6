"""The Fourier spectrum of a uniform grid."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from neuralop_irno.spectrum.spectrum import Spectrum, mean_power


class FourierSpectrum(Spectrum):
    r"""The real FFT, with multiplicities for the half that it omits.

    Frequencies are radial, in units of the Nyquist frequency of an axis: with f_i the cycles per cell
    along axis i, :math:`|w| / w_{nyq} = \sqrt{\sum_i (2 f_i)^2}`, from 0 to :math:`\sqrt d`.

    Args:
        shape: points along each axis.
        device: the device of the frequencies.

    Attributes:
        multiplicity: number of modes of the full spectrum for each coefficient, ``(modes,)``.

    Shapes:
        - field: ``(B, C, *shape)``
        - coefficients, energies: ``(B, C, modes)``, modes = n_1 .. n_{d-1} (n_d // 2 + 1)

    Example:
        >>> spectrum = FourierSpectrum([8])
        >>> spectrum.multiplicity
        tensor([1., 2., 2., 2., 1.])
        >>> wave = torch.cos(torch.arange(8) * torch.pi / 2)[None, None]
        >>> spectrum.frequency[spectrum.analyse(wave).abs().argmax()]
        tensor(0.5000)
    """

    sharp = True
    description = "the Fourier modes of the grid"

    def __init__(self, shape: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.shape = tuple(shape)
        *outer, last = self.shape
        axes = [torch.fft.fftfreq(n, device=device) for n in outer]
        axes.append(torch.fft.rfftfreq(last, device=device))
        grid = torch.meshgrid(*axes, indexing="ij")
        self.frequency = torch.stack([2 * f for f in grid]).square().sum(0).sqrt().flatten()
        twice = torch.full((last // 2 + 1,), 2.0, device=device)
        twice[0] = 1
        if last % 2 == 0:
            twice[-1] = 1
        self.multiplicity = twice.expand(grid[0].shape).flatten()

    def analyse(self, field: Tensor) -> Tensor:
        """The coefficients of a field; the mean of their squares over all modes is its mean square."""
        axes = tuple(range(2, field.dim()))
        precise = field.to(torch.promote_types(field.dtype, torch.float32))
        with torch.autocast(field.device.type, enabled=False):
            if not len(precise):  # MKL raises on an empty batch
                return precise.new_zeros(
                    *precise.shape[:2], len(self.multiplicity), dtype=precise.dtype.to_complex()
                )
            return torch.fft.rfftn(precise, dim=axes, norm="ortho").flatten(2)

    def energies(self, field: Tensor) -> Tensor:
        coefficients = torch.view_as_real(self.analyse(field))
        share = self.multiplicity / self.multiplicity.sum()
        return coefficients.square().sum(-1) * share.to(coefficients.dtype)

    def mean_power(self, exponent: Tensor) -> Tensor:
        return mean_power(self.frequency, self.multiplicity, exponent)


@lru_cache(maxsize=16)
def fourier_spectrum(shape: tuple[int, ...], device: torch.device) -> FourierSpectrum:
    """The spectrum of a grid, cached by shape and device."""
    with torch.inference_mode(False):  # cached tensors are used in training too
        return FourierSpectrum(shape, device)
