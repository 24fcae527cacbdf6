"""The error in a Sobolev norm: negative orders give large scales more weight, positive orders fine ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.errors import expected
from neuralop_irno.losses.loss import Loss, by_field
from neuralop_irno.registry import call_with_options
from neuralop_irno.solution import Trajectory
from neuralop_irno.spectrum.axes import checked_axes
from neuralop_irno.spectrum.choice import SpectrumChoice
from neuralop_irno.spectrum.of_domain import spectrum_of, waves_at_nyquist


class SobolevLoss(Loss):
    r"""The error of every iterate in a Sobolev norm:

    .. math:: L = \frac{1}{K} \sum_{k=1}^{K} \| h_k - y \|_{H^s}^2, \qquad
              \| e \|_{H^s}^2 = \sum_w (1 + |w|^2)^s \, |\hat e(w)|^2

    with |w| in waves per side of the domain: on a square of n x n points the integers up to n / 2. Order
    0 is the spatial loss. Order -1 is dual to the energy norm: it weights errors like the residual norm of an
    equation of second order, and gives fine scales less weight than order 0, which would spend most of a last
    layer on them. Order 1 includes the gradient of the error.

    In a box of known ``lengths`` (see `neuralop_irno.domain.grid.GridDomain`) waves of equal length have
    equal weights, and the side is that of the square or cube of the same volume, so that the unit of length
    does not matter:

    .. math:: |w|^2 = \Big( \prod_i L_i \Big)^{2/d} \sum_i (w_i / L_i)^2

    with w_i the waves along axis i. In a box of unknown lengths the cells are taken as cubes: on 64 x 16
    points three waves along the longer axis count as 1.5 and three along the shorter one as 6.

    Args:
        order: s.
        relative: divide by the squared norm of the truth.
        spectrum: options of the spectrum on graphs, those of
            `neuralop_irno.spectrum.choice.SpectrumChoice`; its ``nyquist`` has no effect here.
        axes: the transform along the axes of grids, as in `neuralop_irno.losses.spectral.SpectralLoss`.
        reduction: over the samples, ``sum`` (neuraloperator's convention) or ``mean``.

    Example:
        >>> x = torch.arange(16) * (torch.pi / 8)
        >>> wave = torch.sin(3 * x)[None, None]  # of mean square 1/2, and |w|^2 = 9
        >>> SobolevLoss(order=-1)(wave, torch.zeros_like(wave))
        tensor(0.0500)
    """

    def __init__(
        self,
        order: float = -1.0,
        relative: bool = False,
        spectrum: Mapping[str, Any] | None = None,
        axes: str | Sequence[str] = "fourier",
        reduction: str = "sum",
    ) -> None:
        super().__init__(reduction)
        if not math.isfinite(order):
            raise ValueError(expected("an order of differentiability", order, "order=-1"))
        self.order, self.relative = order, relative
        choice: SpectrumChoice = call_with_options(SpectrumChoice, spectrum or {}, "the spectrum")
        self.axes = checked_axes(axes)
        self.choice = replace(choice, nyquist=None)  # a unit of frequency; waves per side have none

    @by_field
    def per_sample(self, trajectory: Trajectory, y: Tensor) -> Tensor:
        spectrum = spectrum_of(trajectory.domain, y.device, self.choice, self.axes)
        highest = waves_at_nyquist(trajectory.domain).to(spectrum.frequency.device)
        waves = torch.atleast_2d(spectrum.frequency) * highest[:, None]
        weight = (1 + waves.square()) ** self.order

        def squared_norm(field: Tensor) -> Tensor:
            energies = spectrum.energies(field.to(torch.promote_types(field.dtype, torch.float32)))
            return (energies.mean(1) * weight).sum(1)

        norms = [squared_norm(h - y) for h in trajectory.iterates]
        loss = sum(norms[1:], norms[0]) / len(norms)
        return loss / squared_norm(y).clamp(min=torch.finfo(loss.dtype).tiny) if self.relative else loss
