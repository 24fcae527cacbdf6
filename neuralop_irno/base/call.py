"""One call of a base, as fields on one domain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from torch import Tensor, nn

from neuralop_irno.base.checks import check_finite
from neuralop_irno.base.units import Units, check_units
from neuralop_irno.domain.condition import Condition, inside_of
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.resampling import GridMaps
from neuralop_irno.domain.sphere_maps import SphereMaps
from neuralop_irno.errors import expected
from neuralop_irno.precision import in_precision_of
from neuralop_irno.solution import unchanged


@dataclass(frozen=True)
class BaseCall:
    """One call of the base, laid out for the iteration.

    Attributes:
        x: the input, on the domain of h.
        start: the base's answer h_0, in float32 or better.
        domain: the domain of both.
        as_field: converts an answer, or a tensor laid out like its field (for example a target), to the
            layout of h.
        as_answer: the inverse: from a state to what the base would have returned.
        condition: what Phi is given besides x and h.
    """

    x: Tensor
    start: Tensor
    domain: Domain
    as_field: Callable[[Any], Tensor]
    as_answer: Callable[[Tensor], Any]
    condition: Condition

    def inside(self, whole: Callable[[Tensor], Any]) -> BaseCall:
        """The call of a base that returns more than its field.

        Args:
            whole: from the field to the whole answer.
        """
        return replace(self, as_answer=lambda h: whole(self.as_answer(h)))

    def target(self, y: Tensor) -> Tensor:
        """The truth in the layout of h; raises an error if it has another shape, or is not finite."""
        truth = self.as_field(y)
        if truth.shape != self.start.shape:
            wanted = f"y like the base's answer {tuple(self.start.shape)}"
            hint = "a base and targets on one grid, with the same channels"
            raise ValueError(expected(wanted, tuple(truth.shape), hint))
        check_finite(truth, "y")
        return truth

    def in_units(self, units: Units, weights: nn.Module) -> BaseCall:
        """The call in the units of a model: x, h_0 and targets are scaled, answers are in the old units.

        Fields in double precision are scaled there, and then in that of the weights that are given them.

        Only the change of h is converted back, so that without one the answer is the base's to the bit.
        Outside of a mask all fields stay 0.
        """
        on_grid, mask = isinstance(self.domain, GridDomain), self.condition.mask
        inside = inside_of(mask) if mask is not None else unchanged
        check_units(units.x, self.x, "x", on_grid)
        check_units(units.y, self.start, "the answer", on_grid)
        start = in_precision_of(inside(units.y.apply(self.start)), weights)

        def as_field(other: Any) -> Tensor:
            field = self.as_field(other)
            # The caller refuses fields of other shapes, in its own words.
            same = field.shape == start.shape
            return in_precision_of(inside(units.y.apply(field)), weights) if same else field

        def as_answer(refined: Tensor) -> Any:
            change = (refined - start).to(self.start.dtype)
            return self.as_answer(self.start + units.y.undo_change(change))

        x = in_precision_of(inside(units.x.apply(self.x.to(self.start.dtype))), weights)
        condition = self.condition.to(start.dtype)
        return replace(self, x=x, start=start, as_field=as_field, as_answer=as_answer, condition=condition)

    def brought_up(self, maps: GridMaps | SphereMaps) -> BaseCall:
        """The call on the fine grid of a pair of maps; its answers are brought down again.

        Only the change of h is brought down, so that without one the answer is the base's to the bit.
        """
        start = maps.prolong(self.start)

        def as_answer(refined: Tensor) -> Any:
            return self.as_answer(self.start + maps.restrict(refined - start))

        return BaseCall(
            maps.prolong(in_state_dtype(self.x, self.start)),
            start,
            cast(GridDomain, self.domain).with_shape(start.shape[2:]),
            lambda field: maps.prolong(self.as_field(field)),
            as_answer,
            Condition(),
        )


def in_state_dtype(x: Tensor, h: Tensor) -> Tensor:
    """x in the precision of h if it is floating point, else unchanged."""
    return x.to(h.dtype) if x.is_floating_point() else x
