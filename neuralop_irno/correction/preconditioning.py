"""Corrections of x, h and the residual of an equation: in the iteration, and as preconditioners."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from neuralop_irno.compiling import evaluated
from neuralop_irno.correction.correction import Correction
from neuralop_irno.correction.resampled import bind_at
from neuralop_irno.correction.residual import WithResidual
from neuralop_irno.domain.condition import Condition
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.equations.equation import BoundEquation, Equation, Map
from neuralop_irno.solution import unchanged


class OnDomain(NamedTuple):
    """The input of an equation and its domain."""

    x: Tensor
    domain: Domain


class EquationResidual(Correction):
    """(x, h) -> the residual of an equation, for `WithResidual` and for losses.

    Args:
        equation: of fields in the units of the data.
        x_from: converts x from the units of the model to those of the data.
        h_from: likewise h.
        in_units_of_h: divide r by the diagonal of A where it is known, so that its size does not depend on
            the grid.
    """

    def __init__(
        self,
        equation: Equation,
        x_from: Map = unchanged,
        h_from: Map = unchanged,
        in_units_of_h: bool = False,
    ) -> None:
        super().__init__()
        self.equation, self.x_from, self.h_from = equation, x_from, h_from
        self.in_units_of_h = in_units_of_h

    def prepare(self, x: Tensor, domain: Domain) -> OnDomain:
        return OnDomain(x, domain)

    def forward(self, x: OnDomain, h: Tensor) -> Tensor:
        bound = self.equation.bind(self.x_from(x.x), x.domain)
        residual = bound(self.h_from(h))
        return bound.by_diagonal(residual) if self.in_units_of_h else residual


class Preconditioning:
    r"""A correction of x, h and r as a preconditioner, positively homogeneous in r:

    .. math:: M r = s \, \Phi\left(x, h, \frac{D^{-1} r}{s}\right) \qquad s = \| D^{-1} r \|

    with the diagonal D of A, or 1 if it is not known. For a linear equation h = 0: M does not depend on the
    iterate. Phi is evaluated in its own precision and at the resolution of its training.

    Args:
        correction: Phi.
        equation: bound to x in the units of the data.
        x: the input in the units and the precision of Phi.
        to_phi: converts h from the units of the data to those of Phi.
        resolution: of the training.
        condition: what Phi is given besides.
    """

    def __init__(
        self,
        correction: WithResidual,
        equation: BoundEquation,
        x: Tensor,
        to_phi: Map,
        resolution: Resolution,
        condition: Condition,
    ) -> None:
        self._correction, self._equation, self._x = correction, equation, x
        self._to_phi, self._resolution, self._condition = to_phi, resolution, condition
        self._plain = equation.domain.unweighted()

    def __call__(self, h: Tensor, r: Tensor) -> Tensor:
        """M r, in the precision of r."""
        scaled = self._equation.by_diagonal(r)
        size = self._plain.norm(scaled)
        unit = scaled / self._plain.spread(torch.where(size > 0, size, 1.0), scaled)
        joined = torch.cat([self._x, unit.to(self._x.dtype)], 1)
        inner = ResidualLast(self._correction.correction, self._x.shape[1], r.shape[1])
        domain = self._equation.domain
        phi = bind_at(self._resolution, inner, joined, domain, None, self._condition)
        state = torch.zeros_like(r) if self._equation.linear else self._to_phi(h)
        update = phi(state.to(self._x.dtype)).to(r.dtype)
        return self._plain.spread(size, r) * update

    def on(self, equation: BoundEquation, carry: Map) -> Preconditioning:
        """The preconditioner on another grid, where Phi is evaluated as it is.

        Args:
            equation: bound to x on that grid.
            carry: takes fields to it.
        """
        return Preconditioning(
            self._correction, equation, carry(self._x), self._to_phi, Resolution(),
            self._condition.carried(carry),
        )  # fmt: skip

    def select(self, keep: Tensor) -> Preconditioning:
        """The preconditioner of the samples ``keep`` only."""
        domain, known = self._equation.domain, self._condition
        take = domain.take
        condition = Condition(
            None if known.scalars is None else known.scalars[keep],
            None if known.fields is None else take(known.fields, keep),
            None if known.mask is None else take(known.mask, keep),
        )
        return Preconditioning(
            self._correction, self._equation.select(keep), take(self._x, keep), self._to_phi,
            self._resolution, condition,
        )  # fmt: skip


class ResidualLast(Correction):
    """A correction whose residual channels stand after those of its conditions, as in `WithResidual`.

    Args:
        correction: Phi, built for [x, conditions, r].
        before: channels of x before those of r.
        channels: channels of r.
    """

    def __init__(self, correction: Correction, before: int, channels: int) -> None:
        super().__init__()
        self.correction, self.before, self.channels = correction, before, channels
        self.periodic, self.alignment = correction.periodic, correction.alignment
        self.resolution_free, self.stepwise = correction.resolution_free, correction.stepwise
        self.scalars = correction.scalars

    def prepare(self, x: Tensor, domain: Domain) -> Any:
        of_x, residual, conditions = x.tensor_split([self.before, self.before + self.channels], 1)
        return self.correction.prepare(torch.cat([of_x, conditions, residual], 1), domain)

    def conditioned(self, prepared: Any, scalars: Tensor) -> Any:
        return self.correction.conditioned(prepared, scalars)

    def forward(self, x: Any, h: Tensor, *when: Any) -> Tensor:
        return evaluated(self.correction, x, h, *when)
