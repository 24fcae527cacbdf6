"""A correction with the residual of the equation as a further input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neuralop_irno.correction.correction import Correction, PerSample, step_argument
from neuralop_irno.correction.equivariant import ShiftEquivariant
from neuralop_irno.correction.receptive_field import ReceptiveField, summed
from neuralop_irno.correction.stepwise import from_function
from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import expected


class KnownResidual(NamedTuple):
    """What `WithResidual` prepares of x.

    Attributes:
        x: the input itself.
        known: the result of the residual's ``prepare`` for x.
        domain: the domain of x.
        scalars: those of `Correction.conditioned`, if there are any.
    """

    x: Tensor
    known: Any
    domain: Domain
    scalars: PerSample | None = None


class WithResidual(Correction):
    r"""Phi(x, h, r(x, h)): the residual of the equation as further channels of x, on grids and graphs.

    r shows where h is wrong without any training; the correction only learns to map it to an update. ``unet``
    and ``mgno`` with ``frame: true`` are refused on periodic grids: they compute the origin of the grid from
    x, which here contains r and changes with h.

    Args:
        correction: Phi, built for the channels of x and of r together.
        residual: (x, h) -> r, laid out like h, with any number of channels; a `Correction` if it needs the
            domain.

    Example:
        >>> from neuralop_irno.correction.correction import FunctionCorrection
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> follow = FunctionCorrection(lambda x, h: x[:, 1:])  # the last channel of x is the residual
        >>> x = torch.ones(1, 1, 4)
        >>> phi = WithResidual(follow, lambda x, h: x - 2 * h).bind(x, GridDomain.of(x))
        >>> phi(0.5 * x).abs().max().item()  # a fixed point where the equation is solved
        0.0
    """

    def __init__(
        self, correction: Correction, residual: Correction | Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        super().__init__()
        if any(isinstance(part, ShiftEquivariant) for part in correction.modules()):
            # The origin would depend on r(x, h), and Phi would jump where it moves by a cell.
            wanted = "a correction that is not shift-equivariant, since r changes with h"
            raise ValueError(expected(wanted, "one in the frame of x", "frame: false"))
        self.correction = correction
        self.residual = from_function(residual)
        self.periodic, self.out_channels = correction.periodic, correction.out_channels
        self.resolution_free, self.alignment = correction.resolution_free, correction.alignment
        self.stepwise, self.scalars = correction.stepwise, correction.scalars

    @property
    def receptive_field(self) -> ReceptiveField:
        return summed(self.correction.receptive_field, self.residual.receptive_field)

    def prepare(self, x: Tensor, domain: Domain) -> KnownResidual:
        return KnownResidual(x, self.residual.prepare(x, domain), domain)

    def conditioned(self, prepared: KnownResidual, scalars: Tensor) -> KnownResidual:
        return prepared._replace(scalars=PerSample(scalars))

    def forward(self, x: KnownResidual, h: Tensor, taken: Tensor | None = None) -> Tensor:
        joined = torch.cat([x.x, self.residual(x.known, h).to(x.x.dtype)], 1)
        prepared = self.correction.prepare(joined, x.domain)
        if x.scalars is not None:
            prepared = self.correction.conditioned(prepared, x.scalars.value)
        update: Tensor = self.correction(prepared, h, *step_argument(self.correction, taken))
        return update
