r"""A correction for each field of a tuple, which sees all fields carried to its own domain.

.. math:: \Phi(x, h)_i = \Phi_i\big( [x_i, P_{ij} h_j \; (j \ne i)], \; h_i \big)

with x_i the input on the domain of field i, and P_ij the map from the domain of field j to that of field i.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from neuralop_irno.correction.correction import BoundCorrection, Correction
from neuralop_irno.correction.resampled import bind_at
from neuralop_irno.domain.condition import Condition
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.resampling import AxisMap
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.domain.tuples import TupleDomain
from neuralop_irno.errors import expected


class TupleCorrection(Correction):
    """One correction for each field.

    Args:
        fields: the corrections, in the order of the fields. Each takes the channels of the input and of all
            other fields as its x, and those of its own field as h.
    """

    def __init__(self, fields: Sequence[Correction]) -> None:
        super().__init__()
        self.fields = nn.ModuleList(fields)
        self.stepwise = any(field.stepwise for field in fields)
        stated = {field.periodic for field in fields if field.periodic is not None}
        if len(stated) > 1:
            got = " and ".join(map(str, sorted(stated)))
            wanted = "corrections with the same periodic axes, since their fields share a box"
            raise ValueError(expected(wanted, f"periodic {got}", "one padding for all"))
        self.periodic = next(iter(stated), None)

    @property
    def each(self) -> list[Correction]:
        """The corrections."""
        return [field for field in self.fields if isinstance(field, Correction)]

    def bind(
        self,
        x: Tensor,
        domain: Domain,
        physics: BoundCorrection | None = None,
        condition: Condition | None = None,
    ) -> BoundCorrection:
        return self.bind_at(Resolution(), x, domain, condition)

    def bind_at(
        self, resolution: Resolution, x: Tensor, domain: Domain, condition: Condition | None = None
    ) -> BoundCorrection:
        """h -> Phi(x, h) for one x, each field at the resolution of its training.

        Args:
            resolution: of the training.
            x: the input on the domains of all fields, packed.
            domain: of all fields.
            condition: scalars of each sample.
        """
        if not isinstance(domain, TupleDomain):
            got = f"one field, on {type(domain).__name__}"
            wanted = f"a tuple of {len(self.fields)} fields for a correction of several"
            raise ValueError(expected(wanted, got, "output=(...), with the place of each"))
        resolutions = resolution.each(len(domain.parts))
        return BoundTuple(
            self.each, resolutions, domain.inputs(x), domain, (condition or Condition()).scalars
        )


class BoundTuple(BoundCorrection):
    """h -> Phi(x, h) for the fields of a tuple, packed.

    Args:
        fields: the correction of each field.
        resolutions: that of each field.
        x: the input on the domain of each field.
        domain: of all fields.
        scalars: of each sample, ``(samples, n)``; None if there are none.
    """

    def __init__(
        self,
        fields: Sequence[Correction],
        resolutions: Sequence[Resolution],
        x: Sequence[Tensor],
        domain: TupleDomain,
        scalars: Tensor | None,
    ) -> None:
        self._fields, self._resolutions, self._x, self._scalars = fields, resolutions, x, scalars
        self.domain: TupleDomain = domain
        self.physics = None

    def __call__(self, h: Tensor, taken: Tensor | None = None) -> Tensor:
        fields = self.domain.fields(h)
        condition = Condition(self._scalars)
        updates = []
        for place, (correction, own) in enumerate(zip(self._fields, fields, strict=True)):
            others = [
                self._carried(fields, source, place) for source in range(len(fields)) if source != place
            ]
            seen = torch.cat([self._x[place], *others], 1) if others else self._x[place]
            constants = 0 if self._scalars is None or correction.scalars else self._scalars.shape[1]
            _check_channels(correction, seen.shape[1] + constants, place)
            resolution, domain = self._resolutions[place], self.domain.parts[place]
            phi = bind_at(resolution, correction, seen, domain, None, condition)
            updates.append(phi(own, taken))
        return self.domain.packed(updates)

    def _carried(self, fields: Sequence[Tensor], source: int, target: int) -> Tensor:
        """A field on the domain of another."""
        return self.domain.carried(fields[source], source, target, self._maps(source, target))

    def _maps(self, source: int, target: int) -> list[AxisMap]:
        """The pair of maps of each axis between the grids of two fields; none between points."""
        here, there = self.domain.parts[source], self.domain.parts[target]
        if not isinstance(here, GridDomain) or not isinstance(there, GridDomain):
            return []
        fine, coarse = (tuple(map(pick, here.shape, there.shape)) for pick in (max, min))
        periodic = self._fields[target].periodic
        return self._resolutions[target].axes(fine, coarse, periodic)

    def select(self, keep: Tensor) -> BoundTuple:
        x = [part.take(each, keep) for part, each in zip(self.domain.parts, self._x, strict=True)]
        scalars = None if self._scalars is None else self._scalars[keep]
        return BoundTuple(self._fields, self._resolutions, x, self.domain.select(keep), scalars)


def _check_channels(correction: Correction, seen: int, place: int) -> None:
    """Raise ValueError if a correction takes other channels than those of its input and of other fields."""
    takes = correction.in_channels
    if takes not in (None, seen):
        wanted = f"{takes} channels of the input and of all other fields for the correction of field {place}"
        hint = "in_channels=, the channels of all inputs of the base, one number or one for each field"
        raise ValueError(expected(wanted, seen, hint))
