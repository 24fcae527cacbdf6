"""The spectrum of a uniform grid: Fourier modes, and on axes of choice cosines or windowed Fourier modes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from neuralop_irno.precision import without_autocast
from neuralop_irno.spectrum.axes import Axes, cosine_transform, kinds_of, window
from neuralop_irno.spectrum.spectrum import Spectrum, mean_power

ALIKE = 1e-6
"""Cells whose sides differ by less than this share are cubes; lengths may come from float32 files."""


class FourierSpectrum(Spectrum):
    r"""The real FFT, with multiplicities for the half that it omits.

    Frequencies are radial and physical, in units of the highest Nyquist frequency of an axis: with f_i the
    cycles per cell and :math:`\Delta_i` the side of a cell along axis i,

    .. math:: |w| / w_{nyq} = \sqrt{\sum_i \Big( 2 f_i \, \frac{\min_j \Delta_j}{\Delta_i} \Big)^2}

    from 0 to at most :math:`\sqrt d`. A cosine of number k has k / 2 waves.

    Args:
        shape: points along each axis.
        device: the device of the frequencies.
        nyquist: the Nyquist frequency of each axis in units of the highest, from `nyquist_of_axes`; by
            default 1 for each, as on cubic cells.
        axes: the transform along all axes or each of them. ``fourier``: for periodic axes. ``cosine``: even
            continuation across walls; see `cosine_transform`. ``windowed``: Fourier modes of the field times
            Hann's window, for axes that continue beyond the field; the energies then sum to the mean square
            of that product.

    Attributes:
        multiplicity: number of modes of the full spectrum for each coefficient, ``(modes,)``.

    Shapes:
        - field: ``(B, C, *shape)``
        - coefficients, energies: ``(B, C, modes)``; of n points an axis has n modes, the last axis of waves
          n // 2 + 1

    Example:
        >>> spectrum = FourierSpectrum([8])
        >>> spectrum.multiplicity
        tensor([1., 2., 2., 2., 1.])
        >>> wave = torch.cos(torch.arange(8) * torch.pi / 2)[None, None]
        >>> spectrum.frequency[spectrum.analyse(wave).abs().argmax()]
        tensor(0.5000)
    """

    sharp = True

    def __init__(
        self,
        shape: Sequence[int],
        device: torch.device | str = "cpu",
        nyquist: Sequence[float] | None = None,
        axes: Axes = "fourier",
    ) -> None:
        self.shape = tuple(shape)
        dim = len(self.shape)
        kinds = kinds_of(axes, dim)
        self.description = "the Fourier modes of the grid"
        if set(kinds) != {"fourier"}:
            self.description = f"the modes of the grid, {' x '.join(kinds)}"
        self._cosines = [axis for axis, kind in enumerate(kinds, start=2) if kind == "cosine"]
        self._waves = [axis for axis, kind in enumerate(kinds, start=2) if kind != "cosine"]
        self._windows = [
            (axis, window(self.shape[axis - 2], device))
            for axis, kind in enumerate(kinds, start=2)
            if kind == "windowed"
        ]
        halved = self._waves[-1] if self._waves else None
        frequencies, counts = [], []
        for axis, (n, highest) in enumerate(zip(self.shape, nyquist or [1.0] * dim, strict=True), start=2):
            if axis in self._cosines:
                cycles = torch.arange(n, device=device) / (2 * n)
            elif axis == halved:
                cycles = torch.fft.rfftfreq(n, device=device)
            else:
                cycles = torch.fft.fftfreq(n, device=device)
            frequencies.append(2 * cycles * highest)
            count = torch.ones_like(cycles)
            if axis == halved:
                count[1 : (n + 1) // 2] = 2
            counts.append(count)
        grid = torch.meshgrid(*frequencies, indexing="ij")
        self.frequency = torch.stack(grid).square().sum(0).sqrt().flatten()
        self.multiplicity = torch.stack(torch.meshgrid(*counts, indexing="ij")).prod(0).flatten()

    def analyse(self, field: Tensor) -> Tensor:
        """The coefficients of a field; the mean of their squares over all modes is its mean square."""
        precise = field.to(torch.promote_types(field.dtype, torch.float32))
        with without_autocast(field.device):
            if not len(precise):  # MKL raises on an empty batch
                return precise.new_zeros(
                    *precise.shape[:2], len(self.multiplicity), dtype=precise.dtype.to_complex()
                )
            for axis, weights in self._windows:
                precise = precise * weights.to(precise).reshape(-1, *[1] * (precise.dim() - axis - 1))
            for axis in self._cosines:
                precise = cosine_transform(precise, axis)
            if not self._waves:
                return torch.complex(precise, torch.zeros_like(precise)).flatten(2)
            return torch.fft.rfftn(precise, dim=self._waves, norm="ortho").flatten(2)

    def energies(self, field: Tensor) -> Tensor:
        coefficients = torch.view_as_real(self.analyse(field))
        share = self.multiplicity / self.multiplicity.sum()
        return coefficients.square().sum(-1) * share.to(coefficients.dtype)

    def mean_power(self, exponent: Tensor) -> Tensor:
        return mean_power(self.frequency, self.multiplicity, exponent)


def nyquist_of_axes(shape: Sequence[int], lengths: Sequence[float] | None) -> tuple[float, ...]:
    """The Nyquist frequency of each axis in units of the highest: 1 for all where the cells are cubes.

    Axes of one point have no waves, and their length does not count.

    Args:
        shape: points along each axis.
        lengths: the sides of the box; without them the cells are taken as cubes.

    Example:
        >>> nyquist_of_axes((64, 16), (1.0, 1.0)), nyquist_of_axes((64, 16), (4.0, 1.0))
        ((1.0, 0.25), (1.0, 1.0))
    """
    if lengths is None:
        return (1.0,) * len(shape)
    sides = [length / n for length, n in zip(lengths, shape, strict=True)]
    finest = min([side for side, n in zip(sides, shape, strict=True) if n > 1], default=min(sides))
    found = [finest / side for side in sides]
    # Exactly 1 for cubes, whose frequencies are then the same bits as without lengths.
    return tuple(1.0 if abs(value - 1) < ALIKE else value for value in found)


@lru_cache(maxsize=16)
def fourier_spectrum(
    shape: tuple[int, ...],
    device: torch.device,
    nyquist: tuple[float, ...] | None = None,
    axes: str | tuple[str, ...] = "fourier",
) -> FourierSpectrum:
    """The spectrum of a grid, cached by shape, device, proportions and kinds of axes."""
    with torch.inference_mode(False):  # cached tensors are used in training too
        return FourierSpectrum(shape, device, nyquist, axes)
