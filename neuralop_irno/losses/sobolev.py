"""The error in a Sobolev norm: of negative order it sees large scales first, of positive order fine ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.errors import expected
from neuralop_irno.losses.loss import Loss
from neuralop_irno.registry import call_with_options
from neuralop_irno.solution import Trajectory
from neuralop_irno.spectrum.choice import SpectrumChoice
from neuralop_irno.spectrum.of_domain import spectrum_of, waves_at_nyquist


class SobolevLoss(Loss):
    r"""Every iterate against the truth, in the norm of a Sobolev space:

    .. math:: L = \frac{1}{K} \sum_{k=1}^{K} \| h_k - y \|_{H^s}^2, \qquad
              \| e \|_{H^s}^2 = \sum_w (1 + |w|^2)^s \, |\hat e(w)|^2

    with |w| in waves per side of the domain: on a square of n x n points the integers up to n / 2. Order
    0 is the spatial loss. Order -1 is dual to the energy norm: it weighs errors as the residual of an
    equation with two derivatives does, and forgives fine scales that order 0 would spend most of a last
    layer on. Order 1 counts the error's slopes too.

    A limit: the number of waves is counted on a square of as many points. On an oblong grid waves along the
    longer axis count as more and those along the shorter one as fewer than they are: on 64 x 16 points, which
    count as 32 x 32, three waves along the longer axis count as 1.5 and three along the shorter one as 6. The
    lengths of the box are not known.

    Args:
        order: s.
        relative: in units of the truth's own norm.
        spectrum: how fields off grids are analysed: the options of
            `neuralop_irno.spectrum.choice.SpectrumChoice`; its ``nyquist`` changes nothing here.
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
        reduction: str = "sum",
    ) -> None:
        super().__init__(reduction)
        if not math.isfinite(order):
            raise ValueError(expected("an order of differentiability", order, "order=-1"))
        self.order, self.relative = order, relative
        choice: SpectrumChoice = call_with_options(SpectrumChoice, spectrum or {}, "the spectrum")
        self.choice = replace(choice, nyquist=None)  # a unit of frequency, and waves per side need none

    def per_sample(self, trajectory: Trajectory, y: Tensor) -> Tensor:
        spectrum = spectrum_of(trajectory.domain, y.device, self.choice)
        highest = waves_at_nyquist(trajectory.domain).to(spectrum.frequency.device)
        waves = torch.atleast_2d(spectrum.frequency) * highest[:, None]
        weight = (1 + waves.square()) ** self.order

        def squared_norm(field: Tensor) -> Tensor:
            energies = spectrum.energies(field.to(torch.promote_types(field.dtype, torch.float32)))
            return (energies.mean(1) * weight).sum(1)

        norms = [squared_norm(h - y) for h in trajectory.iterates]
        loss = sum(norms[1:], norms[0]) / len(norms)
        return loss / squared_norm(y).clamp(min=torch.finfo(loss.dtype).tiny) if self.relative else loss
