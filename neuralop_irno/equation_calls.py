"""Calls of a refiner with an equation: the residual for Phi and the losses, and the equation solved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from neuralop_irno._neuralop import BUILT_FROM
from neuralop_irno.base.call import BaseCall
from neuralop_irno.base.sizes import ModelSpec
from neuralop_irno.base.tuples import TupleCall
from neuralop_irno.base.units import Units
from neuralop_irno.build import physics_of
from neuralop_irno.calls import Called
from neuralop_irno.correction.correction import BoundCorrection, Correction, masked
from neuralop_irno.correction.preconditioning import EquationResidual, Preconditioning
from neuralop_irno.correction.residual import WithResidual
from neuralop_irno.equations.equation import BoundEquation, Equation, EquationLike, equation_from
from neuralop_irno.errors import expected, shown
from neuralop_irno.precision import in_precision_of, lowered
from neuralop_irno.solution import unchanged
from neuralop_irno.solver.system import System


def sizes_with_residual(sizes: ModelSpec, equation: Equation | None, sees_residual: bool) -> ModelSpec:
    """The sizes from which a correction is built: x has the channels of the residual too, those of h."""
    if equation is None or not sees_residual:
        return sizes
    if sizes.fields:
        wanted, got = "one field for an equation", f"a tuple of {len(sizes.fields)}"
        raise ValueError(expected(wanted, got, "equation=None"))
    of_x, of_h = sizes.in_channels, sizes.out_channels
    return replace(sizes, in_channels=None if of_x is None or of_h is None else of_x + of_h)


def residual_of(equation: Equation, units: Units | None, in_units_of_h: bool = False) -> EquationResidual:
    """(x, h) -> the residual of an equation of fields in the units of the data, for fields in ``units``."""
    if units is None:
        return EquationResidual(equation, in_units_of_h=in_units_of_h)
    return EquationResidual(equation, units.x.undo, units.y.undo, in_units_of_h)


def physics_of_equation(
    equation: Equation | None, call: BaseCall, units: Units | None
) -> BoundCorrection | None:
    """h -> the residual of the equation for one call, 0 outside of its mask; None without an equation."""
    if equation is None:
        return None
    bound = residual_of(equation, units).bind(call.x, call.domain)
    return masked(bound, call.condition.mask)


class CallsEquations(Called):
    """A mixin that binds the equation of a refiner to its calls."""

    equation: Equation | None
    sees_residual: bool

    def given_residual(self, correction: Correction) -> Correction:
        """A correction that is given the residual of the equation with x; unchanged without one."""
        if self.equation is None or not self.sees_residual or isinstance(correction, WithResidual):
            return correction
        wrapped = WithResidual(correction, residual_of(self.equation, self.units, in_units_of_h=True))
        if hasattr(correction, BUILT_FROM):
            setattr(wrapped, BUILT_FROM, getattr(correction, BUILT_FROM))
        return wrapped

    def physics(
        self,
        call: BaseCall,
        residual_fn: Callable[[Tensor, Tensor], Tensor] | None,
        residual_tol: float | None,
        equation: EquationLike | None = None,
    ) -> BoundCorrection | None:
        """The residual that decides about convergence: that of the arguments, or of the model's equation."""
        if equation is not None and (residual_fn is not None or residual_tol is None):
            got = "residual_fn too" if residual_fn is not None else "neither of them"
            hint = "solver='fcg', which solves it, or residual_tol=1e-3"
            raise ValueError(expected("a solver of equations or residual_tol beside equation", got, hint))
        known = self.equation if equation is None else equation_from(equation)
        if residual_fn is None and residual_tol is not None and known is not None:
            return physics_of_equation(known, call, self.units)
        return physics_of(residual_fn, residual_tol, call, self.units)

    @staticmethod
    def refuse_residual_fn(residual_fn: object) -> None:
        """Raise ValueError for a residual beside a solver of equations, which is judged by the equation."""
        if residual_fn is not None:
            wanted, hint = (
                "no residual_fn beside a solver of equations",
                "equation=irno.Equation(residual_fn)",
            )
            raise ValueError(expected(wanted, shown(residual_fn), hint))

    def system(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        start: Tensor | None = None,
        equation: EquationLike | None = None,
    ) -> tuple[System, BaseCall]:
        """The equation of one call in double precision with Phi as its preconditioner, and the call.

        Fields are in the units of the data. The base, and Phi, work in their own precision.

        Args:
            args: positional arguments of the call.
            kwargs: keyword arguments of the call.
            start: an answer to start from; by default the base is called.
            equation: by default that of the model.
        """
        known = self.equation if equation is None else equation_from(equation)
        if known is None:
            got, hint = "none", "IterativeRefiner(..., equation=...), or solver='picard'"
            raise ValueError(expected("an equation for this solver", got, hint))
        single, named = lowered(args, dict(kwargs), self)
        call = self.call(single, named, start)
        if isinstance(call, TupleCall):
            wanted, got = "one field for an equation", f"a tuple of {len(call.calls)}"
            raise ValueError(expected(wanted, got, "solver='picard'"))
        exact = self.call(args, kwargs, call.as_answer(call.start.double()))  # the base is not called again
        call = replace(call, x=exact.x.double(), start=call.start.double())
        bound = known.bind(call.x, call.domain, call.condition.mask)
        return System(bound, self._preconditioning(call, bound)), call

    def _preconditioning(self, call: BaseCall, equation: BoundEquation) -> Preconditioning | None:
        if not isinstance(self.correction, WithResidual):
            return None
        scaled = call if self.units is None else call.in_units(self.units, self.correction)
        to_phi = unchanged if self.units is None else self.units.y.apply
        return Preconditioning(
            self.correction, equation, in_precision_of(scaled.x, self.correction), to_phi,
            self.resolution, call.condition.to(torch.float32),
        )  # fmt: skip
